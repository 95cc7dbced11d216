"""Where a process with a JVM keeps what needs not survive it. Apart from Spark, since its supervisor removes it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")


def in_memory() -> Path:
    """Return this process's directory in memory, where the machine has that, made on first use."""
    return _own(_places()[0])


def on_disk() -> Path:
    """Return this process's directory on disk: for libraries, which can't be loaded from some machines' memory."""
    return _own(_places()[-1])


def drop(pid: int) -> None:
    """Remove what a process kept, and what those kept whom a kill left nobody to clean up after."""
    for place in _places():
        for found in place.glob("*"):
            if found.name == str(pid) or (found.name.isdecimal() and not _lives(int(found.name))):
                shutil.rmtree(found, ignore_errors=True)


def _places() -> list[Path]:
    temporary = Path(tempfile.gettempdir())
    bases = [_MEMORY, temporary] if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) else [temporary]
    return [base / f"live-stock-{os.getuid()}" for base in bases]


def _own(place: Path) -> Path:
    """Make the directory of this process; nobody else may look into it."""
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise PermissionError(f"{place} belongs to another user: expected none, or a directory of user {os.getuid()}")
    path = place / str(os.getpid())
    path.mkdir(exist_ok=True)
    return path


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody's, who has the number now
        return True
    return True
