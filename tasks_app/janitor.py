"""Finds the dead and the lost. Any number of janitors may run: every move is a compare-and-set."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone

from tasks_app import jobs, lifecycle, orphans, results, schedules, services, tidying
from tasks_app.lifecycle import TransitionConflict
from tasks_app.models import EXPECTED_TO_GO_ON, KIND_CHOICES, Task, TaskEvent
from tasks_app.states import LIVE, Ending, Status

log = structlog.get_logger()

ROUND_S = 0.5
# Counted in rounds, not by a clock: a clock may be set, and where everything was frozen nobody was silent.
SILENT_ROUNDS = 6  # without a worker's sign of life: it is dead, and its tasks are told to be within 5 s
GRACE_ROUNDS = 5  # more, after Redis was away: workers need a moment to find it again
LOST_ROUNDS = 6  # without a message for a task that waits
ORPHAN_ROUNDS = 4  # between two looks at the processes of this machine
SCHEDULE_ROUNDS = 2
# A task that takes its worker down with it must not do so for ever.
RESUMES_WITHIN = timedelta(minutes=10)
# Restarting the platform often is no fault of a task.
RESTARTED = [f"goes on after: {reason}" for reason in ("its worker was shut down", "the platform was killed")]


class Janitor:
    """Knows what it saw in earlier rounds; a new one begins without, and no harm is done."""

    def __init__(self, found: results.Results):
        self.results = found
        self.rounds = 0
        self._grace = 0
        self._signs: dict[str, str | None] = {}
        self._silent: Counter[str] = Counter()
        self._unsent: Counter[tuple[int, int]] = Counter()

    def round(self, *, now: datetime) -> None:
        """Look once at everything that could be lost."""
        self.rounds += 1
        try:
            signs, queued = self.results.signs(), self.results.queued(kind for kind, _ in KIND_CHOICES)
        except redis.RedisError:
            self._forget()
            return
        self._grace = max(0, self._grace - 1)
        tasks = list(Task.objects.filter(EXPECTED_TO_GO_ON))
        self._send_again([task for task in tasks if task.status == Status.INITIAL], queued)
        buried = self._bury([task for task in tasks if task.status in LIVE], signs)
        if buried or self.rounds % ORPHAN_ROUNDS == 0:
            orphans.sweep()
        self._resume([task for task in tasks if task.status == Status.TERMINATED], now)
        if self.rounds % SCHEDULE_ROUNDS == 0:
            schedules.run_due(now)

    def _forget(self) -> None:
        """Judge nobody by what was seen before Redis went away."""
        self._signs, self._silent, self._unsent = {}, Counter(), Counter()
        self._grace = GRACE_ROUNDS

    def _send_again(self, tasks: list[Task], queued: set[tuple[int, int]]) -> None:
        """Send what waits for a worker while no message waits for one: never taken by the broker, or lost there."""
        waiting = {(task.pk, task.attempt): task for task in tasks}
        self._unsent = Counter({each: self._unsent[each] + 1 for each in waiting.keys() - queued})
        for each, rounds in self._unsent.items():
            if rounds >= LOST_ROUNDS:
                self._unsent[each] = 0
                log.info("sent again", task_id=each[0], attempt=each[1])
                jobs.send(waiting[each])

    def _dead(self, workers: set[str], signs: dict[str, str]) -> set[str]:
        """Return which workers have given no new sign of life for too long."""
        for worker in workers | signs.keys():
            if worker not in self._signs:
                self._silent[worker] = -self._grace
            elif self._signs[worker] != signs.get(worker):
                self._silent[worker] = 0
            else:
                self._silent[worker] += 1
            self._signs[worker] = signs.get(worker)
        return {worker for worker, rounds in self._silent.items() if rounds >= SILENT_ROUNDS}

    def _bury(self, tasks: list[Task], signs: dict[str, str]) -> bool:
        """Terminate what is said to live but whose worker shows no sign of life; say whether a worker was dead."""
        live = [(task, task.owner.partition(":")[0]) for task in tasks]
        dead = self._dead({worker for _, worker in live}, signs)
        for task, worker in live:
            if worker in dead:
                self._terminate(task)
        for worker in dead:
            self.results.forget_worker(worker)
            del self._signs[worker], self._silent[worker]
        return bool(dead)

    def _terminate(self, task: Task) -> None:
        try:
            lifecycle.transition(task, Status.TERMINATED, actor="janitor", reason="its worker died", ending=Ending.LOST)
        except TransitionConflict:
            log.info("it has moved on", task_id=task.pk)

    def _resume(self, lost: list[Task], now: datetime) -> None:
        """Go on with what ended through no fault of its own."""
        for task in lost:
            lately = (now - RESUMES_WITHIN, now)
            resumed = TaskEvent.objects.filter(task=task, actor="janitor", after=Status.INITIAL, at__range=lately)
            if resumed.exclude(reason__in=RESTARTED).count() >= settings.RESUME_LIMIT:
                self._give_up(task)
                continue
            try:
                services.retry(task, actor="janitor", reason=f"goes on after: {task.reason}")
            except services.Conflict as conflict:
                log.info("not resumed", task_id=task.pk, conflict=str(conflict))

    def _give_up(self, task: Task) -> None:
        """Tell once that an attempt gets no successor by itself for now."""
        if not task.events.filter(kind="not resumed", attempt=task.attempt).exists():
            reason = f"{settings.RESUME_LIMIT} new attempts in ten minutes: something takes it down again and again"
            lifecycle.note(task, "not resumed", actor="janitor", reason=reason)


def run() -> None:
    """Go round until the process is ended."""
    janitor = Janitor(results.default())
    tidying.begin()
    while True:
        try:
            janitor.round(now=timezone.now())
        except (DatabaseError, InterfaceError) as error:
            log.warning("database does not answer", error=str(error)[:200])
            connections.close_all()
        except redis.RedisError as error:
            log.warning("redis does not answer", error=str(error)[:200])
        time.sleep(ROUND_S)
