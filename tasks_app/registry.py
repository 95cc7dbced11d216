"""From a name in ``processors.toml`` to a checked processor row."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from tasks_app.models import Processor

ALLOWED_PACKAGES = ("processors.",)
KINDS = ("feed", "stream", "batch")
_CHECK_TIMEOUT_S = 60


class RegistryError(Exception):
    """The registry file can't be used; the message names file, entry and cause. Nothing was changed."""


def read(path: Path) -> dict[str, dict[str, str]]:
    """Return name → {class, kind} of the registry file."""
    try:
        entries = tomllib.loads(path.read_text())
    except OSError as error:
        raise RegistryError(f"{path}: can't be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"{path}: {error}") from error
    for name, entry in entries.items():
        _check_entry(path, name, entry)
    return entries


def _check_entry(path: Path, name: str, entry: Any) -> None:
    if not isinstance(entry, dict) or not {"class", "kind"} <= set(entry):
        raise RegistryError(f"{path}: [{name}] needs class and kind")
    if entry["kind"] not in KINDS:
        raise RegistryError(f"{path}: [{name}] kind is {entry['kind']!r}: expected one of {', '.join(KINDS)}")
    if not str(entry["class"]).startswith(ALLOWED_PACKAGES):
        raise RegistryError(f"{path}: [{name}] class {entry['class']!r} is in no allowed package {ALLOWED_PACKAGES}")


def reload(path: Path | None = None) -> list[str]:
    """Check every entry in a fresh process and swap the registry, all or nothing; return the names."""
    path = path or settings.PROCESSORS_FILE
    entries = read(path)
    found = _inspect(entries)
    broken = [f"[{name}] {facts['error']}" for name, facts in found.items() if "error" in facts]
    if broken:
        raise RegistryError(f"{path}: " + "; ".join(broken))
    with transaction.atomic():
        for name, facts in found.items():
            values = {"kind": entries[name]["kind"], "class_path": entries[name]["class"], "enabled": True, **facts}
            Processor.objects.update_or_create(name=name, defaults=values)
        Processor.objects.exclude(name__in=entries).update(enabled=False)
    return sorted(entries)


def _inspect(entries: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "processors.inspection"],
        input=json.dumps({name: {"class": entry["class"], "kind": entry["kind"]} for name, entry in entries.items()}),
        capture_output=True,
        text=True,
        timeout=_CHECK_TIMEOUT_S,
        cwd=settings.BASE_DIR,
    )
    if done.returncode:
        raise RegistryError(f"the check of the processors failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)
