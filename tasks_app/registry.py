"""From a name in ``processors.toml`` to a checked processor row."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from tasks_app.models import Processor

KINDS = ("feed", "stream", "batch")
ENTRY_POINTS = "live_stock.processors"
_FIELDS = {"class": str, "kind": str, "title": str, "description": str, "params": dict, "enabled": bool}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_CHECK_TIMEOUT_S = 120


class RegistryError(Exception):
    """The registry file can't be used; the message names file, line and cause. Nothing was changed."""


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of the registry file by name: class, kind, and what else is given."""
    try:
        text = path.read_text()
        entries = tomllib.loads(text)
    except OSError as error:
        raise RegistryError(f"{path}: can't be read: {error.strerror}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise RegistryError(f"{path}: {error}") from error
    wrong = [
        f"{_place(path, text, name)} {problem}" for name, entry in entries.items() for problem in _problems(name, entry)
    ]
    if wrong:
        raise RegistryError("; ".join(wrong))
    return entries


def _problems(name: str, entry: Any) -> Iterator[str]:
    """Yield what is wrong with an entry as it stands, before its class is looked at."""
    if not _NAME.fullmatch(name):
        yield "is no name: expected a-z, 0-9 and _, a letter first, at most 64"
    if not isinstance(entry, dict) or not {"class", "kind"} <= entry.keys():
        yield "needs class and kind"
        return
    for field, value in entry.items():
        expected = _FIELDS.get(field)
        if expected is None:
            yield f"{field} is not known: expected some of {', '.join(_FIELDS)}"
        elif not isinstance(value, expected):
            yield f"{field} is {value!r}: expected {expected.__name__}"
    if entry["kind"] not in KINDS:
        yield f"kind is {entry['kind']!r}: expected one of {', '.join(KINDS)}"
    yield from _forbidden(entry["class"])


def _forbidden(path: Any) -> Iterator[str]:
    if not _PATH.fullmatch(str(path)):
        yield f"class is {path!r}: expected package.module:Class"
        return
    allowed = any(str(path).startswith((f"{package}.", f"{package}:")) for package in settings.PROCESSOR_PACKAGES)
    if not allowed and path not in {point.value for point in entry_points(group=ENTRY_POINTS)}:
        packages = ", ".join(settings.PROCESSOR_PACKAGES)
        yield f"class {path!r} is in no allowed package ({packages}) and no entry point of the group {ENTRY_POINTS}"


def _place(path: Path, text: str, name: str) -> str:
    """Return file and line of an entry, for people."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[\s*[\"']?{re.escape(name)}[\"']?\s*[\].]", line):
            return f"{path}, line {number}: [{name}]"
    return f"{path}: [{name}]"


def reload(path: Path | None = None) -> list[str]:
    """Check every entry in a fresh process and swap the registry, all or nothing; return the names that are on."""
    path = path or settings.PROCESSORS_FILE
    entries = read(path)
    on = {name: entry for name, entry in entries.items() if entry.get("enabled", True)}
    found = _inspect(on)
    text = path.read_text()
    broken = [f"{_place(path, text, name)} {facts['error']}" for name, facts in found.items() if "error" in facts]
    if broken:
        raise RegistryError("; ".join(broken))
    with transaction.atomic():
        for name, facts in found.items():
            told: dict[str, Any] = {field: on[name][field] for field in ("title", "description") if field in on[name]}
            values: dict[str, Any] = {
                "kind": on[name]["kind"],
                "class_path": on[name]["class"],
                "enabled": True,
                **facts,
                **told,
            }
            Processor.objects.update_or_create(name=name, defaults=values)
        Processor.objects.exclude(name__in=on).update(enabled=False)
    return sorted(on)


def _inspect(entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    good = {name: code for name, code in Processor.objects.values_list("name", "code_hash")}
    request = {
        name: {
            "class": entry["class"],
            "kind": entry["kind"],
            "params": entry.get("params", {}),
            "good": good.get(name, ""),
        }
        for name, entry in entries.items()
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "processors.inspection"],
            input=json.dumps(request, default=str),
            capture_output=True,
            text=True,
            timeout=_CHECK_TIMEOUT_S,
            cwd=settings.BASE_DIR,
        )
    except subprocess.TimeoutExpired as error:
        raise RegistryError(f"the check of the processors took more than {_CHECK_TIMEOUT_S} s") from error
    if done.returncode:
        raise RegistryError(f"the check of the processors failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return json.loads(done.stdout)
