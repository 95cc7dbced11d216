"""The Celery worker's thread that hosts one attempt of a task: starts its runner, watches it, tells the database.

The runner is a process of its own session, so that one sweep over the session ends it with its JVM and Spark's Python
workers. Its stdin is the lifeline: when this process dies, the runner reads the end of the pipe and goes.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections

from processors import scratch
from processors.bus import connect
from processors.environment import COMPUTING
from processors.snapshot import FeedSpec
from tasks_app import lifecycle, logs, orphans, results
from tasks_app.lifecycle import TransitionConflict
from tasks_app.models import Feed, Task
from tasks_app.states import Ending, Status
from tasks_app.watch import Watch, session_members

log = structlog.get_logger()

TICK_S = 1.0
SIGN_S = 0.5  # between a worker's signs of life
# Counted in ticks, not by a clock: where everything was frozen or suspended for a while, nobody was silent.
FIRST_WORD_TICKS = 60
START_TICKS = 120  # pyspark waits for its JVM without a limit
SILENCE_TICKS = 4
STOP_LIMIT_S = 1.7
CATCH_UP = 300  # snapshots on the bus that a first attempt learns from before the newest


Written = TypeVar("Written")


class Worker:
    """What all supervisors of one worker process share: its name, its sign of life, the orders from Redis."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex[:16]
        self.closing = threading.Event()
        self._inboxes: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._started = False
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._lock:
            if not self._started:
                self._started = True
                for target in (self._live, self._listen):
                    threading.Thread(target=target, name=target.__name__, daemon=True).start()

    def inbox(self, task: int) -> queue.Queue[dict[str, Any]]:
        """Return a new inbox for an attempt of a task; the one of an attempt before it gets no more orders."""
        self._inboxes[task] = made = queue.Queue[dict[str, Any]]()
        return made

    def forget(self, task: int, inbox: queue.Queue[dict[str, Any]]) -> None:
        """Close an attempt's inbox, if the next attempt has not opened its own yet."""
        with self._lock:
            if self._inboxes.get(task) is inbox:
                del self._inboxes[task]

    def close(self) -> None:
        """Tell every supervisor that the worker shuts down."""
        self.closing.set()
        for inbox in list(self._inboxes.values()):
            inbox.put({"shutdown": True})

    def _live(self) -> None:
        mine, count = results.Results(connect(settings.REDIS_URL, timeout_s=1.0)), 0
        while True:
            count += 1
            try:
                mine.sign_of_life(self.name, count, settings.SLOTS)
            except redis.RedisError:
                pass  # the janitor judges nobody while Redis does not answer
            time.sleep(SIGN_S)

    def _listen(self) -> None:
        mine, after = results.Results(connect(settings.REDIS_URL)), ""
        while True:
            try:
                after = after or mine.last_order()
                for key, task, order in mine.orders(after, block_ms=2_000):
                    after = key
                    if inbox := self._inboxes.get(task):
                        inbox.put(order)
            except redis.RedisError:
                after = ""  # orders missed meanwhile stand in the database, where supervisors look as well
                time.sleep(TICK_S)


WORKER = Worker()


def host(task_id: int, attempt: int, worker: Worker = WORKER) -> None:
    """Run one attempt of a task to its end. A message that comes twice, or too late, finds nothing to claim."""
    worker.start()
    task = Task.objects.select_related("processor", "feed").filter(pk=task_id).first()
    if task is None or task.attempt != attempt or task.status != Status.INITIAL or not task.queued_at:
        log.info("message dropped, nothing to claim", task_id=task_id, attempt=attempt)
        return
    token = f"{worker.name}:{uuid.uuid4().hex[:16]}"
    try:
        task = lifecycle.transition(task, Status.STARTED, actor="worker", owner=token)
    except TransitionConflict as conflict:
        _refuse(task, str(conflict))
        return
    Supervisor(task, worker).run()


def _refuse(task: Task, why: str) -> None:
    """End a task that can't be claimed although it is still waiting: its feed has a live task already."""
    try:
        lifecycle.transition(task, Status.TERMINATED, actor="worker", reason=why, ending=Ending.FAILED)
    except TransitionConflict:
        log.info("another worker was first", task_id=task.pk)


class Supervisor:
    def __init__(self, task: Task, worker: Worker):
        self.task, self.worker = task, worker
        self.inbox = worker.inbox(task.pk)
        self.progress: dict[str, Any] = {}
        self.ticks = self.unanswered = 0
        self.heard = False
        self._stdin = threading.Lock()
        self.stop_by: float | None = None
        self.ending: dict[str, Any] | None = None
        self.results = results.Results(connect(settings.REDIS_URL, timeout_s=1.0))

    # ---- the attempt, from start to end

    def run(self) -> None:
        try:
            self.process = self._spawn()
        except OSError as error:
            self._end({"failed": f"the runner could not be started: {error}"})
            return
        self.watch = Watch(self.task, self.results.client, self.process.pid)
        for target in (self._read, self._beat):
            threading.Thread(target=target, name=f"runner-{self.task.pk}", daemon=True).start()
        next_tick = time.monotonic()
        while self.ending is None:
            try:
                self._take(self.inbox.get(timeout=max(0.0, self._wake_at(next_tick) - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK_S
                    self._tick()
            self._judge()
        self._sweep()
        self._end(self.ending)
        self.worker.forget(self.task.pk, self.inbox)

    def _wake_at(self, next_tick: float) -> float:
        return min(next_tick, self.stop_by) if self.stop_by else next_tick

    def _spawn(self) -> subprocess.Popen[bytes]:
        log_path = logs.path_of(self.task.pk, self.task.attempt)
        directory = log_path.parent
        directory.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            **orphans.environment(self.task.owner),
            "PLATFORM_TASK": f"{self.task.pk}.{self.task.attempt}",
            "PYTHONUNBUFFERED": "1",
            **COMPUTING,
        }
        self._own_results()
        with log_path.open("ab") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tasks_app.runner"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                cwd=settings.BASE_DIR,
                env=environment,
                start_new_session=True,
            )
        self.process = process
        self._send(self._order(directory))
        return process

    def _own_results(self) -> None:
        try:
            self.results.own(self.task.pk, self.task.owner, fresh=self.task.fresh)
        except redis.RedisError:
            log.warning("redis does not answer, the attempt waits for it", task_id=self.task.pk)

    def _order(self, directory: Path) -> dict[str, Any]:
        task = self.task
        return {
            "task": task.pk,
            "attempt": task.attempt,
            "token": task.owner,
            "processor": task.processor.name,
            "kind": task.kind,
            "class": task.processor.class_path,
            "params": task.params,
            "feed": feed_spec(task.feed) if task.feed else None,
            "redis_url": settings.REDIS_URL,
            "state_dir": str(directory),
            "fresh": task.fresh,
            "memory_mb": task.memory_mb,
            "result_bytes": settings.RESULT_BYTES,
            "catch_up": CATCH_UP,
            "history": settings.HISTORY,
            "keep": str(settings.RESULTS_DIR) if task.keep else None,
        }

    # ---- what comes in

    def _read(self) -> None:
        """Pass the runner's messages on; its end of the pipe closes when it is gone."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard, self.unanswered = True, 0
            self.inbox.put({"runner": json.loads(line)})
        self.inbox.put({"gone": self.process.wait()})

    def _beat(self) -> None:
        """Ping the runner each second, also while the database keeps the other thread waiting."""
        while self.ending is None:
            self.ticks += 1
            self.unanswered += 1
            self._send({"ping": self.ticks})
            self.inbox.put({})  # to be judged now, not at the next tick
            time.sleep(TICK_S)

    def _take(self, message: dict[str, Any]) -> None:
        if "runner" in message:
            self._hear(message["runner"])
        elif "gone" in message:
            self._gone(message["gone"])
        elif message.get("stop") or message.get("shutdown"):
            self._stop()
        elif "change" in message:
            self._send({"change": message["change"]})

    def _hear(self, message: dict[str, Any]) -> None:
        self.progress = {**self.progress, **message.get("progress", {})}
        if message.get("running") and self.task.status == Status.STARTED:  # told again after a Redis outage
            self._move(Status.RUNNING)
        if "code" in message:
            mine = Task.objects.filter(pk=self.task.pk, owner=self.task.owner)
            self._written(lambda: mine.update(code_hash=message["code"]))
        if "applied" in message:
            details = {key: message[key] for key in ("applied", "index", "time")}
            self._written(lambda: lifecycle.note(self.task, "applied", actor="runner", details=details))
        if message.keys() & {"finished", "failed", "lost", "stopped", "fenced"}:
            self.ending = message

    def _gone(self, code: int) -> None:
        """The runner's end without a word: killed, or crashed below Python."""
        if self.stop_by is not None:
            self.ending = {"stopped": True}
        elif code < 0:
            self.ending = {"lost": f"the runner was killed by {signal.Signals(-code).name}"}
        else:
            self.ending = {"lost": f"the runner ended without a word (exit code {code})"}

    # ---- once a second

    def _tick(self) -> None:
        close_old_connections()
        self.progress |= self.watch.look(self.progress)
        try:
            if self.progress:
                Task.objects.filter(pk=self.task.pk, owner=self.task.owner).update(progress=self.progress)
            row = Task.objects.values("owner", "stop_requested_at").get(pk=self.task.pk)
            if row["owner"] != self.task.owner:
                self.ending = {"fenced": True}
            elif row["stop_requested_at"]:
                self._stop()
            self.results.tell_progress(self.task.pk, self.progress)
        except (DatabaseError, redis.RedisError) as error:
            log.warning("could not tell progress", task_id=self.task.pk, error=str(error)[:200])

    def _judge(self) -> None:
        if self.ending is not None:
            return
        silence = SILENCE_TICKS if self.heard else FIRST_WORD_TICKS
        if self.stop_by is not None and time.monotonic() >= self.stop_by:
            self.ending = {"stopped": True}
        elif self.unanswered >= silence:
            self.ending = {"lost": f"the runner did not answer for {silence * TICK_S:.0f} s"}
        elif self.task.status == Status.STARTED and self.ticks > START_TICKS:
            self.ending = {"failed": f"nothing ran within {START_TICKS * TICK_S:.0f} s of the start"}

    def _stop(self) -> None:
        if self.stop_by is None:
            self.stop_by = time.monotonic() + STOP_LIMIT_S
            self._send({"stop": True})

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with self._stdin:
            try:
                self.process.stdin.write(json.dumps(message).encode() + b"\n")
                self.process.stdin.flush()
            except (OSError, ValueError):
                pass  # it is gone: the reader will say so

    # ---- the end

    def _sweep(self) -> None:
        """Kill whatever lives in the runner's session or bears its mark, and drop what it kept outside of the state."""
        self._kill_session()
        orphans.kill(self.task.owner)
        scratch.drop(self.process.pid)

    def _kill_session(self) -> None:
        for _ in range(50):
            found = session_members(self.process.pid)
            if not found and self.process.poll() is not None:
                return
            for pid in {*found, self.process.pid}:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.poll()
            time.sleep(0.02)

    def _end(self, ending: dict[str, Any]) -> None:
        shutdown = self.worker.closing.is_set()
        if "failed" in ending:
            self._finish(Status.TERMINATED, Ending.FAILED, ending["failed"], ending.get("error", ""))
        elif "lost" in ending:
            self._finish(Status.TERMINATED, Ending.LOST, ending["lost"])
        elif "finished" in ending:
            self._finish(Status.FINISHED, Ending.FINISHED, "")
        elif "stopped" in ending:
            self.task.refresh_from_db(fields=["stop_requested_at", "stop_reason"])
            if shutdown and not self.task.stop_requested_at:
                self._finish(Status.TERMINATED, Ending.SHUTDOWN, "its worker was shut down")
            else:
                self._finish(Status.STOPPED, Ending.STOPPED, self.task.stop_reason or "stopped by a user")
        else:
            log.warning("another attempt owns the task", task_id=self.task.pk)

    def _finish(self, to: Status, ending: Ending, reason: str, error: str = "") -> None:
        self._move(to, reason=reason, ending=ending, error=error, progress=self.progress)
        try:
            self.results.retire(self.task.pk, self.task.owner)
        except redis.RedisError:
            log.warning("results were not given an expiry", task_id=self.task.pk)

    def _move(self, to: Status, **fields: Any) -> None:
        actor = self.task.stop_requested_by if to is Status.STOPPED and self.task.stop_requested_by else "worker"
        try:
            self.task = self._written(lambda: lifecycle.transition(self.task, to, actor=actor, **fields))
        except TransitionConflict as conflict:
            log.warning("move refused", task_id=self.task.pk, to=str(to), conflict=str(conflict))
            self.ending = self.ending or {"fenced": True}

    def _written(self, write: Callable[[], Written]) -> Written:
        """Write to the database, however long it is locked or away: what has happened must not be lost."""
        while True:
            close_old_connections()
            try:
                return write()
            except (OperationalError, InterfaceError) as error:
                log.warning("database does not answer, waiting", task_id=self.task.pk, error=str(error)[:200])
                time.sleep(TICK_S)


def feed_spec(feed: Feed) -> dict[str, Any]:
    """Return the feed's row as the fields of a FeedSpec."""
    return asdict(FeedSpec(**{each.name: getattr(feed, each.name) for each in fields(FeedSpec)}))
