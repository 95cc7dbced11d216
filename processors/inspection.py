"""Looks at processor classes in a process of its own: ``python -m processors.inspection < request > answer``.

Request: ``{name: {"class": path, "kind": kind, "params": defaults, "good": hash of code that was found good}, …}``.
Answer: per name the facts of the class, or ``{"error": why}``. The web process imports no processor; it reads these
facts from the database.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pydantic import ValidationError

from processors.contract import Processor
from processors.loading import NotAProcessor, code_hash, live_names, load, told


def facts(path: str, kind: str, params: dict[str, Any], good: str = "") -> dict[str, Any]:
    """Return what the registry keeps of a class; raise NotAProcessor when it does not fit.

    ``params`` are the registry's defaults, in front of the class's own. The check suite of the contract is left out
    for code that was found good before.
    """
    found = load(path)
    if found.__module__ != path.partition(":")[0]:
        raise NotAProcessor(f"{path} is made in {found.__module__}: name it there")
    if getattr(found, "kind", None) != kind:
        raise NotAProcessor(f"{path} is of kind {getattr(found, 'kind', None)!r}: expected {kind!r}")
    abstract = sorted(getattr(found, "__abstractmethods__", ()))
    if abstract:
        raise NotAProcessor(f"{path} lacks {', '.join(abstract)}")
    schema = _schema(found, params)
    code = code_hash(found)
    if kind == "stream" and code != good:
        from processors import checks

        checks.check(found, params)
    return {
        "title": found.title or found.__name__,
        "description": found.description,
        "schema": schema,
        "live_params": live_names(found),
        "code_hash": code,
    }


def _schema(found: type[Processor], params: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the parameters, the registry's defaults in it; raise NotAProcessor for what does not fit."""
    schema = found.Params.model_json_schema()
    unknown = sorted(params.keys() - schema.get("properties", {}).keys())
    if unknown:
        raise NotAProcessor(f"params names {', '.join(unknown)}: {found.__name__} has no such parameter")
    try:
        found.Params.model_validate(params)
    except ValidationError as error:
        wrong = [each for each in error.errors() if each["type"] != "missing"]  # a task may have to give some
        if wrong:
            texts = (f"{'.'.join(map(str, each['loc']))} is {each['input']!r}: {each['msg']}" for each in wrong)
            raise NotAProcessor(f"params: {'; '.join(texts)}") from error
    for name, value in params.items():
        schema["properties"][name]["default"] = value
    schema["required"] = [name for name in schema.get("required", []) if name not in params]
    return schema


def answer(request: dict[str, dict[str, Any]]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for name, entry in request.items():
        try:
            answers[name] = facts(entry["class"], entry["kind"], entry["params"], entry["good"])
        except NotAProcessor as error:
            answers[name] = {"error": str(error)}
        except Exception as error:  # a plugin's schema may fail in any way; the registry says how
            answers[name] = {"error": told(error)}
    return answers


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an imported module prints is not the answer
    json.dump(answer(json.load(sys.stdin)), out)
    out.flush()
