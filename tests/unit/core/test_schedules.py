"""What comes of a due time. The clock is an input; the database is a real one."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from tasks_app import schedules
from tasks_app.models import AuditRecord, Processor, Schedule, ScheduleRun, Task
from tasks_app.services import Invalid
from tasks_app.states import Status

pytestmark = pytest.mark.django_db

MONDAY = datetime(2021, 11, 29, 1, 20, tzinfo=UTC)  # ten minutes before Shanghai opens


@pytest.fixture
def task() -> Task:
    processor = Processor.objects.create(name="p", kind="stream", class_path="processors.x:X")
    return Task.objects.create(processor=processor, kind="stream")


@pytest.fixture
def user() -> Any:
    return get_user_model().objects.create_user("ann")


def before_the_open(task: Task, user: Any, **more: Any) -> Schedule:
    values = {"action": "start", "by": "session", "calendar": "XSHG", "moment": "open", "offset_min": -10, **more}
    made = schedules.create(task=task, user=user, **values)
    Schedule.objects.filter(pk=made.pk).update(seen_until=MONDAY - timedelta(minutes=1))
    return Schedule.objects.get(pk=made.pk)


def outcomes(schedule: Schedule) -> list[tuple[datetime, str]]:
    return list(schedule.runs.order_by("due_at").values_list("due_at", "outcome"))


def test_a_task_is_started_when_it_is_due_and_not_before(task: Task, user: Any) -> None:
    schedule = before_the_open(task, user)
    schedules.run_due(MONDAY - timedelta(seconds=1))
    assert outcomes(schedule) == []
    schedules.run_due(MONDAY)
    schedules.run_due(MONDAY + timedelta(seconds=1))
    assert outcomes(schedule) == [(MONDAY, "done")]
    task.refresh_from_db()
    assert task.waiting and task.events.get(kind="start").actor == f"schedule {schedule.pk}"


def test_an_ended_task_goes_on_with_a_new_attempt(task: Task, user: Any) -> None:
    Task.objects.filter(pk=task.pk).update(status=Status.FINISHED, ended_at=MONDAY - timedelta(hours=10))
    schedule = before_the_open(task, user)
    schedules.run_due(MONDAY)
    task.refresh_from_db()
    assert outcomes(schedule) == [(MONDAY, "done")] and task.attempt == 2 and task.waiting


def test_what_is_there_already_is_needless_and_what_is_forbidden_is_refused(task: Task, user: Any) -> None:
    Task.objects.filter(pk=task.pk).update(status=Status.RUNNING)
    start, stop = before_the_open(task, user), before_the_open(task, user, action="stop")
    schedules.run_due(MONDAY)
    assert outcomes(start) == [(MONDAY, "needless")] and outcomes(stop) == [(MONDAY, "done")]
    task.refresh_from_db()
    assert task.stopping and task.stop_requested_by == f"schedule {stop.pk}"
    Schedule.objects.update(seen_until=MONDAY)
    schedules.run_due(MONDAY + timedelta(days=1))
    assert outcomes(stop)[-1][1] == "needless", "it is stopping already"


def test_a_feed_that_has_another_live_task_refuses_the_start(task: Task, user: Any) -> None:
    from tasks_app.models import Feed

    feed = Feed.objects.create(name="f", processor=task.processor)
    Task.objects.filter(pk=task.pk).update(kind="feed", feed=feed)
    other = Task.objects.create(processor=task.processor, kind="feed", feed=feed, status=Status.RUNNING)
    schedule = before_the_open(task, user)
    schedules.run_due(MONDAY)
    run = schedule.runs.get()
    assert run.outcome == "refused" and f"#{other.pk}" in run.detail


def test_what_was_due_while_the_platform_was_down_is_shown_as_missed(task: Task, user: Any) -> None:
    schedule = before_the_open(task, user)
    back = MONDAY + timedelta(days=2, minutes=2)
    schedules.run_due(back)
    days = [MONDAY + timedelta(days=number) for number in range(3)]
    assert outcomes(schedule) == [(days[0], "missed"), (days[1], "missed"), (days[2], "done")]
    assert "the platform was down" in schedule.runs.earliest("due_at").detail


def test_a_clock_that_is_set_back_starts_nothing_twice(task: Task, user: Any) -> None:
    schedule = before_the_open(task, user)
    schedules.run_due(MONDAY)
    schedules.run_due(MONDAY - timedelta(hours=1))
    schedules.run_due(MONDAY)
    Schedule.objects.update(seen_until=MONDAY - timedelta(hours=1))  # a janitor that looked before this one wrote
    schedules.run_due(MONDAY)
    assert outcomes(schedule) == [(MONDAY, "done")] and task.events.filter(kind="start").count() == 1


def test_what_is_off_does_nothing_and_a_change_counts_from_now(task: Task, user: Any) -> None:
    schedule = before_the_open(task, user, enabled=False)
    schedules.run_due(MONDAY)
    assert outcomes(schedule) == [] and schedules.next_due(schedule, MONDAY) is None
    schedules.update(schedule, user=user, enabled=True)
    schedules.run_due(MONDAY)
    assert not ScheduleRun.objects.exists(), "it was due before it was switched on"


@pytest.mark.parametrize(
    ("values", "field", "told"),
    [
        ({"by": "clock"}, "at", "expected a time of day"),
        ({"by": "clock", "at": time(9), "zone": "Mars/Base"}, "zone", "'Mars/Base' is no time zone"),
        ({"by": "clock", "at": time(9), "weekdays": [7]}, "weekdays", "[7]: expected a list of numbers"),
        ({"by": "clock", "at": time(9), "weekdays": []}, "weekdays", "expected a list"),
        ({"calendar": "XMARS"}, "calendar", "'XMARS' is no exchange calendar"),
        ({"moment": "tea"}, "moment", "'tea'"),
        ({"offset_min": 1000}, "offset_min", "1000: expected at most 720"),
    ],
)
def test_a_rule_that_can_never_be_followed_is_refused_by_field(
    task: Task, user: Any, values: dict[str, Any], field: str, told: str
) -> None:
    with pytest.raises(Invalid) as refused:
        before_the_open(task, user, **values)
    assert told in " ".join(refused.value.errors[field])
    assert not Schedule.objects.exists()
    assert AuditRecord.objects.get().outcome == "refused"
