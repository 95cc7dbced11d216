"""The Django admin: tasks are started, stopped and retried by the same rules as everywhere; no status is edited."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from tasks_app import results, roles, services
from tasks_app.models import Feed, Processor, Task, TaskEvent

admin.site.site_header = admin.site.site_title = "Live stock platform"

_COLOURS = {
    "Initial": "#6b7280",
    "Started": "#2563eb",
    "Running": "#059669",
    "Finished": "#4b5563",
    "Stopped": "#b45309",
    "Terminated": "#dc2626",
}


class ReadOnly(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EventInline(admin.TabularInline):
    model = TaskEvent
    fields = readonly_fields = ("at", "attempt", "kind", "before", "after", "actor", "reason", "details")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Task)
class TaskAdmin(ReadOnly):
    list_display = ("id", "processor", "feed", "state", "attempt", "told", "reason", "created_by", "created_at")
    list_filter = ("status", "kind", "processor", "feed")
    search_fields = ("id", "processor__name", "feed__name", "reason")
    list_select_related = ("processor", "feed", "created_by")
    inlines = [EventInline]
    actions = ["start_tasks", "stop_tasks", "retry_tasks", "retry_tasks_fresh"]
    fieldsets = [
        (None, {"fields": ("processor", "feed", "state", "attempt", "reason", "told")}),
        ("Order", {"fields": ("params", "on_loss", "created_by", "created_at")}),
        (
            "Times",
            {"fields": ("queued_at", "started_at", "running_at", "ended_at", "stop_requested_by", "stop_reason")},
        ),
        ("Error", {"fields": ("error", "code_hash")}),
    ]

    @admin.display(description="status", ordering="status")
    def state(self, task: Task) -> str:
        text = "stopping" if task.stopping else task.status
        return format_html('<b style="color:{}">{}</b>', _COLOURS[task.status], text)

    @admin.display(description="progress")
    def told(self, task: Task) -> str:
        progress = (results.default().progress(task.pk) if task.status == "Running" else None) or task.progress
        return ", ".join(
            f"{name} {json.dumps(value)}" for name, value in progress.items() if not isinstance(value, dict)
        )

    @admin.action(description="Start")
    def start_tasks(self, request: HttpRequest, chosen: QuerySet[Task]) -> None:
        self._each(request, chosen, services.start_task, "start asked for")

    @admin.action(description="Stop")
    def stop_tasks(self, request: HttpRequest, chosen: QuerySet[Task]) -> None:
        self._each(request, chosen, services.stop, "stop asked for")

    @admin.action(description="Retry: a new attempt that goes on from the checkpoint")
    def retry_tasks(self, request: HttpRequest, chosen: QuerySet[Task]) -> None:
        self._each(request, chosen, services.retry, "new attempt asked for")

    @admin.action(description="Retry fresh: a new attempt that begins anew")
    def retry_tasks_fresh(self, request: HttpRequest, chosen: QuerySet[Task]) -> None:
        self._each(request, chosen, lambda task, user: services.retry(task, user=user, fresh=True), "begins anew")

    def _each(self, request: HttpRequest, chosen: QuerySet[Task], call: Callable[..., Any], done: str) -> None:
        if not roles.may_operate(request.user):
            self.message_user(request, "this needs the role operator or admin", messages.ERROR)
            return
        for task in chosen:
            try:
                call(task, user=request.user)
                self.message_user(request, f"{task}: {done}")
            except services.Conflict as conflict:
                self.message_user(request, str(conflict), messages.WARNING)


@admin.register(TaskEvent)
class TaskEventAdmin(ReadOnly):
    list_display = ("at", "task", "attempt", "kind", "before", "after", "actor", "reason")
    list_filter = ("kind", "after", "actor")


@admin.register(Processor)
class ProcessorAdmin(ReadOnly):
    list_display = ("name", "kind", "title", "class_path", "enabled", "checked_at")
    list_filter = ("kind", "enabled")


@admin.register(Feed)
class FeedAdmin(admin.ModelAdmin):
    list_display = ("name", "title", "processor", "interval_ms", "zone", "calendar", "simulated")
