"""How tasks, instruments and the audit are filtered and ordered in the API."""

from __future__ import annotations

import django_filters as filters
from django.db.models import Q, QuerySet

from tasks_app.models import KIND_CHOICES, STATUS_CHOICES, AuditRecord, Instrument, Task


class TaskFilter(filters.FilterSet):
    kind = filters.MultipleChoiceFilter(choices=KIND_CHOICES)
    status = filters.MultipleChoiceFilter(choices=STATUS_CHOICES)
    feed = filters.CharFilter("feed__name")
    processor = filters.CharFilter("processor__name")
    created_by = filters.CharFilter("created_by__username")
    created_after = filters.IsoDateTimeFilter("created_at", "gte")
    created_before = filters.IsoDateTimeFilter("created_at", "lt")
    search = filters.CharFilter(method="with_text", help_text="in the processor's title, the feed and the reason")
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
    search = filters.CharFilter(method="with_text", help_text="in the code and the name")

    class Meta:
        model = Instrument
        fields: list[str] = []

    def with_text(self, found: QuerySet[Instrument], name: str, value: str) -> QuerySet[Instrument]:
        return found.filter(Q(code__icontains=value) | Q(name__icontains=value))


class AuditFilter(filters.FilterSet):
    who = filters.CharFilter()
    action = filters.CharFilter()
    outcome = filters.MultipleChoiceFilter(choices=AuditRecord.OUTCOMES)
    after = filters.IsoDateTimeFilter("at", "gte")
    before = filters.IsoDateTimeFilter("at", "lt")
    search = filters.CharFilter(method="with_text", help_text="in who, what was meant, the details and the address")

    class Meta:
        model = AuditRecord
        fields: list[str] = []

    def with_text(self, records: QuerySet[AuditRecord], name: str, value: str) -> QuerySet[AuditRecord]:
        wanted = Q()
        for place in ("who", "action", "target", "details", "ip"):
            wanted |= Q(**{f"{place}__icontains": value})
        return records.filter(wanted)
