"""Finds the dead and the lost. Any number of janitors may run: every move is a compare-and-set."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import redis
import structlog
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from tasks_app import jobs, lifecycle, results, services
from tasks_app.lifecycle import TransitionConflict
from tasks_app.models import Task, TaskEvent
from tasks_app.states import LIVE, Ending, Status

log = structlog.get_logger()

ROUND_S = 0.5
GRACE_S = 6.0  # of uninterrupted Redis before anybody is judged by what is missing in it
RESEND_AFTER = timedelta(seconds=30)
# A task that takes its worker down with it must not do so for ever.
RESUMES, RESUMES_WITHIN = 5, timedelta(minutes=10)
# Restarting the platform often is no fault of a task.
RESTARTED = [f"goes on after: {reason}" for reason in ("its worker was shut down", "the platform was killed")]


class Janitor:
    """``redis_since`` is when Redis was first seen to answer without a break, on the monotonic clock."""

    def __init__(self, found: results.Results):
        self.results = found
        self.redis_since: float | None = None

    def round(self, *, now: datetime, clock: float) -> None:
        """Look once at everything that could be lost."""
        if not self._redis_answers(clock):
            return
        self._send_again(now)
        if clock - (self.redis_since or clock) >= GRACE_S:
            self._bury()
        self._resume(now)

    def _redis_answers(self, clock: float) -> bool:
        try:
            self.results.client.ping()
        except redis.RedisError:
            self.redis_since = None
            return False
        self.redis_since = clock if self.redis_since is None else self.redis_since
        return True

    def _send_again(self, now: datetime) -> None:
        """Send what waits for a worker and was never taken by the broker, or lost there."""
        waiting = Task.objects.filter(status=Status.INITIAL, queued_at__lt=now - timedelta(seconds=2))
        for task in waiting:
            if task.sent_at is None or task.sent_at < now - RESEND_AFTER:
                log.info("sent again", task_id=task.pk, attempt=task.attempt)
                jobs.send(task)

    def _bury(self) -> None:
        """Terminate what is said to live but whose worker shows no sign of life."""
        for task in Task.objects.filter(status__in=LIVE):
            if self.results.alive(task.owner.partition(":")[0]):
                continue
            try:
                lifecycle.transition(
                    task, Status.TERMINATED, actor="janitor", reason="its worker died", ending=Ending.LOST
                )
            except TransitionConflict:
                continue

    def _resume(self, now: datetime) -> None:
        """Go on with what ended through no fault of its own."""
        lost = Task.objects.filter(
            status=Status.TERMINATED, ending__in=[Ending.LOST, Ending.SHUTDOWN], on_loss="resume"
        )
        for task in lost:
            since = now - RESUMES_WITHIN
            resumed = TaskEvent.objects.filter(task=task, actor="janitor", after=Status.INITIAL, at__gt=since)
            if resumed.exclude(reason__in=RESTARTED).count() >= RESUMES or task.stop_requested_at:
                continue
            try:
                services.retry(task, actor="janitor", reason=f"goes on after: {task.reason}")
            except services.Conflict as conflict:
                log.info("not resumed", task_id=task.pk, conflict=str(conflict))


def run() -> None:
    """Go round until the process is ended."""
    janitor = Janitor(results.default())
    while True:
        close_old_connections()
        try:
            janitor.round(now=timezone.now(), clock=time.monotonic())
        except DatabaseError as error:
            log.warning("database does not answer", error=str(error)[:200])
        time.sleep(ROUND_S)
