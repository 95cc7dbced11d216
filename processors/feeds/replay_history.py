"""Plays a feed's history back as if it were live: the same snapshots, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from pydantic import Field

from processors.contract import QUOTE_FIELDS, Columns, Context, FeedProcessor, FeedSpec, Header
from processors.contract import Params as BaseParams
from processors.feeds.assemble import Snapshot
from processors.feeds.codebook import Codebook
from processors.feeds.engine import Engine, Resume
from processors.feeds.layout import Layout
from processors.feeds.pacing import Pacer, pacer_for
from processors.feeds.tally import SourceError
from processors.history.store import EARLIEST_MS, LATEST_MS, History, Kept
from processors.history.whole import snapshots

_MOMENT = r"^(\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?)?$"


class ReplayHistoryParams(BaseParams):
    """Which history to play back, and how fast."""

    feed: str = Field(title="Feed", description="Whose history is played.", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    start: str = Field(
        "", title="From", description="YYYY-MM-DD HH:MM in the feed's zone; its beginning.", pattern=_MOMENT
    )
    end: str = Field("", title="Until", description="YYYY-MM-DD HH:MM in the feed's zone; its end.", pattern=_MOMENT)
    pace: float = Field(1.0, ge=0, title="Pace", description="Times real time; 0 for as fast as the readers follow.")
    loop: bool = Field(False, title="Loop", description="Begin a new run when it ends.")


class ReplayHistory(FeedProcessor):
    """Publishes the snapshots of a history again: rows that were real, and between them those carried forward.

    What a feed's restart forgot (which rows to carry) is not forgotten here: ``differing`` counts snapshots that showed
    another number of stocks when they were live. On resume what was published is gone through again without being
    published, as a recording's file is.
    """

    title = "Replay of the history"
    description = "Plays what was kept of a feed back at real pace, faster, or as fast as the readers follow."
    Params = ReplayHistoryParams

    def run(self, params: ReplayHistoryParams, spec: FeedSpec, context: Context) -> None:
        """Publish the range. Raises ``SourceError`` if there is nothing to play, or the feed does not fit."""
        history = context.history()
        _fits(history.spec(params.feed), params.feed, spec)
        name = f"the history of {params.feed}"
        engine = Engine(spec, context, name=name, recording=f"history:{params.feed}:{params.start}:{params.end}")
        pacer = pacer_for(params.pace, spec, engine.bus)
        resume = engine.begin()
        while resume is not None and not context.stopping.is_set():
            resume = _Pass(engine, pacer, resume).publish(_snapshots(history, params, spec))
            if not params.loop:
                break
        engine.finish()


def _fits(kept: FeedSpec | None, feed: str, spec: FeedSpec) -> None:
    if kept is None:
        raise SourceError(f"there is no history of feed {feed!r}; expected one that db_store or an import has kept")
    for name in ("interval_ms", "zone"):
        if getattr(kept, name) != getattr(spec, name):
            raise SourceError(
                f"feed {spec.name} has {name} {getattr(spec, name)}, the history of {feed} {getattr(kept, name)}"
            )


def _snapshots(history: History, params: ReplayHistoryParams, spec: FeedSpec) -> Iterator[Kept]:
    low = _moment(params.start, spec.zone) if params.start else EARLIEST_MS
    high = _moment(params.end, spec.zone) if params.end else LATEST_MS
    return snapshots(history, params.feed, low, high)


def _moment(text: str, zone: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    except ValueError as error:
        raise SourceError(f"{text!r} is no moment: expected YYYY-MM-DD HH:MM") from error


class _Pass:
    """One pass over the range."""

    def __init__(self, engine: Engine, pacer: Pacer, resume: Resume):
        self.engine, self.pacer, self.resume = engine, pacer, resume
        self.codebook = Codebook(engine.spec.slices)
        self.layout = Layout(engine.spec, self.codebook)
        self.index = resume.index
        self.differing = 0

    def publish(self, kept: Iterator[Kept]) -> Resume:
        """Publish what is after the resume's time; return where the next pass begins."""
        made = 0
        stopping = self.engine.context.stopping
        for each in kept:
            made += 1
            snapshot = self._snapshot(each)
            if stopping.is_set():
                break
            if snapshot.time > self.resume.after:
                self._send(each.header, snapshot)
        if not made and not stopping.is_set():
            raise SourceError(f"{self.engine.name} holds nothing in this range; expected at least one snapshot")
        return Resume(self.resume.run + 1, self.index)

    def _snapshot(self, kept: Kept) -> Snapshot:
        self.layout.quotes = kept.quotes
        rows, change = _columns(kept, self.codebook)
        slices, expected = self.layout.snapshot(kept.header.time, rows, change)
        self.differing += expected != kept.header.expected
        header = kept.header
        return Snapshot(header.time, header.session, header.trading, expected, header.received, slices)

    def _send(self, header: Header, snapshot: Snapshot) -> None:
        self.pacer.wait(snapshot, self.engine.context.stopping, self._flush)
        if self.engine.context.stopping.is_set():
            return
        spec = self.engine.spec
        now_ms = time.time_ns() // 1_000_000
        again: dict[str, Any] = {"feed": spec.name, "run": self.resume.run, "seq": 0, "index": self.index}
        again |= {"expected": snapshot.expected, "complete": snapshot.received >= snapshot.expected}
        again |= {"slices": spec.slices, "pace": self.pacer.pace, "published_ms": 0, "handed_ms": now_ms}
        self.engine.facts["differing"] = self.differing
        self.engine.publish(snapshot, replace(header, **again))
        self.engine.published(self.pacer)
        self.index += 1

    def _flush(self) -> None:
        if len(self.engine.outbox):
            self.engine.outbox.flush()
            self.engine.published(self.pacer)
        self.engine.tell()


def _columns(kept: Kept, codebook: Codebook) -> tuple[Columns, np.ndarray]:
    """Return a snapshot's rows as the layout takes them, and their change."""
    rows = kept.rows
    code = codebook.numbers(_flat(rows, "code"))
    columns: Columns = {"code": code, "time": _flat(rows, "time").cast(pa.int64()).to_numpy()}
    names = ("price", "volume", "amount", "type", *(QUOTE_FIELDS if kept.quotes else ()))
    columns |= {name: _flat(rows, name).to_numpy(zero_copy_only=False) for name in names}
    return columns, _flat(rows, "change").to_numpy()


def _flat(rows: pa.Table, name: str) -> pa.Array:
    column = rows.column(name)
    if not column.num_chunks:
        return pa.array([], column.type)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
