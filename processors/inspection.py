"""Looks at processor classes in a process of its own: ``python -m processors.inspection < request > answer``.

Request: ``{"name": {"class": path, "kind": kind}, …}``. Answer: per name the facts of the class, or ``{"error": why}``.
The web process imports no processor; it reads these facts from the database.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from processors.contract import Processor
from processors.loading import NotAProcessor, load


def live_names(processor: type[Processor]) -> list[str]:
    """Return the names of the parameters that may change while a task runs."""
    extras = {name: info.json_schema_extra for name, info in processor.Params.model_fields.items()}
    return [name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("live")]


def facts(path: str, kind: str) -> dict[str, Any]:
    """Return what the registry keeps of a class; raise NotAProcessor when it does not fit."""
    found = load(path)
    if getattr(found, "kind", None) != kind:
        raise NotAProcessor(f"{path} is of kind {getattr(found, 'kind', None)!r}: expected {kind!r}")
    abstract = sorted(getattr(found, "__abstractmethods__", ()))
    if abstract:
        raise NotAProcessor(f"{path} lacks {', '.join(abstract)}")
    return {
        "title": found.title or found.__name__,
        "description": found.description,
        "schema": found.Params.model_json_schema(),
        "live_params": live_names(found),
    }


def answer(request: dict[str, dict[str, str]]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for name, entry in request.items():
        try:
            answers[name] = facts(entry["class"], entry["kind"])
        except Exception as error:  # a plugin's module or schema may fail in any way; the registry says how
            answers[name] = {"error": str(error)}
    return answers


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an imported module prints is not the answer
    json.dump(answer(json.load(sys.stdin)), out)
    out.flush()
