"""Starts and stops tasks by the clock or by an exchange's session. Each due time is dealt with once, whoever looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from tasks_app import audit, services, times
from tasks_app.models import Schedule, ScheduleRun, Task
from tasks_app.services import Conflict, Invalid
from tasks_app.states import ENDED, LIVE, Status

log = structlog.get_logger()

# Later than this, the platform was down: a market that has opened is not joined hours later without being asked.
LATE = timedelta(minutes=5)
RUNS_KEPT = timedelta(days=90)
_FIELDS = frozenset(
    {"task", "action", "enabled", "by", "at", "weekdays", "zone", "calendar", "moment", "offset_min"}
)  # fmt: skip


# ---- made and changed by people


def create(*, user: Any, **values: Any) -> Schedule:
    """Make a schedule; what was due before is not its business. Raises Invalid for a rule that can't be followed."""
    return _save("create schedule", Schedule(**values), user)


def update(schedule: Schedule, *, user: Any, **values: Any) -> Schedule:
    """Change a schedule; it is followed from now on."""
    assert values.keys() <= _FIELDS
    for name, value in values.items():
        setattr(schedule, name, value)
    schedule.seen_until = timezone.now()
    return _save("change schedule", schedule, user)


def _save(action: str, schedule: Schedule, user: Any) -> Schedule:
    try:
        schedule.full_clean()
    except ValidationError as error:
        audit.write(action, user=user, target=schedule.task, outcome="refused", details=str(error.message_dict))
        raise Invalid(error.message_dict) from error
    schedule.save()
    audit.write(action, user=user, target=schedule)
    return schedule


def delete(schedule: Schedule, *, user: Any) -> None:
    audit.write("delete schedule", user=user, target=schedule)
    schedule.delete()


def next_due(schedule: Schedule, now: datetime) -> datetime | None:
    """Return when a schedule acts next, None if it is off or its calendar ends."""
    if not schedule.enabled:
        return None
    try:
        return times.next_due(schedule.rule(), now)
    except times.UnknownCalendar:
        return None


# ---- followed by the janitor


def run_due(now: datetime) -> None:
    """Deal with every due time that has passed since the last look."""
    for schedule in Schedule.objects.filter(enabled=True, seen_until__lt=now).select_related("task"):
        try:
            due = times.due(schedule.rule(), schedule.seen_until, now)
        except times.UnknownCalendar as error:
            log.error("schedule can't be followed", schedule=schedule.pk, error=str(error))
            continue
        for moment in due:
            _run_once(schedule, moment, now)
        if due:
            Schedule.objects.filter(pk=schedule.pk, seen_until__lt=due[-1]).update(seen_until=due[-1])
            ScheduleRun.objects.filter(schedule=schedule, due_at__lt=now - RUNS_KEPT).delete()


def _run_once(schedule: Schedule, due_at: datetime, now: datetime) -> None:
    """Act for a due time, in one transaction with its record: of two janitors, the second finds the record."""
    try:
        with transaction.atomic():
            run = ScheduleRun.objects.create(schedule=schedule, due_at=due_at, at=now, outcome="missed")
            if now - due_at > LATE:
                run.detail = f"nobody looked for {(now - due_at).total_seconds() / 60:.0f} min: the platform was down"
            else:
                run.outcome, run.detail = _act(schedule)
            run.save(update_fields=["outcome", "detail"])
    except IntegrityError:
        log.info("another janitor was first", schedule=schedule.pk, due_at=str(due_at))


def _act(schedule: Schedule) -> tuple[str, str]:
    task = Task.objects.get(pk=schedule.task_id)
    call = _call(schedule, task)
    if call is None:
        return "needless", f"the task is {task.status}"
    try:
        with transaction.atomic():
            call()
    except Conflict as conflict:
        return "refused", str(conflict)[:500]
    return "done", ""


def _call(schedule: Schedule, task: Task) -> Callable[[], Any] | None:
    """Return what brings the task to where the schedule wants it, None if it is there."""
    actor = f"schedule {schedule.pk}"
    if schedule.action == "stop":
        there = task.stopping or not (task.status in LIVE or task.waiting)
        return None if there else lambda: services.stop(task, actor=actor, reason=f"by {actor}")
    if task.status in ENDED:
        return lambda: services.retry(task, actor=actor, reason=f"by {actor}")
    if task.status == Status.INITIAL and not task.waiting:
        return lambda: services.start_task(task, actor=actor)
    return None
