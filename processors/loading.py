"""From a class path to a processor class: only where the class may run (a runner, a Spark worker, the fresh process
that checks it)."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from types import ModuleType
from typing import Any

from processors.contract import Processor


class NotAProcessor(Exception):
    """The class path leads nowhere, to a module that does not import, or to something that is no processor."""


def load(path: str) -> type[Any]:
    """Return the processor class at ``package.module:Class``; raise NotAProcessor saying which part is wrong."""
    module_name, _, class_name = path.partition(":")
    if not class_name:
        raise NotAProcessor(f"{path!r}: expected package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        kind = "missing" if module_name == missing or module_name.startswith(missing + ".") else "broken"
        raise NotAProcessor(f"module {module_name} is {kind}: {error}") from error
    except Exception as error:
        raise NotAProcessor(f"module {module_name} is broken: {told(error)}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise NotAProcessor(f"class {class_name} is missing in module {module_name}")
    if not (isinstance(found, type) and issubclass(found, Processor)):
        raise NotAProcessor(f"{path} is not a processor: expected a subclass of processors.contract.Processor")
    return found


def told(error: BaseException) -> str:
    """Return what went wrong, with the file and line where."""
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((sys.base_prefix, sys.prefix, "<"))] or frames
    return f"{text} ({own[-1].filename}, line {own[-1].lineno})" if own else text


def live_names(processor: type[Processor]) -> list[str]:
    """Return the names of the parameters that may change while a task runs."""
    extras = {name: info.json_schema_extra for name, info in processor.Params.model_fields.items()}
    return [name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("live")]


def code_hash(processor: type) -> str:
    """Return a hash of the processor's module and of what it uses of the algorithms and of other stream processors'
    parts, the same in every process.

    Of a plugin, what it uses of its own package counts as well.
    """
    sources = sorted(inspect.getsource(module) for module in _used(sys.modules[processor.__module__]))
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]


def _used(first: ModuleType) -> set[ModuleType]:
    package = first.__name__.partition(".")[0]
    shared = ("processors.algorithms.", "processors.stream.")
    counts = shared if package == "processors" else (*shared, f"{package}.")
    found, waiting = {first}, [first]
    while waiting:
        for value in list(vars(waiting.pop()).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            module = sys.modules.get(name) if isinstance(name, str) and name.startswith(counts) else None
            if module is not None and module not in found:
                found.add(module)
                waiting.append(module)
    return found
