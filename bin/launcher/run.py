"""The course of bin/up: start in order, wait for a prediction, keep everything, end in reverse order."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher import plan
from launcher.keeper import CouldNotStart, Keeper, sweep
from launcher.options import HOST, Refused, check, free_port, parse, port, state_dir
from launcher.probe import Browser, NoPrediction, Watch

TELL_EVERY_S = 5.0
PREDICTION_LIMIT_S = 90.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        check(options)
        with contextlib.ExitStack() as stack:
            state = stack.enter_context(_smoke_state()) if options.smoke else state_dir(options)
            stack.enter_context(_sole_owner(state))
            return asyncio.run(Launcher(options, state).run())
    except (Refused, CouldNotStart) as error:
        print(f"bin/up: {error}", file=sys.stderr, flush=True)
        return 1


@contextlib.contextmanager
def _smoke_state() -> Iterator[Path]:
    """A temporary state; a smoke run must not touch anybody's server or database either."""
    for name in ("REDIS_URL", "DATABASE_URL", "MONGODB_URL"):
        os.environ.pop(name, None)
    path = Path(tempfile.mkdtemp(prefix="platform-smoke-")).resolve()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _sole_owner(state: Path) -> Iterator[None]:
    """Hold the state directory's lock, which ends with this process however it ends; clear what a dead one left."""
    with (state / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refused(
                f"Another bin/up ({lock.read().strip() or 'starting'}) runs on {state}: "
                "stop it, or give this one a state of its own with --state."
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        sweep(state)
        yield


class Launcher:
    """One run of bin/up."""

    def __init__(self, options: argparse.Namespace, state: Path):
        self.options, self.state = options, state
        self.port = free_port() if options.smoke else port(options)
        self.began, self.began_ms = time.monotonic(), time.time() * 1000
        self.seconds: dict[str, float] = json.loads(os.environ.get("PLATFORM_SETUP_SECONDS", "{}"))
        self.quiet = options.smoke
        self._asked_to_stop = asyncio.Event()
        self._own_redis = not os.environ.get("REDIS_URL")
        self._private: Path | None = None
        self._untold = ""  # the first admin's login, as long as nobody has seen it
        self.keeper = Keeper(state, plan.environment(state, self._redis_url()), self._tell)

    def _redis_url(self) -> str:
        if not self._own_redis:
            return os.environ["REDIS_URL"]
        self._socket = plan.socket_path(self.state)
        if self._socket.parent != self.state:
            self._private = self._socket.parent
        return f"unix://{self._socket}"

    def _tell(self, line: str) -> None:
        if not self.quiet:
            say(line)

    async def run(self) -> int:
        """Return the exit code: 0, or 1 if the start failed or a smoke run saw no prediction."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop)
        work = asyncio.create_task(self._work())
        stop = asyncio.create_task(self._asked_to_stop.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            return await work if work.done() else 0
        except (CouldNotStart, Refused) as error:
            say(f"bin/up: {error}", error=True)
            return 1
        finally:
            for task in (work, stop):
                task.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
            await self._end()

    def _stop(self) -> None:
        if self._asked_to_stop.is_set():
            self.keeper.kill()  # asked twice: at once
        self._asked_to_stop.set()

    async def _end(self) -> None:
        began = time.monotonic()
        if self._untold:
            say(f"  The next start's login is  {self._untold}")
        say("· stopping …")
        await self.keeper.stop()
        if self._private:
            shutil.rmtree(self._private, ignore_errors=True)
        say(f"✓ stopped ({time.monotonic() - began:.1f} s)")

    # ---- the start

    async def _work(self) -> int:
        prepared = await self._start()
        wanted = prepared["tasks"]
        seen = await self._wait_for_prediction(prepared) if wanted else False
        if self.options.smoke:
            self._report()
            return 0 if seen else 1
        self._welcome(prepared)
        await self._asked_to_stop.wait()
        return 0

    async def _start(self) -> dict[str, Any]:
        if self._own_redis:
            with self._step("Redis"):
                await self.keeper.start(plan.redis_server(self.state, self._socket))
        elif not await plan.redis_answers(self.keeper.environment["REDIS_URL"]):
            raise Refused("The Redis of REDIS_URL does not answer: start it, correct REDIS_URL, or unset it.")
        with self._step("database, processors, demo"):
            prepared = await self._prepare()
        with self._step("web, worker, janitor"):
            await asyncio.gather(
                *(self.keeper.start(each) for each in (plan.web(self.port), plan.worker(), plan.janitor()))
            )
        return prepared

    async def _prepare(self) -> dict[str, Any]:
        """Migrate, check processors, make the first admin, start the demo: one process, one answer."""
        request: dict[str, Any] = {
            key: str(value) if isinstance(value, Path) else value for key, value in vars(self.options).items()
        }
        # With a Redis of our own all workers are ours, and were swept away before the start.
        request["workers_are_gone"] = self._own_redis
        request["unchanged"] = plan.is_prepared(self.state)
        code, output = await self.keeper.run_once([*plan.MANAGE, "prepare", json.dumps(request)])
        try:
            answer = json.loads(output.strip().splitlines()[-1])
        except (IndexError, json.JSONDecodeError):
            raise CouldNotStart(
                f"the database could not be prepared (exit code {code}): see the lines above."
            ) from None
        if "error" in answer:
            raise CouldNotStart(answer["error"])
        if answer["password"]:
            login = f"{answer['admin']}  with the password  {answer['password']}  (shown only this once)"
            self._untold = "" if self.options.smoke else login
        plan.note_prepared(self.state)
        for line in answer["said"]:
            say(f"  {line}")
        return dict(answer)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        say(f"· {name} …")
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        say(f"✓ {name} ({self.seconds[name]:.1f} s)")

    # ---- the proof

    async def _wait_for_prediction(self, prepared: dict[str, Any]) -> bool:
        """Wait until a new prediction has come through the websocket; say so, or why none came."""
        watch, began = Watch(), time.monotonic()
        browser = await self._log_in(prepared)
        say(f"· first prediction, with a snapshot every {prepared['every_s']:g} s …")
        limit = PREDICTION_LIMIT_S + 4 * prepared["every_s"]
        waiting = asyncio.create_task(browser.first_prediction(prepared["tasks"], since_ms=self.began_ms, watch=watch))
        try:
            while not waiting.done() and time.monotonic() - began < limit:
                await asyncio.wait({waiting}, timeout=TELL_EVERY_S)
                if not waiting.done():
                    say(f"  waiting for {time.monotonic() - began:.0f} s: {watch.describe(prepared['tasks'])}")
            if not waiting.done():
                raise NoPrediction(f"no prediction came within {limit:.0f} s: {watch.describe(prepared['tasks'])}")
            seen = waiting.result()
        except NoPrediction as error:
            say(f"✗ {error}. The page of the task has more.", error=True)
            if self.options.smoke:  # whose state, with the logs, will be gone
                self._show_runner_logs()
            return False
        finally:
            waiting.cancel()
        self._note_start(watch, seen.task, began)
        if self.options.smoke and "<script" not in await asyncio.to_thread(browser.page):
            say("  the front end is not built: the page is empty")
        self.seconds["first prediction"] = round(time.monotonic() - began, 1)
        say(
            f"✓ prediction of {seen.title} #{seen.task}, attempt {seen.attempt}, for {seen.clusters} clusters came "
            f"through the websocket ({time.monotonic() - self.began:.1f} s after the launcher began)"
        )
        return True

    def _note_start(self, watch: Watch, task: int, began: float) -> None:
        """Split the wait in two: until the task ran, and from there."""
        if task in watch.running_at:
            self.seconds["  of it until the task ran"] = round(watch.running_at[task] - began, 1)

    async def _log_in(self, prepared: dict[str, Any]) -> Browser:
        browser = Browser(self.port)
        if prepared["password"]:
            await asyncio.to_thread(browser.log_in, prepared["admin"], prepared["password"])
        else:
            browser.use_session(prepared["session"])
        return browser

    # ---- what people read

    def _report(self) -> None:
        say("Seconds:")
        for name, seconds in self.seconds.items():
            say(f"  {name:<40} {seconds:>6.1f}")
        say(f"  {'launcher, all':<40} {time.monotonic() - self.began:>6.1f}")

    def _welcome(self, prepared: dict[str, Any]) -> None:
        state = "" if self.state == state_dir(parse([])) else f"STATE_DIR={self.state} "
        reset = f"{state}.venv/bin/python manage.py changepassword {prepared['admin']}"
        say("")
        say(f"  The platform is at  http://{HOST}:{self.port}/")
        say(f"  Log in as           {self._untold or prepared['admin'] + '  with your password'}")
        self._untold = ""
        say(f"  Forgotten it?       {reset}")
        say(f"  Logs are in         {self.state / 'logs'}; Ctrl-C stops everything, bin/up goes on with it.")
        say("")

    def _show_runner_logs(self) -> None:
        for path in sorted((self.state / "tasks").glob("*/attempt-*.log")):
            lines = path.read_text(errors="replace").splitlines()[-10:]
            say("\n".join([f"    {path.parent.name}/{path.name}:", *(f"      {line}" for line in lines)]), error=True)


def say(text: str, *, error: bool = False) -> None:
    """Write a line for people; a terminal that has gone away stops nothing."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr if error else sys.stdout, flush=True)
