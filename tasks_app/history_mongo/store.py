"""The history as documents of MongoDB: collections ``feeds``, ``headers`` and ``rows``.

A snapshot is there when its header is: rows are written first, under the id of their append, and a header names the
append that counts. What a writer that died left behind counts nowhere, and is swept away later.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa
from bson import CodecOptions, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, WriteConcern
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from processors.history.store import (
    BATCH_ROWS,
    EARLIEST_MS,
    LATEST_MS,
    Damaged,
    Day,
    History,
    HistoryError,
    Kept,
    Unavailable,
    UnknownFeed,
    checked_day,
    columns_of,
    feed_name,
    local_day,
    schema_of,
)
from processors.snapshot import FeedSpec, Header
from tasks_app.history_mongo import arrays, documents
from tasks_app.history_mongo.router import ALIAS

HEADERS_AT_ONCE = 500
_AT_ONCE = 2  # requests under way: the server works on one while the other is sent, or taken apart
_DUPLICATE = 11000
_ORPHAN_AFTER = timedelta(hours=1)
_RAW = CodecOptions(document_class=RawBSONDocument)
_DURABLE = WriteConcern("majority", j=True)


def open_mongo() -> MongoHistory:
    """Return the history in the database of Django's alias ``history``. Sets Django up where nobody has."""
    import django
    from django.apps import apps

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
    if not apps.ready:
        django.setup()
    from django.db import connections

    return through(connections)


def through(connections: Any) -> MongoHistory:
    """Return the history in the database ``history`` of Django's handler of connections."""

    def database() -> Database:
        connections[ALIAS].ensure_connection()
        return connections[ALIAS].connection

    return MongoHistory(database)


class MongoHistory(History):
    """The history in a database that ``connect`` returns, each time it is needed."""

    def __init__(self, connect: Callable[[], Database]):
        self._connect = connect
        self._indexed = False

    # ---- feeds

    def describe(self, spec: FeedSpec) -> None:
        before = self.spec(feed_name(spec.name))
        if before == spec:
            return
        with _told():
            if before is not None and before.zone != spec.zone and self._headers.find_one({"feed": spec.name}):
                raise HistoryError(
                    f"feed {spec.name} is kept by days of {before.zone}, not {spec.zone}: delete its history first"
                )
            self._collection("feeds").replace_one({"_id": spec.name}, {"spec": asdict(spec)}, upsert=True)

    def spec(self, feed: str) -> FeedSpec | None:
        with _told():
            found = self._collection("feeds").find_one({"_id": feed_name(feed)})
        return FeedSpec(**found["spec"]) if found else None

    def feeds(self) -> list[str]:
        with _told():
            return sorted(each["_id"] for each in self._collection("feeds").find({}, {"_id": 1}))

    # ---- writing

    def append(self, feed: str, snapshots: Sequence[Kept]) -> int:
        zone = self._zone(feed)
        with _told():
            self._index()
            fresh = self._fresh(feed, snapshots)
            if not fresh:
                return 0
            write, rows = ObjectId(), self._rows

            def insert(each: Kept) -> dict[str, Any]:
                day = local_day(each.header.time, zone)
                encoded = [arrays.encode(piece) for piece in documents.pieces(each, day, write)]
                if encoded:
                    rows.insert_many([RawBSONDocument(blob) for blob in encoded], ordered=False)
                return documents.header_document(each, day, write, sum(map(len, encoded)))

            with ThreadPoolExecutor(_AT_ONCE) as pool:
                return self._commit(list(pool.map(insert, fresh)))

    def _fresh(self, feed: str, snapshots: Sequence[Kept]) -> list[Kept]:
        by_time = {each.header.time: each for each in reversed(snapshots)}
        asked = {"feed": feed, "time": {"$in": list(by_time)}}
        held = {each["time"] for each in self._headers.find(asked, {"time": 1})}
        return [by_time[time] for time in sorted(by_time.keys() - held)]

    def _commit(self, headers: list[dict[str, Any]]) -> int:
        """Write the headers; return how many were new. One that another writer wrote meanwhile stays."""
        try:
            return len(self._headers.insert_many(headers, ordered=False).inserted_ids)
        except BulkWriteError as error:
            wrong = [each for each in error.details["writeErrors"] if each["code"] != _DUPLICATE]
            if wrong:
                raise
            return int(error.details["nInserted"])

    def _index(self) -> None:
        if not self._indexed:
            order = [(name, ASCENDING) for name in ("feed", "time")]
            self._headers.create_index(order, unique=True)
            self._rows.create_index([*order, ("piece", ASCENDING), ("write", ASCENDING)], unique=True)
            self._indexed = True

    # ---- reading

    def read(
        self,
        feed: str,
        start: int = EARLIEST_MS,
        end: int = LATEST_MS,
        codes: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.RecordBatchReader:
        names = columns_of(columns)
        return pa.RecordBatchReader.from_batches(schema_of(names), self._batches(feed, start, end, codes, names))

    def _batches(
        self, feed: str, start: int, end: int, codes: Sequence[str] | None, names: list[str]
    ) -> Iterator[pa.RecordBatch]:
        wanted = None if codes is None else pa.array(sorted(set(codes)), pa.string())
        read = names if wanted is None or "code" in names else [*names, "code"]
        for found in self._snapshots(feed, start, end, read):
            table = documents.only(pa.concat_tables([rows for _, rows in found]), wanted).select(names)
            yield from table.combine_chunks().to_batches(BATCH_ROWS)

    def _snapshots(
        self, feed: str, start: int, end: int, columns: list[str]
    ) -> Iterator[list[tuple[dict[str, Any], pa.Table]]]:
        """Yield snapshots' headers with their rows, in order, some at a time; while they are used the next are read."""
        read = partial(_snapshots, self._rows.with_options(codec_options=_RAW), feed, columns)
        waiting: deque[Future[list[tuple[dict[str, Any], pa.Table]]]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for headers in _portions(self._header_documents(feed, start, end)):
                waiting.append(pool.submit(read, headers))
                if len(waiting) > _AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _header_documents(self, feed: str, start: int, end: int) -> Iterator[dict[str, Any]]:
        asked = {"feed": feed_name(feed), "time": {"$gte": start, "$lt": end}}
        with _told():
            yield from self._headers.find(asked, batch_size=HEADERS_AT_ONCE).sort("time", ASCENDING)

    def headers(self, feed: str, start: int = EARLIEST_MS, end: int = LATEST_MS) -> Iterator[tuple[Header, bool]]:
        yield from map(documents.read_header, self._header_documents(feed, start, end))

    def coverage(self, feed: str) -> list[Day]:
        sums = {name: {"$sum": f"${field}"} for name, field in _SUMS.items()}
        group = {"_id": "$day", "snapshots": {"$sum": 1}, **sums, "first": {"$min": "$time"}, "last": {"$max": "$time"}}
        with _told():
            found = list(self._headers.aggregate([{"$match": {"feed": feed_name(feed)}}, {"$group": group}]))
        days = [Day(day=each.pop("_id"), compacted=True, **each) for each in found]
        return sorted(days, key=lambda each: each.day)

    # ---- keeping house

    def delete_before(self, feed: str, day: str) -> int:
        old = {"feed": feed_name(feed), "day": {"$lt": checked_day(day)}}
        with _told():
            days = self._headers.distinct("day", old)
            self._headers.delete_many(old)
            self._rows.delete_many(old)
        return len(days)

    def compact(self, feed: str, *, now_ms: int, quiet_s: float = 7_200) -> list[str]:
        """Sweep away what writers that died left behind; documents need no putting together."""
        before = ObjectId.from_datetime(datetime.fromtimestamp(now_ms / 1000, UTC) - _ORPHAN_AFTER)
        with _told():
            for day in self._rows.distinct("day", {"feed": feed_name(feed)}):
                where = {"feed": feed, "day": day}
                counted = set(self._headers.distinct("write", where))
                left = [each for each in self._rows.distinct("write", where) if each not in counted and each < before]
                if left:
                    self._rows.delete_many({**where, "write": {"$in": left}})
        return []

    def check(self, feed: str) -> Iterator[str]:
        zone = self._zone(feed)
        found = self._snapshots(feed, EARLIEST_MS, LATEST_MS, list(documents.ROWS.names))
        try:
            for header, rows in chain.from_iterable(found):
                if not rows.num_rows == header["rows"] == header["received"]:
                    yield f"{feed} at {header['time']}: {rows.num_rows} rows, its header says {header['received']}"
                if local_day(header["time"], zone) != header["day"]:
                    yield f"{feed} at {header['time']}: is of another day than {header['day']}"
        except Damaged as error:
            yield str(error)

    # ---- collections

    @property
    def _headers(self) -> Any:
        return self._collection("headers")

    @property
    def _rows(self) -> Any:
        return self._collection("rows")

    def _collection(self, name: str) -> Any:
        return self._connect().get_collection(name, write_concern=_DURABLE)

    def _zone(self, feed: str) -> str:
        spec = self.spec(feed)
        if spec is None:
            raise UnknownFeed(feed, self.feeds())
        return spec.zone


def _portions(headers: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Put together headers of about as many rows as a batch has."""
    portion: list[dict[str, Any]] = []
    rows = 0
    for each in headers:
        portion.append(each)
        rows += each["rows"]
        if len(portion) == HEADERS_AT_ONCE or rows >= BATCH_ROWS:
            yield portion
            portion, rows = [], 0
    if portion:
        yield portion


def _snapshots(
    collection: Any, feed: str, columns: list[str], headers: list[dict[str, Any]]
) -> list[tuple[dict[str, Any], pa.Table]]:
    """Return each header with the rows of its snapshot; raise Damaged where some are missing."""
    counted = {header["time"]: header["write"] for header in headers}
    parts: dict[int, list[pa.Table]] = {time: [] for time in counted}
    asked = {"feed": feed, "time": {"$gte": min(counted), "$lte": max(counted)}}
    with _told():
        cursor = collection.find(asked, documents.projection(columns), batch_size=8)
        for raw in cursor.sort([("time", ASCENDING), ("piece", ASCENDING)]):
            each = arrays.decode(bytes(raw.raw))
            if counted.get(each["time"]) == each["write"]:
                parts[each["time"]].append(documents.table(each, columns))
    for header in headers:
        found, expected = len(parts[header["time"]]), header["pieces"]
        if found != expected:
            raise Damaged(f"{feed} at {header['time']}: {found} documents of rows, expected {expected}")
    return [(each, pa.concat_tables(parts[each["time"]] or [schema_of(columns).empty_table()])) for each in headers]


_SUMS = {"rows": "rows", "expected": "expected", "size_bytes": "size"}


@contextmanager
def _told() -> Iterator[None]:
    """Tell what MongoDB says in the history's words."""
    try:
        yield
    except PyMongoError as error:
        raise Unavailable(f"the history's MongoDB does not take it: {str(error)[:400]}") from error
