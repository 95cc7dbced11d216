"""A PostgreSQL server of the system for tests, in a directory of its own, gone with the test session."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from platform_process import free_port, wait_for


def programs() -> Path | None:
    """Return where initdb and postgres are, None where the machine has none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if Path("/usr/lib/postgresql").is_dir() else []
    on_path = shutil.which("initdb")
    chosen = found[-1] if found else Path(on_path).resolve() if on_path else None
    return chosen.parent if chosen else None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a running server, up to the database's name."""
    folder = programs()
    assert folder is not None
    port, home = free_port(), Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    as_user = _other_user(home)
    settings = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    settings += ["-c", f"unix_socket_directories={home}"]
    data = str(home / "data")
    init = [str(folder / "initdb"), "-D", data, "-U", "stocks", "--auth=trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(init, check=True, capture_output=True, cwd=home, user=as_user)
    command = [str(folder / "postgres"), "-D", data, *settings]
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=home, user=as_user, stdout=log, stderr=log)
    url = f"postgres://stocks@127.0.0.1:{port}"
    try:
        wait_for("postgres", lambda: _answers(url), 30)
        yield url
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def create(url: str, name: str) -> str:
    """Make a database and return its URL."""
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    return f"{url}/{name}"


def _answers(url: str) -> bool:
    try:
        psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _other_user(home: Path) -> int | None:
    """PostgreSQL does not run as root: then somebody else is chosen, who gets the directory."""
    if os.getuid() != 0:
        return None
    chosen = pwd.getpwnam("nobody").pw_uid
    os.chown(home, chosen, -1)
    return chosen
