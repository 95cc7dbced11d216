"""Files that are there whole or not at all, also after a crash of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def writing(path: Path, *, sync_name: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write that appears at ``path`` when the block ends: temporary name, fsync, rename.

    Whoever reads meanwhile sees what was there before. When the block raises, nothing appears. One writer at a time.
    Whoever writes several files may leave ``sync_name`` out, and call ``sync_directory`` once.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync_name:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a crash."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
