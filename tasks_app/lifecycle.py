"""The only writer of a task's status."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from tasks_app import results
from tasks_app.models import Task, TaskEvent
from tasks_app.states import ENDED, MOVES, Ending, Status


class TransitionConflict(Exception):
    """The task is no longer what the caller believed, or the move is not legal."""


def transition(
    task: Task,
    to: Status,
    *,
    actor: str,
    reason: str = "",
    now: datetime | None = None,
    details: dict[str, Any] | None = None,
    **fields: Any,
) -> Task:
    """Move the task to a status, together with other fields, and write the event in the same transaction.

    A compare-and-set on (id, status, attempt, owner) as ``task`` has them: of several that race, one wins, the others
    get TransitionConflict. Returns the task as it now is. The news goes out after the commit.
    """
    origin = Status(task.status)
    if (origin, to) not in MOVES:
        raise TransitionConflict(f"task {task.pk} is {origin}: it can't become {to}")
    now = now or timezone.now()
    values: dict[str, Any] = {"status": to, **_stamps(to, now), **fields}
    if to in ENDED:
        values["reason"] = reason[:500]
    try:
        with transaction.atomic():
            same = Task.objects.filter(pk=task.pk, status=origin, attempt=task.attempt, owner=task.owner)
            if same.update(**values) != 1:
                raise TransitionConflict(f"task {task.pk} is no longer {origin} in attempt {task.attempt}")
            TaskEvent.objects.create(
                task_id=task.pk,
                at=now,
                attempt=values.get("attempt", task.attempt),
                before=origin,
                after=to,
                actor=actor,
                reason=reason[:500],
                details=details or {},
            )
            transaction.on_commit(lambda: results.announce_task(task.pk))
    except IntegrityError as error:
        raise TransitionConflict(f"task {task.pk} can't become {to}: its feed has a live task already") from error
    task.refresh_from_db()
    return task


def _stamps(to: Status, now: datetime) -> dict[str, Any]:
    if to is Status.STARTED:
        return {"started_at": now}
    if to is Status.RUNNING:
        return {"running_at": now}
    if to in ENDED:
        return {"ended_at": now}
    return {
        "queued_at": None,
        "sent_at": None,
        "started_at": None,
        "running_at": None,
        "ended_at": None,
        "owner": "",
        "ending": Ending.NONE,
        "reason": "",
        "error": "",
        "stop_requested_at": None,
        "stop_requested_by": "",
        "stop_reason": "",
        "progress": {},
    }


def note(task: Task, kind: str, *, actor: str, reason: str = "", details: dict[str, Any] | None = None) -> None:
    """Write an event that moves nothing, and tell who watches."""
    TaskEvent.objects.create(
        task=task,
        at=timezone.now(),
        attempt=task.attempt,
        kind=kind,
        actor=actor,
        reason=reason[:500],
        details=details or {},
    )
    transaction.on_commit(lambda: results.announce_task(task.pk))
