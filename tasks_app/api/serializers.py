"""The API's JSON, as docs/protocol.md describes it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from tasks_app import services
from tasks_app.models import Feed, Processor, Task, TaskEvent


class ProcessorSerializer(serializers.ModelSerializer):
    schema = serializers.JSONField()

    class Meta:
        model = Processor
        fields = ["name", "kind", "title", "description", "schema", "enabled"]


class TaskSerializer(serializers.ModelSerializer):
    processor = serializers.CharField(source="processor.name")
    title = serializers.CharField(source="processor.title")
    feed = serializers.CharField(source="feed.name", default=None)
    created_by = serializers.CharField(source="created_by.username", default=None)
    stopping = serializers.BooleanField()
    actions = serializers.SerializerMethodField()
    live_params = serializers.JSONField(source="processor.live_params")

    class Meta:
        model = Task
        fields = [
            "id", "processor", "title", "kind", "feed", "params", "status", "stopping", "attempt", "reason", "error",
            "created_by", "created_at", "queued_at", "started_at", "running_at", "ended_at", "progress", "actions",
            "live_params",
        ]  # fmt: skip

    def get_actions(self, task: Task) -> list[str]:
        return services.allowed_actions(task)


class EventSerializer(serializers.ModelSerializer):
    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        # "from" is a word of Python's own.
        fields["from"] = serializers.CharField(source="before")
        fields["to"] = serializers.CharField(source="after")
        return fields

    class Meta:
        model = TaskEvent
        fields = ["at", "attempt", "kind", "actor", "reason", "details"]


class FeedSerializer(serializers.ModelSerializer):
    processor = serializers.CharField(source="processor.name")
    live_task = serializers.IntegerField(default=None)
    last = serializers.JSONField(default=None)

    class Meta:
        model = Feed
        fields = [
            "name", "title", "interval_ms", "zone", "calendar", "simulated", "processor", "params", "live_task", "last",
        ]  # fmt: skip


class TaskRequest(serializers.Serializer):
    """What POST /api/tasks takes."""

    processor = serializers.CharField()
    feed = serializers.CharField(required=False, allow_null=True, default=None)
    params = serializers.DictField(required=False, default=dict)
    start = serializers.BooleanField(required=False, default=True)


class StopRequest(serializers.Serializer):
    reason = serializers.CharField(required=False, allow_blank=True, default="")


class RetryRequest(serializers.Serializer):
    fresh = serializers.BooleanField(required=False, default=False)


class LiveRequest(serializers.Serializer):
    name = serializers.CharField()
    value = serializers.JSONField()


class LoginRequest(serializers.Serializer):
    username = serializers.CharField()
    password = serializers.CharField()
