"""What Prometheus is told at ``/metrics``: tasks and their pace, feeds, slots, Redis, and this process's websockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import redis
from django.db.models import Count
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks_app import health, results
from tasks_app.models import KIND_CHOICES, ScheduleRun, Task
from tasks_app.states import LIVE, Status

REGISTRY = CollectorRegistry()
WEBSOCKET_CLIENTS = Gauge("platform_websocket_clients", "Websockets of this web process", registry=REGISTRY)

_OF_TASK = ("task", "processor", "feed")
_MB = 2**20
# Fact of a task's progress → metric, what it says, and by what the fact is multiplied.
_GAUGES = {
    "lag_ms": ("platform_task_lag_seconds", "From a snapshot's publishing to its result", 1e-3),
    "rows_per_s": ("platform_task_rows_per_second", "Over the last ten seconds", 1.0),
    "behind": ("platform_task_behind_snapshots", "Snapshots that wait on the bus", 1.0),
    "stalled": ("platform_task_stalled", "1: alive, but no batch although snapshots wait", 1.0),
    "share": ("platform_task_done_share", "Share of a batch task that is done", 1.0),
    "heap_mb": ("platform_task_heap_bytes", "In use of the JVM's heap", _MB),
    "jvm_mb": ("platform_task_jvm_bytes", "Resident memory of the JVM", _MB),
    "python_mb": ("platform_task_python_bytes", "Resident memory of the Python processes", _MB),
}
_COUNTERS = {
    "missed": ("platform_task_missed_snapshots", "Trimmed from the bus unread, since the task's start"),
    "batches": ("platform_task_batches", "Of the attempt"),
    "rows": ("platform_task_rows", "Of the attempt"),
    "received": ("platform_feed_received_rows", "Rows that the source gave, of the attempt"),
    "stored": ("platform_task_stored_snapshots", "New to the history, of the attempt"),
    "already": ("platform_task_already_stored_snapshots", "In the history already, of the attempt"),
    "raw_rows": ("platform_task_stored_ticks", "Kept in the history beside the snapshots, of the attempt"),
    "raw_missed": ("platform_task_missed_ticks_snapshots", "Whose ticks had left the bus, of the attempt"),
    "kept": ("platform_task_kept_results", "New ones that were kept, of the attempt"),
    "snapshots": ("platform_feed_snapshots", "Snapshots published, of the attempt"),
    "late": ("platform_feed_late_rows", "Rows that came after their snapshot, of the attempt"),
    "duplicates": ("platform_feed_duplicate_rows", "Rows that came twice, of the attempt"),
    "gaps": ("platform_feed_gaps", "Intervals of trading sessions without a real row, of the attempt"),
}


class Platform(Collector):
    """Reads the database and Redis each time it is asked."""

    def collect(self) -> Iterator[Metric]:
        live = list(Task.objects.filter(status__in=LIVE).select_related("processor", "feed"))
        yield from _states()
        yield from _facts(live)
        yield _rejected(live)
        yield from _feeds(live)
        yield from _redis(taken=len(live))


def text() -> bytes:
    return generate_latest(REGISTRY)


def _states() -> Iterator[Metric]:
    tasks = GaugeMetricFamily("platform_tasks", "Tasks by kind and state", labels=["kind", "status"])
    grouped = Task.objects.order_by().values("kind", "status").annotate(n=Count("id"))
    counts = {(row["kind"], row["status"]): row["n"] for row in grouped}
    for kind, _ in KIND_CHOICES:
        for status in Status:
            tasks.add_metric([kind, status], counts.get((kind, status), 0))
    yield tasks
    runs = CounterMetricFamily("platform_schedule_runs", "Due times dealt with, by outcome", labels=["outcome"])
    for row in ScheduleRun.objects.order_by().values("outcome").annotate(n=Count("id")):
        runs.add_metric([row["outcome"]], row["n"])
    yield runs


def _labels(task: Task) -> list[str]:
    return [str(task.pk), task.processor.name, task.feed.name if task.feed else ""]


def _facts(live: list[Task]) -> Iterator[Metric]:
    for fact, (name, told, factor) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, told, labels=_OF_TASK)
        for task in live:
            if isinstance(value := task.progress.get(fact), int | float):
                gauge.add_metric(_labels(task), value * factor)
        yield gauge
    for fact, (name, told) in _COUNTERS.items():
        counter = CounterMetricFamily(name, told, labels=_OF_TASK)
        for task in live:
            if isinstance(value := task.progress.get(fact), int):
                counter.add_metric(_labels(task), value)
        yield counter


def _rejected(live: list[Task]) -> Metric:
    counter = CounterMetricFamily(
        "platform_feed_rejected_rows", "Rows that were no ticks, of the attempt", labels=[*_OF_TASK, "reason"]
    )
    for task in live:
        rejected = task.progress.get("rejected") if task.kind == "feed" else None
        for reason, count in (rejected or {}).items():
            counter.add_metric([*_labels(task), reason], count)
    return counter


def _feeds(live: list[Task]) -> Iterator[Metric]:
    """Health of the feeds that run; of none while Redis does not answer."""
    state = GaugeMetricFamily("platform_feed_state", "1 for the state that a feed is in", labels=["feed", "state"])
    age = GaugeMetricFamily("platform_feed_age_seconds", "Since the newest snapshot's publishing", labels=["feed"])
    delay = GaugeMetricFamily("platform_feed_delay_seconds", "From a snapshot's end to its publishing", labels=["feed"])
    received = GaugeMetricFamily("platform_feed_received_stocks", "With a real row in the newest", labels=["feed"])
    expected = GaugeMetricFamily("platform_feed_expected_stocks", "In the newest snapshot", labels=["feed"])
    source = GaugeMetricFamily("platform_feed_source_active", "1: rows come from it", labels=["feed", "source"])
    for feed in {task.feed for task in live if task.kind == "feed" and task.feed}:
        try:
            found = health.of(feed)
        except redis.RedisError:
            break
        for name in get_args(health.State):
            state.add_metric([feed.name, name], float(name == found.state))
        for gauge, value in ((age, found.age_s), (delay, found.delay_s)):
            if value is not None:
                gauge.add_metric([feed.name], value)
        received.add_metric([feed.name], found.received)
        expected.add_metric([feed.name], found.expected)
        for each in found.sources:
            source.add_metric([feed.name, each["name"]], float(each["active"]))
    yield from (state, age, delay, received, expected, source)


def _redis(taken: int) -> Iterator[Metric]:
    found = results.default()
    try:
        memory, slots, workers = found.client.info("memory")["used_memory"], found.slots(), len(found.signs())
        up = 1
    except redis.RedisError:
        memory = slots = workers = up = 0
    waiting = Task.objects.filter(status=Status.INITIAL, queued_at__isnull=False).count()
    for name, told, value in (
        ("platform_redis_up", "Whether Redis answers", up),
        ("platform_redis_used_bytes", "Memory that Redis uses", memory),
        ("platform_workers", "Workers that live", workers),
        ("platform_slots", "Tasks that they can host side by side", slots),
        ("platform_slots_taken", "Tasks that they host", taken),
        ("platform_tasks_waiting", "Tasks that wait for a slot", waiting),
    ):
        yield GaugeMetricFamily(name, told, value=value)


REGISTRY.register(Platform())
