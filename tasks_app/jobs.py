"""What Celery runs: ids in, one call, nothing out."""

from __future__ import annotations

from typing import Any

import structlog
from celery import shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone
from kombu.exceptions import OperationalError

from tasks_app import supervisor
from tasks_app.models import Task

log = structlog.get_logger()


@shared_task(name="host", ignore_result=True)
def host(*, task_id: int, attempt: int) -> None:
    supervisor.host(task_id, attempt)


@worker_shutting_down.connect
def _shut_down(**_: Any) -> None:
    supervisor.WORKER.close()


def send(task: Task) -> bool:
    """Hand an attempt to the workers; say whether the broker took it. The janitor sends again what it did not."""
    try:
        host.apply_async(kwargs={"task_id": task.pk, "attempt": task.attempt}, queue=task.kind)
    except (OperationalError, OSError) as error:
        log.warning("broker did not take the task", task_id=task.pk, error=str(error)[:200])
        return False
    Task.objects.filter(pk=task.pk, attempt=task.attempt).update(sent_at=timezone.now())
    return True
