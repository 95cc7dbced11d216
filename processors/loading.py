"""From a class path to a processor class: only where the class may run (a runner, a Spark worker, the fresh process
that checks it)."""

from __future__ import annotations

import importlib
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
        raise NotAProcessor(f"module {module_name} is broken: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise NotAProcessor(f"class {class_name} is missing in module {module_name}")
    if not (isinstance(found, type) and issubclass(found, Processor)):
        raise NotAProcessor(f"{path} is not a processor: expected a subclass of processors.contract.Processor")
    return found
