"""Java programs for tests, from Maven's central repository, by the Ivy that lies among pyspark's jars; fetched once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

_LIMIT_S = 300
JARS = Path(pyspark.__file__).parent / "jars"


def classpath(organisation: str, name: str, version: str) -> str:
    """Return a Java class path of a package and all that it needs."""
    folder = Path(sys.prefix) / "jars" / f"{name}-{version}"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run side by side
        if not folder.is_dir():
            _fetch(folder, organisation, name, version)
    return f"{folder}/*"


def java() -> str:
    return os.environ.get("PLATFORM_JAVA") or shutil.which("java") or "java"


def _fetch(folder: Path, organisation: str, name: str, version: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [java(), "-cp", f"{JARS}/*", "org.apache.ivy.Main", "-dependency", organisation, name, version]
        command += ["-cache", f"{scratch}/cache", "-types", "jar", "bundle"]
        command += ["-retrieve", f"{scratch}/jars/[artifact]-[revision](-[classifier]).[ext]"]
        subprocess.run(command, check=True, capture_output=True, cwd=scratch, timeout=_LIMIT_S)
        (Path(scratch) / "jars").rename(folder)
