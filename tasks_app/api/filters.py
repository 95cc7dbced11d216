"""How tasks, instruments and the audit are filtered and ordered in the API."""

from __future__ import annotations

from datetime import UTC, datetime

import django_filters as filters
from django.db.models import Q, QuerySet

from tasks_app.models import KIND_CHOICES, STATUS_CHOICES, AuditRecord, Instrument, Task
from tasks_app.services import Invalid


class Moment(filters.IsoDateTimeFilter):
    """A time with its zone. Raises Invalid for one that is beyond the calendar in UTC."""

    def filter(self, found: QuerySet, value: datetime | None) -> QuerySet:
        try:
            return super().filter(found, value and value.astimezone(UTC))
        except OverflowError as error:
            raise Invalid(
                {str(self.field_name): [f"{value}: expected a time from the year 1 to 9999 in UTC"]}
            ) from error


class Search(filters.CharFilter):
    """A text that ``with_text`` of the filter set looks for; as long as databases take for a pattern."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(method="with_text", max_length=200, help_text=help_text)


class TaskFilter(filters.FilterSet):
    kind = filters.MultipleChoiceFilter(choices=KIND_CHOICES)
    status = filters.MultipleChoiceFilter(choices=STATUS_CHOICES)
    feed = filters.CharFilter("feed__name")
    processor = filters.CharFilter("processor__name")
    created_by = filters.CharFilter("created_by__username")
    created_after = Moment("created_at", "gte")
    created_before = Moment("created_at", "lt")
    search = filters.CharFilter(
        method="with_text", max_length=200, help_text="in the processor's title, the feed and the reason"
    )
    order = filters.OrderingFilter(
        fields=[(name, name) for name in ("id", "status", "created_at", "started_at", "ended_at")]
    )

    class Meta:
        model = Task
        fields: list[str] = []

    def with_text(self, tasks: QuerySet[Task], name: str, value: str) -> QuerySet[Task]:
        places = ("processor__name", "processor__title", "feed__name", "feed__title", "reason")
        wanted = Q()
        for place in places:
            wanted |= Q(**{f"{place}__icontains": value})
        return tasks.filter(wanted)


class InstrumentFilter(filters.FilterSet):
    calendar = filters.CharFilter()
    codes = filters.BaseInFilter(field_name="code", help_text="600000,000001")
    search = Search(help_text="in the code and the name")

    class Meta:
        model = Instrument
        fields: list[str] = []

    def with_text(self, found: QuerySet[Instrument], name: str, value: str) -> QuerySet[Instrument]:
        return found.filter(Q(code__icontains=value) | Q(name__icontains=value))


class AuditFilter(filters.FilterSet):
    who = filters.CharFilter()
    action = filters.CharFilter()
    outcome = filters.MultipleChoiceFilter(choices=AuditRecord.OUTCOMES)
    after = Moment("at", "gte")
    before = Moment("at", "lt")
    search = filters.CharFilter(
        method="with_text", max_length=200, help_text="in who, what was meant, the details and the address"
    )

    class Meta:
        model = AuditRecord
        fields: list[str] = []

    def with_text(self, records: QuerySet[AuditRecord], name: str, value: str) -> QuerySet[AuditRecord]:
        wanted = Q()
        for place in ("who", "action", "target", "details", "ip"):
            wanted |= Q(**{f"{place}__icontains": value})
        return records.filter(wanted)
