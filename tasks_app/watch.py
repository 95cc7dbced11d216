"""What can be seen of an attempt only from outside: its memory, its pace, and whether it stands still."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import Any

import psutil
import redis

from processors.bus import Bus
from tasks_app.models import Task

MEMORY_EVERY = 5  # looks
PACE_OVER = 10
STALLED_AFTER, FIRST_BATCH_AFTER = 5, 20


class Watch:
    """Looked through once a second by the supervisor. What it counts are looks, not time: where everything was
    frozen, nothing has stood still."""

    def __init__(self, task: Task, client: redis.Redis, session: int):
        self.task, self.session = task, session
        self.bus = Bus(client, task.feed.name) if task.kind == "stream" and task.feed else None
        self._looks = self._waits = 0
        self._position: int | None = None
        self._pace: deque[tuple[float, int]] = deque(maxlen=PACE_OVER)
        self._memory: dict[str, float] = {}

    def look(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return the facts to add to what the runner tells."""
        if self._looks % MEMORY_EVERY == 0:
            self._memory = memory_of(self.session)
        self._looks += 1
        return {**self._memory, **self._rows_per_s(told), **self._standing(told)}

    def _rows_per_s(self, told: dict[str, Any]) -> dict[str, float]:
        rows = told.get("rows", told.get("received"))
        if not isinstance(rows, int):
            return {}
        self._pace.append((time.monotonic(), rows))
        (since, before), (now, after) = self._pace[0], self._pace[-1]
        return {"rows_per_s": round((after - before) / (now - since), 1)} if now > since else {}

    def _standing(self, told: dict[str, Any]) -> dict[str, Any]:
        """Say whether snapshots wait while the attempt takes none: alive, but stalled."""
        if self.bus is None:
            return {}
        try:
            newest = self.bus.last()
        except redis.RedisError:
            self._waits = 0  # it waits for Redis, as everybody
            return {}
        position = told.get("seq")
        waits = newest is not None and newest.seq > (position or 0)
        self._waits = self._waits + 1 if waits and position == self._position else 0
        self._position = position
        limit = self._patience() if told.get("batches") else max(FIRST_BATCH_AFTER, self._patience())
        behind = newest.index - told["index"] if newest is not None and "index" in told else 0
        return {"behind": max(behind, 0), "stalled": self._waits >= limit}

    def _patience(self) -> int:
        assert self.task.feed is not None
        return max(STALLED_AFTER, 3 * self.task.feed.interval_ms // 1000)


def memory_of(session: int) -> dict[str, float]:
    """Return the resident memory in MB of a session's JVM and of its Python processes."""
    found = {"jvm_mb": 0.0, "python_mb": 0.0}
    for pid in session_members(session):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            kind = "jvm_mb" if process.name() == "java" else "python_mb"
            found[kind] += process.memory_info().rss / 2**20
    return {name: round(value, 1) for name, value in found.items() if value}


def session_members(sid: int) -> list[int]:
    """Return the processes of a session that are not dead yet."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getsid(process.pid) == sid and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, PermissionError):
            continue
    return found
