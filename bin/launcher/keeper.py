"""Keeps processes: starts them in order, restarts what dies, ends them in reverse, leaves none behind."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

import psutil

from _steps import die_with
from launcher.options import ROOT

MARK = "PLATFORM_STATE"  # in the environment of every process that belongs to a state directory
READY_LIMIT_S = 60.0
STOP_LIMIT_S = 3.0
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0  # a process that lived so long begins anew with short pauses
LOG_BYTES, LOG_FILES = 10 * 2**20, 3
# How a line of LOGGING begins, in platform_site/settings.py; and what others say each time. All of it is in the logs.
_ROUTINE = re.compile(r"\S+ \S+ (DEBUG|INFO) |\d+:.*(Memory overcommit|Received SIGTERM|ready to exit)|worker: Warm|$")


class CouldNotStart(Exception):
    """A process ended, or did not get ready, in the start; the message says which and shows its last lines."""


@dataclass
class Program:
    """What to run. ``ready`` is asked until it says yes."""

    name: str
    command: list[str]
    ready: Callable[[], Awaitable[bool]] | None = None
    process: asyncio.subprocess.Process | None = None
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=15))


class Keeper:
    """Runs programs for one state directory. Their output goes to log files, and what is not routine to ``tell``."""

    def __init__(self, state: Path, environment: dict[str, str], tell: Callable[[str], None]):
        self.state, self.environment, self.tell = state, environment, tell
        self.programs: list[Program] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._logs: dict[str, logging.Logger] = {}

    async def start(self, program: Program) -> None:
        """Start a program and wait until it is ready; it is kept from then on."""
        self.programs.append(program)
        watcher = asyncio.create_task(self._keep(program))
        self._watchers.append(watcher)
        deadline = time.monotonic() + READY_LIMIT_S
        while not await self._is_ready(program):
            if program.process is not None and program.process.returncode is not None:
                raise CouldNotStart(f"{program.name} ended with code {program.process.returncode}{_quote(program)}")
            if time.monotonic() > deadline:
                raise CouldNotStart(f"{program.name} was not ready after {READY_LIMIT_S:.0f} s{_quote(program)}")
            await asyncio.sleep(0.05)

    async def _is_ready(self, program: Program) -> bool:
        if program.process is None or program.process.returncode is not None:
            return False
        return program.ready is None or await program.ready()

    async def _keep(self, program: Program) -> None:
        """Run a program again and again, with pauses that grow while it dies young."""
        pause = 0.5
        while True:
            born = time.monotonic()
            program.process = await self._spawn(program.command)
            await self._pass_on(program)
            code = await program.process.wait()
            pause = 0.5 if time.monotonic() - born > STEADY_AFTER_S else min(pause * 2, LONGEST_PAUSE_S)
            self.tell(f"{program.name} ended with code {code}, starting it again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _spawn(self, command: list[str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            env=self.environment,
            cwd=ROOT,  # wherever somebody stood who called bin/up
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**20,
            # Ctrl-C reaches the launcher only, which ends the others in order.
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )

    async def _pass_on(self, program: Program) -> None:
        assert program.process is not None and program.process.stdout is not None
        log = self._log(program.name)
        while True:
            try:
                line = await program.process.stdout.readline()
            except ValueError:  # a line beyond the limit: its beginning is gone, the rest follows
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            log.info(text)
            program.last_lines.append(text)
            if not _ROUTINE.match(text):
                self.tell(f"{program.name:<7} | {text}")

    def _log(self, name: str) -> logging.Logger:
        if name not in self._logs:
            folder = self.state / "logs"
            folder.mkdir(exist_ok=True)
            log = logging.getLogger(f"kept.{name}.{id(self)}")
            log.propagate = False
            log.setLevel(logging.INFO)
            log.addHandler(RotatingFileHandler(folder / f"{name}.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES))
            self._logs[name] = log
        return self._logs[name]

    async def run_once(self, command: list[str]) -> tuple[int, str]:
        """Run a command to its end; return its code and its standard output. Its errors are passed on."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.environment,
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        return process.returncode or 0, output.decode(errors="replace")

    async def stop(self) -> None:
        """End every program, the last started first, then whatever is left with the mark of this state."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for program in reversed(self.programs):
            await self._end(program)
        sweep(self.state)

    async def _end(self, program: Program) -> None:
        process = program.process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        reader = asyncio.create_task(self._pass_on(program))
        try:
            await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
        except TimeoutError:
            self.tell(f"{program.name} did not end within {STOP_LIMIT_S:.0f} s of TERM: killed")
            process.kill()
            await process.wait()
        finally:
            reader.cancel()

    def kill(self) -> None:
        """End everything at once."""
        sweep(self.state)


def _quote(program: Program) -> str:
    return "".join(f"\n    {line}" for line in program.last_lines)


def members(state: Path) -> list[psutil.Process]:
    """Return the processes, but this one, whose environment says that they belong to a state directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(state):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone, dead, or somebody else's
    return found


def sweep(state: Path) -> int:
    """Kill what is left of a state directory's processes; return how many there were."""
    killed = 0
    for _ in range(20):
        found = members(state)
        if not found:
            break
        for process in found:
            try:
                process.kill()
                killed += 1
            except psutil.Error:
                continue
        psutil.wait_procs(found, timeout=0.5)
    return killed
