"""The history over HTTP: what there is, its rows and bars, as pages of JSON or streamed whole as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from asgiref.sync import sync_to_async
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from processors.history.bars import BARS, EVERY_MS, bars, width_ms
from processors.history.bars import COLUMNS as BAR_COLUMNS
from processors.history.export import FORMATS, encoded
from processors.history.store import History, columns_of
from processors.snapshot import FeedSpec
from tasks_app import history, services
from tasks_app.api import history_shapes as shapes

_LIMIT = 1_000
_MOST = 50_000
_RANGE = [
    OpenApiParameter("start", str, description="first moment: ms since 1970, or ISO, local to the feed without zone"),
    OpenApiParameter("end", str, description="moment before which to end"),
    OpenApiParameter("codes", str, description="comma between; all unless told"),
    OpenApiParameter("as", str, enum=["json", *FORMATS], description="json in pages; else a file of all, streamed"),
    OpenApiParameter("limit", int, description=f"json: rows, about, 1 to {_MOST}; {_LIMIT} unless told"),
]
FILES = {
    (200, kind.media_type): OpenApiResponse(OpenApiTypes.BINARY, description="as the whole range")
    for kind in FORMATS.values()
}


class HistoryFeedsView(APIView):
    @extend_schema(operation_id="history_feeds", responses=shapes.HistoryFeed(many=True))
    def get(self, request: Request) -> Response:
        """What is in the history of each feed."""
        store = history.default()
        return Response([_summary(store, feed) for feed in store.feeds()])


class CoverageView(APIView):
    @extend_schema(operation_id="history_coverage", responses=shapes.HistoryDay(many=True))
    def get(self, request: Request, name: str) -> Response:
        """What is in the history of each day of a feed, oldest first; days are those of the feed's zone."""
        store = history.default()
        history.described(store, name)
        return Response([{**asdict(day), "complete": _share(day.rows, day.expected)} for day in store.coverage(name)])


class RowsView(APIView):
    @extend_schema(
        operation_id="history_rows",
        parameters=[*_RANGE, OpenApiParameter("columns", str, description="comma between; all unless told")],
        responses={(200, "application/json"): shapes.HistoryPage, **FILES},
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """Rows of a feed's snapshots, in order of snapshot, then code.

        A page of JSON ends with a whole snapshot; `next` is the `start` of the next page, null at the end.
        """
        asked = _Asked(request, name)
        columns = columns_of(asked.listed("columns"))
        if asked.kind != "json":
            rows = asked.store.read(name, asked.start, asked.end, asked.codes, columns)
            return streamed(rows, asked.kind, f"{name}-rows")
        reader = asked.store.read(name, asked.start, asked.end, asked.codes, ["snapshot", *columns])
        return Response(_page(reader, "snapshot", columns, asked.limit))


class BarsView(APIView):
    @extend_schema(
        operation_id="history_bars",
        parameters=[*_RANGE, OpenApiParameter("every", str, enum=list(EVERY_MS), description="1m unless told")],
        responses={(200, "application/json"): shapes.HistoryPage, **FILES},
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """Bars per stock: open, high, low, close, and the sums of volume and amount, for begin < snapshot ≤ end.

        A page of JSON ends with whole bars of all stocks asked for; `next` is the `start` of the next page.
        """
        asked = _Asked(request, name)
        every_ms = width_ms(asked.text("every", "1m"), asked.spec.interval_ms)
        rows = asked.store.read(name, asked.start, asked.end, asked.codes, BAR_COLUMNS)
        reader = pa.RecordBatchReader.from_batches(BARS, bars(rows, every_ms, asked.spec.zone))
        if asked.kind != "json":
            return streamed(reader, asked.kind, f"{name}-bars")
        page = _page(reader, "end", BARS.names, asked.limit)
        if page["next"] is not None:  # a bar begins behind the moment that it begins with
            page["next"] += 1 - every_ms
        return Response(page)


class _Asked:
    """A request's feed, range, codes and format. Raises HistoryError or Invalid for what does not fit."""

    def __init__(self, request: Request, feed: str):
        self._given = request.query_params
        self.feed = feed
        self.store: History = history.default()
        self.spec: FeedSpec = history.described(self.store, feed)
        self.start, self.end = history.between(self.spec.zone, self._given.get("start"), self._given.get("end"))
        self.codes = self.listed("codes")
        self.kind = self.text("as", "json")
        if self.kind not in ("json", *FORMATS):
            raise services.Invalid({"as": [f"{self.kind!r}: expected one of json, {', '.join(FORMATS)}"]})
        self.limit = self._whole("limit", _LIMIT)

    def text(self, name: str, default: str) -> str:
        return self._given.get(name) or default

    def listed(self, name: str) -> list[str] | None:
        text = self._given.get(name)
        return [each.strip() for each in text.split(",") if each.strip()] if text else None

    def _whole(self, name: str, default: int) -> int:
        text = self.text(name, str(default))
        if not text.isdecimal() or not 1 <= int(text) <= _MOST:
            raise services.Invalid({name: [f"{text!r}: expected a whole number from 1 to {_MOST}"]})
        return int(text)


def _summary(store: History, feed: str) -> dict[str, Any]:
    days, spec = store.coverage(feed), store.spec(feed)
    assert spec is not None
    return {
        "name": feed,
        "title": spec.title,
        "zone": spec.zone,
        "interval_ms": spec.interval_ms,
        "days": len(days),
        "first": days[0].first if days else None,
        "last": days[-1].last if days else None,
        **{name: sum(getattr(day, name) for day in days) for name in ("snapshots", "rows", "size_bytes")},
    }


def _share(rows: int, expected: int) -> float | None:
    return round(rows / expected, 6) if expected else None


def _page(reader: pa.RecordBatchReader, by: str, columns: list[str], limit: int) -> dict[str, Any]:
    """Return about ``limit`` rows, whole groups of the moment ``by``, and the moment where the next page starts."""
    held: list[pa.Table] = []
    rows = 0
    following = None
    for batch in reader:
        held.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        if rows > limit:
            moments = pa.concat_tables(held).column(by).cast(pa.int64()).to_numpy()
            behind = moments[moments > moments[limit - 1]]
            if len(behind):
                following = int(behind[0])
                break
    reader.close()
    table = pa.concat_tables(held) if held else reader.schema.empty_table()
    if following is not None:
        table = table.slice(0, int((table.column(by).cast(pa.int64()).to_numpy() < following).sum()))
    arrays = {name: _plain(table.column(name)) for name in dict.fromkeys(columns)}
    return {"columns": list(arrays), "rows": list(zip(*arrays.values(), strict=True)), "next": following}


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return values as JSON has them: moments in ms, and null for what is no number."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_finite(column), column, None).to_pylist()
    return column.to_pylist()


def streamed(reader: pa.RecordBatchReader, name: str, file: str) -> StreamingHttpResponse:
    """Return what a reader gives as a file in the format of that name, sent as it is read."""
    kind = FORMATS[name]
    answer = StreamingHttpResponse(_aside(encoded(reader, kind)), content_type=kind.media_type)
    answer["Content-Disposition"] = f'attachment; filename="{file}.{kind.suffix}"'
    return answer


async def _aside(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what a blocking iterator gives, each read on a thread: Django would collect it whole in memory first."""
    take = sync_to_async(lambda: next(parts, None), thread_sensitive=False)
    while (part := await take()) is not None:
        yield part
