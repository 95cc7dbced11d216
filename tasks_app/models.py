"""What the platform keeps in its database. Status fields are written by ``lifecycle`` only."""

from __future__ import annotations

from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, validate_slug
from django.db import models
from django.db.models import Q
from django.utils import timezone
from knox.models import AbstractAuthToken

from tasks_app import times
from tasks_app.states import ENDED, LIVE, Ending, Status

STATUS_CHOICES = [(status.value, status.value) for status in Status]
# Of tasks: what waits for a worker, what is said to live, and what was lost and nobody wanted to stop.
EXPECTED_TO_GO_ON = (
    Q(status=Status.INITIAL, queued_at__isnull=False)
    | Q(status__in=LIVE)
    | Q(
        status=Status.TERMINATED,
        ending__in=[Ending.LOST, Ending.SHUTDOWN],
        on_loss="resume",
        stop_requested_at__isnull=True,
    )
)
KIND_CHOICES = [(kind, kind) for kind in ("feed", "stream", "batch")]


class Processor(models.Model):
    """A registered processor: what ``processors.toml`` names, as found by the last check in a fresh process."""

    name = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=8, choices=KIND_CHOICES)
    class_path = models.CharField(max_length=200)
    title = models.CharField(max_length=100, blank=True)
    description = models.TextField(blank=True)
    schema = models.JSONField(default=dict)
    live_params = models.JSONField(default=list)
    enabled = models.BooleanField(default=True)
    code_hash = models.CharField(max_length=32, blank=True, help_text="Of the code that the last check found good")
    checked_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Feed(models.Model):
    """Where ticks come from and what their numbers mean. Its fields are those of ``processors.contract.FeedSpec``."""

    name = models.SlugField(
        max_length=64, unique=True, error_messages={"invalid": "%(value)r: expected letters, digits, _ and -"}
    )
    title = models.CharField(max_length=100, blank=True)
    processor = models.ForeignKey(Processor, on_delete=models.PROTECT, limit_choices_to={"kind": "feed"})
    params = models.JSONField(default=dict, blank=True)
    zone = models.CharField(max_length=64, default="Asia/Shanghai", help_text="IANA time zone of the exchange")
    calendar = models.CharField(max_length=16, default="XSHG", help_text="exchange_calendars name, or 24/7")
    interval_ms = models.PositiveIntegerField(default=5000, validators=[MinValueValidator(10)])
    volume_unit = models.CharField(max_length=8, default="shares", choices=[("shares", "shares"), ("lots", "lots")])
    lot_size = models.PositiveIntegerField(default=100, validators=[MinValueValidator(1)])
    volume_mode = models.CharField(
        max_length=10, default="interval", choices=[("interval", "per interval"), ("cumulative", "cumulative")]
    )
    type_meaning = models.CharField(
        max_length=12,
        default="trade_sign",
        choices=[("trade_sign", "sign of the trade"), ("change_sign", "sign of the change")],
    )
    simulated = models.BooleanField(default=False)
    slices = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(64)],
        help_text="Parts of a snapshot that are worked on side by side; 2 or more from some 15,000 stocks on",
    )
    grace_ms = models.PositiveIntegerField(default=500)
    carry_limit_s = models.PositiveIntegerField(default=300)
    max_bytes = models.PositiveBigIntegerField(
        default=256 * 2**20, validators=[MinValueValidator(10**6)], help_text="Bound of its snapshots on the bus"
    )
    keep_raw = models.BooleanField(
        default=False, help_text="Ticks go to the history as well, beside the snapshots made of them, by db_store"
    )
    keep_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="Days of its history to keep, the newest counted; all when empty"
    )
    keep_mb = models.PositiveIntegerField(
        null=True, blank=True, help_text="MB of its history to keep, the newest day in any case; all when empty"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.title or self.name

    def clean(self) -> None:
        wrong = {}
        try:
            times.check_zone(self.zone)
        except ValueError as error:
            wrong["zone"] = str(error)
        try:
            if self.calendar != "24/7":
                times.check_calendar(self.calendar, timezone.now())
        except times.UnknownCalendar as error:
            wrong["calendar"] = str(error)
        if wrong:
            raise ValidationError(wrong)


class Instrument(models.Model):
    """What a code of a market stands for. Known for people's sake: no algorithm reads it."""

    calendar = models.CharField(max_length=16, default="XSHG", help_text="Market: exchange_calendars name, or 24/7")
    code = models.CharField(max_length=32)
    name = models.CharField(max_length=100)
    sector = models.CharField(max_length=100, blank=True)
    tick_size = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True, help_text="In currency")
    lot_size = models.PositiveIntegerField(null=True, blank=True, help_text="Shares of a lot")
    listed = models.DateField(null=True, blank=True, help_text="First day of trading")
    delisted = models.DateField(null=True, blank=True, help_text="Day from which it is not traded any more")

    class Meta:
        ordering = ["code", "calendar"]
        constraints = [
            models.UniqueConstraint(fields=["calendar", "code"], name="a_code_is_a_markets_own"),
            models.CheckConstraint(
                condition=Q(tick_size__isnull=True) | Q(tick_size__gt=0), name="instrument_tick_size_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Task(models.Model):
    """One run order of one processor. It may be started again: attempt 2, 3 …"""

    processor = models.ForeignKey(Processor, on_delete=models.PROTECT, related_name="tasks")
    kind = models.CharField(max_length=8)
    feed = models.ForeignKey(Feed, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks")
    params = models.JSONField(default=dict)
    on_loss = models.CharField(
        max_length=6, default="resume", choices=[("resume", "go on with a new attempt"), ("end", "stay ended")]
    )
    memory_mb = models.PositiveIntegerField(default=768, help_text="Heap of the attempt's JVM, if it has one")
    keep = models.BooleanField(default=False, help_text="Its results are kept, to be looked at and judged later")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    status = models.CharField(max_length=10, choices=STATUS_CHOICES, default=Status.INITIAL)
    attempt = models.PositiveIntegerField(default=1)
    owner = models.CharField(max_length=64, blank=True, help_text="Token of the supervisor that hosts the attempt")
    fresh = models.BooleanField(default=False, help_text="The attempt does not resume from a checkpoint")
    queued_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    running_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ending = models.CharField(max_length=8, blank=True, choices=[(e.value, e.value) for e in Ending if e])
    reason = models.CharField(max_length=500, blank=True)
    error = models.TextField(blank=True, help_text="The end of the traceback")
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    stop_requested_by = models.CharField(max_length=150, blank=True)
    stop_reason = models.CharField(max_length=500, blank=True)
    progress = models.JSONField(default=dict, blank=True)
    code_hash = models.CharField(max_length=32, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["status"])]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[s.value for s in Status]), name="task_status_known"),
            models.CheckConstraint(
                condition=Q(status__in=sorted(s.value for s in ENDED), ended_at__isnull=False)
                | (~Q(status__in=sorted(s.value for s in ENDED)) & Q(ended_at__isnull=True)),
                name="task_ended_at_exactly_when_ended",
            ),
            models.UniqueConstraint(
                fields=["feed"],
                condition=Q(kind="feed", status__in=sorted(s.value for s in LIVE)),
                name="one_live_task_per_feed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.processor_id and self.processor.name} #{self.pk}"

    @property
    def stopping(self) -> bool:
        return self.stop_requested_at is not None and self.status not in ENDED

    @property
    def waiting(self) -> bool:
        """Whether it has been asked to start and no worker has taken it yet."""
        return self.status == Status.INITIAL and self.queued_at is not None

    @property
    def stalled(self) -> bool:
        """Whether it lives, but has taken no snapshot for a while although some wait."""
        return self.status == Status.RUNNING and bool(self.progress.get("stalled"))


class TaskEvent(models.Model):
    """One move or command in a task's life; written once, never changed."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    attempt = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, default="move")
    before = models.CharField(max_length=10, blank=True)
    after = models.CharField(max_length=10, blank=True)
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.before}→{self.after}" if self.after else self.kind


def workdays() -> list[int]:
    return [0, 1, 2, 3, 4]


class Schedule(models.Model):
    """When a task is started or stopped by itself: at a time of day, or with an exchange's session."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="schedules")
    action = models.CharField(max_length=5, choices=[("start", "start"), ("stop", "stop")])
    enabled = models.BooleanField(default=True)
    by = models.CharField(max_length=7, choices=[("clock", "time of day"), ("session", "exchange session")])
    at = models.TimeField(null=True, blank=True, help_text="By clock: the time of day in the zone")
    weekdays = models.JSONField(default=workdays, blank=True, help_text="By clock: a list, 0 is Monday")
    zone = models.CharField(max_length=64, blank=True, default="UTC", help_text="By clock: IANA time zone")
    calendar = models.CharField(
        max_length=16, blank=True, help_text="By session: exchange_calendars name, such as XSHG"
    )
    moment = models.CharField(
        max_length=6, blank=True, choices=[(m, m) for m in times.MOMENTS], help_text="By session: lunch ends at resume"
    )
    offset_min = models.SmallIntegerField(default=0, help_text="By session: minutes after the moment, negative before")
    seen_until = models.DateTimeField(default=timezone.now, help_text="What was due up to here has been dealt with")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        when = f"{self.at} {self.zone}" if self.by == "clock" else f"{self.calendar} {self.moment} {self.offset_min:+d}"
        return f"{self.action} {self.task} at {when}"

    def rule(self) -> times.Rule:
        if self.by == "clock":
            assert self.at is not None
            return times.Clock(self.at, tuple(self.weekdays), self.zone)
        return times.Session(self.calendar, self.moment, self.offset_min)  # type: ignore[arg-type]

    def clean(self) -> None:
        """Raise ValidationError, by field, for a rule that could never be followed."""
        wrong = _wrong_clock(self) if self.by == "clock" else _wrong_session(self)
        if wrong:
            raise ValidationError(wrong)


def _wrong_clock(schedule: Schedule) -> dict[str, str]:
    wrong = {}
    if schedule.at is None:
        wrong["at"] = "missing: expected a time of day such as 09:15"
    days = schedule.weekdays
    if not isinstance(days, list) or not days or not all(type(day) is int and 0 <= day <= 6 for day in days):
        wrong["weekdays"] = f"{days!r}: expected a list of numbers from 0 (Monday) to 6"
    try:
        times.check_zone(schedule.zone)
    except ValueError as error:
        wrong["zone"] = str(error)
    return wrong


def _wrong_session(schedule: Schedule) -> dict[str, str]:
    wrong = {}
    if schedule.moment not in times.MOMENTS:
        wrong["moment"] = f"{schedule.moment!r}: expected one of {', '.join(times.MOMENTS)}"
    if abs(schedule.offset_min) > times.OFFSET_LIMIT_MIN:
        wrong["offset_min"] = f"{schedule.offset_min}: expected at most {times.OFFSET_LIMIT_MIN} before or after"
    try:
        times.check_calendar(schedule.calendar, timezone.now())
    except times.UnknownCalendar as error:
        wrong["calendar"] = str(error)
    return wrong


class ScheduleRun(models.Model):
    """One time at which a schedule was due, and what came of it."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="runs")
    due_at = models.DateTimeField()
    at = models.DateTimeField(help_text="When it was dealt with")
    outcome = models.CharField(max_length=8, choices=[(o, o) for o in ("done", "needless", "refused", "missed")])
    detail = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-due_at"]
        constraints = [models.UniqueConstraint(fields=["schedule", "due_at"], name="a_schedule_is_due_once")]

    def __str__(self) -> str:
        return f"{self.due_at:%Y-%m-%d %H:%M} {self.outcome}"


class ApiToken(AbstractAuthToken):
    """What a program shows instead of a session. Only its hash is kept: the token itself is told once, when made."""

    name = models.CharField(max_length=64, validators=[validate_slug])
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]
        verbose_name = "API token"
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="token_names_are_a_users_own")]

    def __str__(self) -> str:
        return f"{self.user.get_username()}/{self.name}"


class IdempotencyKey(models.Model):
    """The key of a request that created a task: the same request again gives the same task."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the request's body")
    task = models.ForeignKey(Task, null=True, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="a_key_is_used_once")]


class NeverChanged(Exception):
    """A record of the audit was to be changed or deleted."""


class _WriteOnce(models.QuerySet["AuditRecord"]):
    def update(self, **fields: Any) -> NoReturn:
        raise NeverChanged("records of the audit are written once")

    def delete(self) -> NoReturn:
        raise NeverChanged("records of the audit are never deleted")


class AuditRecord(models.Model):
    """Who did, or tried to do, what, when, from where. Names, not keys: it outlives whom and what it tells of."""

    OUTCOMES = [(outcome, outcome) for outcome in ("done", "refused", "failed")]

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    who = models.CharField(max_length=150, blank=True, help_text="User name, as given where nobody was logged in")
    ip = models.GenericIPAddressField(null=True)
    through = models.CharField(max_length=80, blank=True, help_text="Session, token or the admin")
    action = models.CharField(max_length=32, db_index=True)
    target = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=8, choices=OUTCOMES)
    details = models.TextField(blank=True)

    objects = _WriteOnce.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.who or 'somebody'}: {self.action} {self.target} {self.outcome}"

    def save(self, *args: Any, **given: Any) -> None:
        if self.pk is not None:
            raise NeverChanged("records of the audit are written once")
        super().save(*args, **given)

    def delete(self, *args: Any, **given: Any) -> NoReturn:
        raise NeverChanged("records of the audit are never deleted")
