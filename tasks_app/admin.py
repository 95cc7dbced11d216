"""The Django admin: tasks are started, stopped and retried by the same rules as everywhere; no status is edited."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tasks_app import audit, feeds, logs, registry, results, roles, schedules, services
from tasks_app.models import ApiToken, AuditRecord, Feed, Instrument, Processor, Schedule, ScheduleRun, Task, TaskEvent
from tasks_app.roles import May


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
    list_filter = ("status", "kind", "processor", "feed", ("created_at", admin.DateFieldListFilter))
    search_fields = ("id", "processor__name", "processor__title", "feed__name", "reason", "created_by__username")
    search_help_text = "number, processor, feed, reason or who made it"
    list_select_related = ("processor", "feed", "created_by")
    inlines = [EventInline]
    actions = ["start_tasks", "stop_tasks", "retry_tasks", "retry_tasks_fresh"]
    fieldsets = [
        (None, {"fields": ("processor", "feed", "state", "attempt", "reason", "told", "log_files")}),
        ("Order", {"fields": ("params", "on_loss", "keep", "created_by", "created_at")}),
        (
            "Times",
            {"fields": ("queued_at", "started_at", "running_at", "ended_at", "stop_requested_by", "stop_reason")},
        ),
        ("Error", {"fields": ("masked_error", "code_hash")}),
    ]

    class Media:
        css = {"all": ["tasks_app/admin.css"]}
        js = ["tasks_app/admin_live.js"]

    # ---- what is shown

    @admin.display(description="status", ordering="status")
    def state(self, task: Task) -> SafeString:
        text = "stopping" if task.stopping else task.status
        return format_html(
            '<b class="task-status is-{}" data-task="{}" data-shows="status">{}</b>', task.status, task.pk, text
        )

    @admin.display(description="progress")
    def told(self, task: Task) -> SafeString:
        progress = (results.default().progress(task.pk) if task.status == "Running" else None) or task.progress
        facts = ", ".join(
            f"{name} {json.dumps(value)}" for name, value in progress.items() if not isinstance(value, dict)
        )
        return format_html('<span data-task="{}" data-shows="progress">{}</span>', task.pk, facts)

    @admin.display(description="logs")
    def log_files(self, task: Task) -> SafeString:
        links = [(f"/api/tasks/{task.pk}/log?download=1&attempt={each}", each) for each in logs.attempts(task.pk)]
        return format_html_join(", ", '<a href="{}">attempt {}</a>', links)

    @admin.display(description="error")
    def masked_error(self, task: Task) -> SafeString:
        return format_html("<pre>{}</pre>", logs.mask(task.error))

    # ---- what is done

    def has_run_permission(self, request: HttpRequest) -> bool:
        return roles.may(request.user, May.RUN)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if request.method == "POST" and not self.has_run_permission(request):
            action = request.POST.get("action", "")
            audit.write(action, user=request.user, target=request.path, outcome="refused", details=f"needs {May.RUN}")
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    @admin.action(description="Start …", permissions=["run"])
    def start_tasks(self, request: HttpRequest, chosen: QuerySet[Task]) -> HttpResponse | None:
        return self._each(request, chosen, "start", services.start_task)

    @admin.action(description="Stop …", permissions=["run"])
    def stop_tasks(self, request: HttpRequest, chosen: QuerySet[Task]) -> HttpResponse | None:
        reason = request.POST.get("reason", "")
        return self._each(request, chosen, "stop", lambda task, user: services.stop(task, user=user, reason=reason))

    @admin.action(description="Retry: a new attempt that goes on from the checkpoint …", permissions=["run"])
    def retry_tasks(self, request: HttpRequest, chosen: QuerySet[Task]) -> HttpResponse | None:
        return self._each(request, chosen, "retry", services.retry)

    @admin.action(description="Retry fresh: a new attempt that begins anew …", permissions=["run"])
    def retry_tasks_fresh(self, request: HttpRequest, chosen: QuerySet[Task]) -> HttpResponse | None:
        return self._each(request, chosen, "retry", lambda task, user: services.retry(task, user=user, fresh=True))

    def _each(
        self, request: HttpRequest, chosen: QuerySet[Task], verb: str, call: Callable[..., Any]
    ) -> HttpResponse | None:
        """Ask before anything is done; then do it to each task, and say of each what came of it."""
        if "confirmed" not in request.POST:
            return self._confirmation(request, chosen, verb)
        for task in chosen:
            try:
                call(task, user=request.user)
                self.message_user(request, f"{task}: {verb} asked for")
            except services.Conflict as conflict:
                self.message_user(request, str(conflict), messages.WARNING)
        return None

    def _confirmation(self, request: HttpRequest, chosen: QuerySet[Task], verb: str) -> HttpResponse:
        fitting = [task for task in chosen if verb in services.allowed_actions(task)]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} {len(fitting)} of {len(chosen)} tasks?",
            "opts": self.model._meta,
            "verb": verb,
            "action": request.POST["action"],
            "fitting": fitting,
            "others": [task for task in chosen if task not in fitting],
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "fresh": request.POST["action"] == "retry_tasks_fresh",
        }
        return TemplateResponse(request, "admin/tasks_app/task/confirm.html", context)


@admin.register(TaskEvent)
class TaskEventAdmin(ReadOnly):
    list_display = ("at", "task", "attempt", "kind", "before", "after", "actor", "reason")
    list_filter = ("kind", "after", "actor", ("at", admin.DateFieldListFilter))
    search_fields = ("task__id", "actor", "reason")
    list_select_related = ("task", "task__processor")


@admin.register(Processor)
class ProcessorAdmin(ReadOnly):
    list_display = ("name", "kind", "title", "class_path", "enabled", "checked_at")
    list_filter = ("kind", "enabled")
    search_fields = ("name", "title", "description")
    actions = ["reload_all"]

    def has_manage_permission(self, request: HttpRequest) -> bool:
        return roles.may(request.user, May.MANAGE)

    @admin.action(description="Reload all from processors.toml, whatever is chosen", permissions=["manage"])
    def reload_all(self, request: HttpRequest, chosen: QuerySet[Processor]) -> None:
        try:
            names = services.reload_processors(user=request.user)
        except registry.RegistryError as error:
            self.message_user(request, f"Nothing was changed: {error}", messages.ERROR)
        else:
            self.message_user(request, f"Processors: {', '.join(names)}")


class FeedForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        """Check the parameters by their processor's schema, and that no task runs on the feed, as the API does."""
        given = super().clean() or {}
        if self.instance.pk is not None:
            try:
                feeds.refuse_while_fed(self.instance)
            except services.Conflict as error:
                self.add_error(None, str(error))
        if not self.errors:
            try:
                given["params"] = services.validate(given["processor"], given["params"])
            except services.Invalid as error:
                self.add_error("params", str(error))
        return given


@admin.register(Feed)
class FeedAdmin(admin.ModelAdmin):
    form = FeedForm
    list_display = ("name", "title", "processor", "interval_ms", "zone", "calendar", "simulated")
    list_filter = ("processor", "simulated", "calendar")
    search_fields = ("name", "title")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("name",)  # its history is known by it


@admin.register(Instrument)
class InstrumentAdmin(admin.ModelAdmin):
    list_display = ("code", "name", "sector", "calendar", "tick_size", "lot_size", "listed", "delisted")
    list_filter = ("calendar", "sector")
    search_fields = ("code", "name")


class RunInline(admin.TabularInline):
    model = ScheduleRun
    fields = readonly_fields = ("due_at", "at", "outcome", "detail")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Schedule)
class ScheduleAdmin(admin.ModelAdmin):
    list_display = ("__str__", "enabled", "next_due", "last_run")
    list_filter = ("enabled", "action", "by", "calendar")
    search_fields = ("task__id", "task__processor__name", "calendar")
    list_select_related = ("task", "task__processor")
    raw_id_fields = ("task",)
    exclude = ("seen_until",)
    inlines = [RunInline]

    @admin.display
    def next_due(self, schedule: Schedule) -> Any:
        return schedules.next_due(schedule, timezone.now())

    @admin.display
    def last_run(self, schedule: Schedule) -> str:
        return str(schedule.runs.first() or "")

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        obj.seen_until = timezone.now()
        super().save_model(request, obj, form, change)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly):
    """Everybody's tokens; deleting one revokes it and closes what it opened."""

    list_display = ("name", "user", "created", "expiry", "last_used_at")
    list_filter = ("user", "expiry")
    search_fields = ("name", "user__username")
    fields = ("name", "user", "created", "expiry", "last_used_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return roles.may(request.user, May.MANAGE)


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnly):
    list_display = ("at", "who", "ip", "through", "action", "target", "outcome", "details")
    list_filter = ("outcome", "action", ("at", admin.DateFieldListFilter))
    search_fields = ("who", "ip", "target", "details")
    date_hierarchy = "at"
