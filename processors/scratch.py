"""Where a runner keeps what needs not survive it. Apart from Spark, since its supervisor removes it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def scratch_path(pid: int) -> Path:
    """Return the directory of a runner by its process id, in memory where the machine has that."""
    shm = Path("/dev/shm")
    base = shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
    return base / f"live-stock-{os.getuid()}" / str(pid)
