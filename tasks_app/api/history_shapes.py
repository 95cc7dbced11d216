"""The JSON of the history's API."""

from __future__ import annotations

from rest_framework import serializers

from tasks_app.api.serializers import example

_DAY = {
    "day": "2021-12-01",
    "snapshots": 4741,
    "rows": 138250,
    "expected": 142230,
    "first": 1638322203000,
    "last": 1638342000000,
    "size_bytes": 2310144,
    "compacted": True,
    "complete": 0.972017,
}


@example(
    "A feed's history",
    {
        "name": "ashare",
        "title": "Shanghai and Shenzhen",
        "zone": "Asia/Shanghai",
        "interval_ms": 3000,
        "days": 1,
        **{name: _DAY[name] for name in ("first", "last", "snapshots", "rows", "size_bytes")},
    },
)
class HistoryFeed(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField(allow_blank=True)
    zone = serializers.CharField(help_text="IANA time zone, by which days are divided")
    interval_ms = serializers.IntegerField()
    days = serializers.IntegerField()
    first = serializers.IntegerField(allow_null=True, help_text="time of the first snapshot, ms UTC")
    last = serializers.IntegerField(allow_null=True)
    snapshots = serializers.IntegerField()
    rows = serializers.IntegerField()
    size_bytes = serializers.IntegerField()


@example("A day", _DAY)
class HistoryDay(serializers.Serializer):
    day = serializers.CharField(help_text="in the feed's zone")
    snapshots = serializers.IntegerField()
    rows = serializers.IntegerField(help_text="of stocks that had news in a snapshot")
    expected = serializers.IntegerField(help_text="rows, had every stock had news in every snapshot")
    first = serializers.IntegerField(help_text="time of the first snapshot, ms UTC")
    last = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    compacted = serializers.BooleanField(help_text="put together in one piece")
    complete = serializers.FloatField(allow_null=True, help_text="rows / expected")


@example(
    "A page",
    {
        "columns": ["snapshot", "code", "price"],
        "rows": [[1638322203000, "600000", 8.52], [1638322203000, "600009", 45.1]],
        "next": 1638322206000,
    },
)
class HistoryPage(serializers.Serializer):
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField(), help_text="a list per row; times in ms UTC")
    next = serializers.IntegerField(allow_null=True, help_text="`start` of the next page")


_KEPT_DAY = {"day": "2021-12-01", "results": 4741, "first": 1638322203000, "last": 1638342000000, "size_bytes": 8310144}


@example("A day of kept results", _KEPT_DAY)
class KeptDay(serializers.Serializer):
    day = serializers.CharField(help_text="of UTC")
    results = serializers.IntegerField()
    first = serializers.IntegerField(help_text="time of the first snapshot, ms UTC")
    last = serializers.IntegerField()
    size_bytes = serializers.IntegerField()


class KeptResult(serializers.Serializer):
    seq = serializers.IntegerField(help_text="number of the snapshot")
    numbers = serializers.DictField(help_text="as the live result's")


@example("A page", {"results": [{"seq": 1795450006000, "numbers": {"run": 1, "index": 57}}], "next": 1795450006000})
class KeptPage(serializers.Serializer):
    results = KeptResult(many=True)
    next = serializers.IntegerField(allow_null=True, help_text="`after` of the next page")
