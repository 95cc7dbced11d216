"""Slow steps with their progress, and what to say when one fails. Standard library only."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

TELL_EVERY_S = 5.0
# What a step's output says when it fails → what is wrong and what to do about it.
_CAUSES = (
    (
        r"No space left on device|ENOSPC|Disk quota exceeded",
        "the disk is full: make room (about 3 GB) and run it again",
    ),
    (
        r"name resolution|Could not resolve|ENOTFOUND|EAI_AGAIN|dns error|Network is unreachable|Connection refused"
        r"|ECONNREFUSED|timed out|ETIMEDOUT|Max retries exceeded|error sending request|NewConnectionError",
        "the package registry can't be reached: check the network or proxy and run it again",
    ),
    (
        r"No matching distribution|no wheels with a matching|has no wheels",
        "a package does not exist for this machine or this Python: try another Python from 3.11 on",
    ),
    (r"ensurepip|python3-venv", "this Python lacks venv: install its venv package (or uv) and run it again"),
    (
        r"Permission denied|EACCES|Read-only file system",
        "a file can't be written: check the directory's owner and rights",
    ),
)


class SetupError(Exception):
    """One sentence: what is wrong, and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


class Steps:
    """Runs steps and keeps their seconds by name; ``end`` ends those of other threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._ended = False
        self._running: set[subprocess.Popen[bytes]] = set()

    def end(self) -> None:
        """End the steps that go on in other threads, and let none begin."""
        self._ended = True
        for process in list(self._running):
            process.terminate()

    def run(self, name: str, command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> None:
        """Run a command, telling every few seconds that it goes on; raise SetupError with the cause if it fails."""
        if self._ended:
            raise SetupError(f"{name} was not begun.")
        say(f"· {name} …")
        began = time.monotonic()
        with tempfile.TemporaryFile("w+b") as output:
            code = self._wait(name, command, cwd, env, output, began)
            self.seconds[name] = round(time.monotonic() - began, 1)
            if code:
                output.seek(max(0, output.tell() - 20_000))
                raise SetupError(_explain(name, output.read().decode(errors="replace")))
        say(f"✓ {name} ({self.seconds[name]:.1f} s)")

    def _wait(self, name: str, command: list[str], cwd: Path, env: dict | None, output: IO[bytes], began: float) -> int:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with(os.getpid()),
            )
        except OSError as error:
            raise SetupError(f"{name} failed: {command[0]} can't be run ({error.strerror})") from error
        self._running.add(process)
        try:
            while True:
                try:
                    return process.wait(timeout=TELL_EVERY_S)
                except subprocess.TimeoutExpired:
                    say(f"  {name}: {time.monotonic() - began:.0f} s; {_last_line(output)}")
        except BaseException:
            process.terminate()
            raise
        finally:
            self._running.discard(process)


def _last_line(output: IO[bytes]) -> str:
    """Return the newest line that a step has written; its own place in the file is left alone."""
    size = os.fstat(output.fileno()).st_size
    lines = os.pread(output.fileno(), 400, max(0, size - 400)).decode(errors="replace").split("\n")
    return next((line.strip()[:70] for line in reversed(lines) if line.strip()), "")


def _explain(name: str, output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    for line in lines[-15:]:
        print(f"    {line}", file=sys.stderr)
    cause = next((advice for pattern, advice in _CAUSES if re.search(pattern, output, re.I)), "")
    return f"{name} failed: {cause or 'see the lines above for the reason, mend it and run it again'}."


def die_with(parent: int) -> Callable[[], None] | None:
    """Return what a child calls before exec so that the kernel ends it with its parent (Linux; None elsewhere)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_kernel() -> None:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask_kernel
