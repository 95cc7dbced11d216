"""The API's JSON, as docs/protocol.md describes it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, get_args

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from tasks_app import health, logs, messages, schedules, services
from tasks_app.models import ApiToken, AuditRecord, Feed, Instrument, Processor, Schedule, ScheduleRun, Task, TaskEvent
from tasks_app.states import Status


def example(name: str, value: Any, **given: Any) -> Any:
    """Decorate a serializer with what its JSON looks like."""
    shown = OpenApiExample(name, value=value, status_codes=["200", "201", "202"], **given)
    return extend_schema_serializer(examples=[shown])


_TASK = {
    "id": 7,
    "processor": "cluster_regression",
    "title": "Clusters and regression",
    "kind": "stream",
    "feed": "ashare",
    "params": {"k": 4, "window": 3},
    "status": "Running",
    "stopping": False,
    "attempt": 1,
    "reason": "",
    "error": "",
    "created_by": "admin",
    "created_at": "2026-11-23T09:30:00Z",
    "queued_at": "2026-11-23T09:30:00Z",
    "started_at": "2026-11-23T09:30:01Z",
    "running_at": "2026-11-23T09:30:04Z",
    "ended_at": None,
    "progress": {"snapshots": 138},
    "actions": ["stop"],
    "live_params": ["k"],
    "code_hash": "0d3f0f6b2c9a4e51",
    "memory_mb": 768,
    "on_loss": "resume",
    "keep": False,
    "queue": None,
    "stalled": False,
}


@example(
    "A processor",
    {
        "name": "stock_avg",
        "kind": "stream",
        "title": "Average price",
        "description": "The mean price of all stocks.",
        "schema": {"type": "object", "properties": {"window": {"type": "integer", "default": 3}}},
        "enabled": True,
        "code_hash": "0d3f0f6b2c9a4e51",
        "checked_at": "2026-11-23T09:30:00Z",
    },
)
class ProcessorSerializer(serializers.ModelSerializer):
    schema = serializers.DictField(help_text="JSON Schema of its parameters; those with live may change as it runs")

    class Meta:
        model = Processor
        fields = ["name", "kind", "title", "description", "schema", "enabled", "code_hash", "checked_at"]


@example("What is there now", {"processors": ["replay", "simulator", "stock_avg"]})
class ReloadAnswer(serializers.Serializer):
    processors = serializers.ListField(child=serializers.CharField())


@example(
    "One that was refused",
    {
        "at": "2026-11-23T09:30:00Z",
        "who": "admin",
        "outcome": "failed",
        "details": "processors.toml, line 21: [mine] module plugins.mine is missing: No module named 'plugins.mine'",
    },
)
class LastReload(serializers.ModelSerializer):
    class Meta:
        model = AuditRecord
        fields = ["at", "who", "outcome", "details"]
        extra_kwargs = {"details": {"help_text": "the processors' names, or what was broken and where"}}


class QueueSerializer(serializers.Serializer):
    position = serializers.IntegerField(help_text="1: the next to get a slot")
    taken = serializers.IntegerField(help_text="slots in use")
    slots = serializers.IntegerField(help_text="of all workers; 0: there is no worker")


@example("A running task", _TASK)
class TaskSerializer(serializers.ModelSerializer):
    processor = serializers.CharField(source="processor.name")
    title = serializers.CharField(source="processor.title")
    kind = serializers.ChoiceField(["feed", "stream", "batch"])
    feed = serializers.CharField(source="feed.name", default=None, allow_null=True)
    status = serializers.ChoiceField([status.value for status in Status])
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    stopping = serializers.BooleanField()
    params = serializers.DictField()
    progress = serializers.DictField()
    error = serializers.SerializerMethodField()
    actions = serializers.SerializerMethodField()
    live_params = serializers.ListField(child=serializers.CharField(), source="processor.live_params")
    queue = serializers.SerializerMethodField()
    stalled = serializers.BooleanField(help_text="alive, but no batch although snapshots wait")

    class Meta:
        model = Task
        fields = [
            "id", "processor", "title", "kind", "feed", "params", "status", "stopping", "attempt", "reason", "error",
            "created_by", "created_at", "queued_at", "started_at", "running_at", "ended_at", "progress", "actions",
            "live_params", "code_hash", "memory_mb", "on_loss", "keep", "queue", "stalled",
        ]  # fmt: skip

    @extend_schema_field(QueueSerializer(allow_null=True))
    def get_queue(self, task: Task) -> dict[str, int] | None:
        found = services.place(task)
        return asdict(found) if found else None

    def get_error(self, task: Task) -> str:
        return logs.mask(task.error)

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(["start", "stop", "retry"])))
    def get_actions(self, task: Task) -> list[str]:
        return services.allowed_actions(task)


class SourceSerializer(serializers.Serializer):
    name = serializers.CharField()
    state = serializers.CharField()
    active = serializers.BooleanField(help_text="whether rows come from it now")
    error = serializers.CharField(help_text="the last one, empty for none", allow_blank=True)


@example(
    "A feed in good health",
    {
        "feed": "ashare",
        "state": "good",
        "why": "",
        "task": 7,
        "last_time": 1764124203000,
        "age_s": 1.2,
        "delay_s": 0.6,
        "session": "2026-11-26/am",
        "received": 4988,
        "expected": 5002,
        "snapshots": 138,
        "rows": 688_344,
        "rejected": {"price_not_positive": 212},
        "noted": {"bad_quote": 3},
        "samples": {"price_not_positive": ["2026-11-26 09:30:03,000001,0,,0,0,0"]},
        "late": 2,
        "duplicates": 0,
        "gaps": 0,
        "sources": [{"name": "topic ticks", "state": "connected", "active": True, "error": ""}],
        "budget": None,
        "opens_at": None,
    },
)
class HealthSerializer(serializers.Serializer):
    feed = serializers.CharField()
    state = serializers.ChoiceField(get_args(health.State))
    why = serializers.CharField(allow_blank=True)
    task = serializers.IntegerField(allow_null=True)
    last_time = serializers.IntegerField(allow_null=True, help_text="of the newest snapshot, ms UTC")
    age_s = serializers.FloatField(allow_null=True, help_text="since it was published")
    delay_s = serializers.FloatField(allow_null=True, help_text="from its end to its publishing, of a live feed")
    session = serializers.CharField(allow_blank=True)
    received = serializers.IntegerField(help_text="stocks with a real row in it")
    expected = serializers.IntegerField(help_text="stocks in it")
    snapshots = serializers.IntegerField(help_text="published by the attempt")
    rows = serializers.IntegerField(help_text="that the source gave")
    rejected = serializers.DictField(child=serializers.IntegerField(), help_text="rows that were dropped, by reason")
    noted = serializers.DictField(child=serializers.IntegerField(), help_text="rows kept, but not as they came")
    samples = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    late = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    gaps = serializers.IntegerField(help_text="intervals of trading sessions without a real row")
    sources = SourceSerializer(many=True)
    budget = serializers.DictField(allow_null=True, help_text="calls that the vendor's plan leaves")
    opens_at = serializers.IntegerField(allow_null=True, help_text="when a closed market opens again, ms UTC")


@example(
    "A move",
    {
        "at": "2026-11-23T09:30:04Z",
        "attempt": 1,
        "kind": "move",
        "actor": "worker",
        "reason": "",
        "details": {},
        "from": "Started",
        "to": "Running",
    },
)
class EventSerializer(serializers.ModelSerializer):
    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        # "from" is a word of Python's own.
        fields["from"] = serializers.CharField(source="before")
        fields["to"] = serializers.CharField(source="after")
        return fields

    details = serializers.DictField()

    class Meta:
        model = TaskEvent
        fields = ["at", "attempt", "kind", "actor", "reason", "details"]


@example(
    "A missed start",
    {
        "due_at": "2026-11-23T01:20:00Z",
        "at": "2026-11-23T04:00:00Z",
        "outcome": "missed",
        "detail": "nobody looked for 160 min: the platform was down",
    },
)
class RunSerializer(serializers.ModelSerializer):
    class Meta:
        model = ScheduleRun
        fields = ["due_at", "at", "outcome", "detail"]


@example(
    "Before the market opens",
    {
        "id": 3,
        "task": 7,
        "action": "start",
        "enabled": True,
        "by": "session",
        "at": None,
        "weekdays": [0, 1, 2, 3, 4],
        "zone": "UTC",
        "calendar": "XSHG",
        "moment": "open",
        "offset_min": -10,
        "next_due": "2026-11-24T01:20:00Z",
        "last_run": None,
        "missed": 0,
    },
)
class ScheduleSerializer(serializers.ModelSerializer):
    weekdays = serializers.ListField(
        child=serializers.IntegerField(), required=False, help_text="by clock: 0 is Monday"
    )
    next_due = serializers.SerializerMethodField()
    last_run = serializers.SerializerMethodField()
    missed = serializers.SerializerMethodField(help_text="due times of the last week that nobody looked at")

    class Meta:
        model = Schedule
        fields = [
            "id", "task", "action", "enabled", "by", "at", "weekdays", "zone", "calendar", "moment", "offset_min",
            "next_due", "last_run", "missed",
        ]  # fmt: skip

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_due(self, schedule: Schedule) -> datetime | None:
        return schedules.next_due(schedule, timezone.now())

    @extend_schema_field(RunSerializer(allow_null=True))
    def get_last_run(self, schedule: Schedule) -> Any:
        last = schedule.runs.first()
        return RunSerializer(last).data if last else None

    def get_missed(self, schedule: Schedule) -> int:
        return schedule.runs.filter(outcome="missed", due_at__gt=timezone.now() - timedelta(days=7)).count()


class LastSnapshot(serializers.Serializer):
    seq = serializers.IntegerField()
    time = serializers.IntegerField(help_text="ms since 1970, UTC")
    received = serializers.IntegerField()
    expected = serializers.IntegerField()
    session = serializers.CharField(allow_blank=True)
    run = serializers.IntegerField()


@example(
    "A stock",
    {
        "code": "600000",
        "name": "浦发银行",
        "calendar": "XSHG",
        "sector": "银行",
        "tick_size": 0.01,
        "lot_size": 100,
        "listed": "1999-11-10",
        "delisted": None,
    },
)
class InstrumentSerializer(serializers.ModelSerializer):
    tick_size = serializers.FloatField(allow_null=True, help_text="in currency; null: not known, as of the others")

    class Meta:
        model = Instrument
        fields = ["code", "name", "calendar", "sector", "tick_size", "lot_size", "listed", "delisted"]


_FEED = [
    "name", "title", "processor", "params", "zone", "calendar", "interval_ms", "volume_unit", "lot_size", "volume_mode",
    "type_meaning", "simulated", "slices", "grace_ms", "carry_limit_s", "max_bytes", "keep_raw", "keep_days", "keep_mb",
]  # fmt: skip


@example(
    "A feed",
    {
        "name": "ashare",
        "title": "30 Shanghai stocks",
        "interval_ms": 3000,
        "zone": "Asia/Shanghai",
        "calendar": "XSHG",
        "volume_unit": "lots",
        "lot_size": 100,
        "volume_mode": "interval",
        "type_meaning": "trade_sign",
        "simulated": False,
        "slices": 1,
        "grace_ms": 500,
        "carry_limit_s": 300,
        "max_bytes": 268435456,
        "keep_raw": False,
        "keep_days": None,
        "keep_mb": None,
        "processor": "replay",
        "params": {"pace": 1.0},
        "live_task": 6,
        "last": {
            "seq": 1795450006000,
            "time": 1638322203000,
            "received": 28,
            "expected": 30,
            "session": "am",
            "run": 1,
        },
    },
)
class FeedSerializer(serializers.ModelSerializer):
    processor = serializers.CharField(source="processor.name")
    params = serializers.DictField()
    live_task = serializers.IntegerField(default=None, allow_null=True)
    last = LastSnapshot(default=None, allow_null=True)

    class Meta:
        model = Feed
        fields = [*_FEED, "live_task", "last"]


@example(
    "A topic of Kafka",
    {
        "name": "ticks",
        "title": "Shanghai",
        "processor": "kafka",
        "params": {"topic": "ticks", "format": "json"},
        "zone": "Asia/Shanghai",
        "calendar": "XSHG",
        "interval_ms": 3000,
    },
    request_only=True,
)
class FeedRequest(serializers.ModelSerializer):
    """What POST and PATCH /api/feeds take; what is wrong with it is told by the service."""

    name = serializers.CharField(max_length=64)
    processor = serializers.CharField(help_text="name of a processor of kind feed")
    params = serializers.DictField(required=False, help_text="of that processor, by its schema")

    class Meta:
        model = Feed
        fields = _FEED


@example("Start one", {"processor": "cluster_regression", "feed": "ashare", "params": {"k": 4}, "start": True})
class TaskRequest(serializers.Serializer):
    """What POST /api/tasks takes."""

    processor = serializers.CharField()
    feed = serializers.CharField(required=False, allow_null=True, default=None)
    params = serializers.DictField(required=False, default=dict)
    start = serializers.BooleanField(required=False, default=True)
    memory_mb = serializers.IntegerField(
        required=False, allow_null=True, default=None, help_text="heap of its JVM; that of the settings when null"
    )
    on_loss = serializers.ChoiceField(
        ["resume", "end"], required=False, default="resume", help_text="what follows when its process or worker dies"
    )
    keep = serializers.BooleanField(
        required=False, default=False, help_text="whether the results of a stream are kept, to be looked at later"
    )


@example("With a reason", {"reason": "the feed is wrong"})
class StopRequest(serializers.Serializer):
    reason = serializers.CharField(required=False, allow_blank=True, default="")


@example("Go on from the checkpoint", {"fresh": False})
class RetryRequest(serializers.Serializer):
    fresh = serializers.BooleanField(required=False, default=False)
    memory_mb = serializers.IntegerField(
        required=False, allow_null=True, default=None, help_text="heap of its JVM from now on; as before when null"
    )


@example("Six clusters", {"name": "k", "value": 6})
class LiveRequest(serializers.Serializer):
    name = serializers.CharField()
    value = serializers.JSONField()


@example("A person", {"username": "admin", "password": "…"})
class LoginRequest(serializers.Serializer):
    username = serializers.CharField()
    password = serializers.CharField()


class Known(serializers.Serializer):
    name = serializers.CharField()
    role = serializers.ChoiceField(["viewer", "operator", "admin"])


@example("Somebody", {"user": {"name": "admin", "role": "admin"}, "version": "0.1.0"}, response_only=True)
class SessionAnswer(serializers.Serializer):
    user = Known(allow_null=True)
    version = serializers.CharField()


@example("A token for a month", {"name": "notebook", "days": 30})
class TokenRequest(serializers.Serializer):
    name = serializers.CharField(max_length=64, help_text="letters, digits, - and _")
    days = serializers.IntegerField(required=False, default=30)


_TOKEN = {
    "name": "notebook",
    "created": "2026-11-23T09:30:00Z",
    "expiry": "2026-12-23T09:30:00Z",
    "last_used_at": None,
}


@example("A token", _TOKEN)
class TokenSerializer(serializers.ModelSerializer):
    expiry = serializers.DateTimeField()

    class Meta:
        model = ApiToken
        fields = ["name", "created", "expiry", "last_used_at"]


@example("A new token", {**_TOKEN, "token": "lsp_…"})
class NewToken(TokenSerializer):
    token = serializers.CharField(help_text="told only now")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


@example(
    "Somebody stopped a task",
    {
        "id": 812,
        "at": "2026-11-23T09:30:00Z",
        "who": "olga",
        "ip": "127.0.0.1",
        "through": "session",
        "action": "stop",
        "target": "stock_avg #7",
        "outcome": "done",
        "details": "the feed is wrong",
    },
)
class AuditSerializer(serializers.ModelSerializer):
    class Meta:
        model = AuditRecord
        fields = ["id", "at", "who", "ip", "through", "action", "target", "outcome", "details"]


@example("A ticket", {"ticket": "Vq3…", "expires_in_s": 30})
class TicketAnswer(serializers.Serializer):
    ticket = serializers.CharField()
    expires_in_s = serializers.IntegerField()


@example("The end of a log", {"attempt": 2, "attempts": [1, 2], "size": 48213, "truncated": True, "text": "…"})
class LogAnswer(serializers.Serializer):
    attempt = serializers.IntegerField()
    attempts = serializers.ListField(child=serializers.IntegerField())
    size = serializers.IntegerField(help_text="bytes")
    truncated = serializers.BooleanField()
    text = serializers.CharField(allow_blank=True)


class ItemsAnswer(messages.Strict):
    """Results after an id, oldest first."""

    items: list[messages.Item]
    last_id: messages.ItemId | None
