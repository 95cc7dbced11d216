"""Keeps a feed: every snapshot's real rows and header go to the history."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import Field

from processors.bus import Bus, connect
from processors.contract import Columns, Context, FeedSpec, Header, Params, Result, Sink, StreamProcessor, Window
from processors.stream import report


class DbStoreParams(Params):
    gather_s: float = Field(
        60, gt=0, le=600, title="Write every", description="Seconds of snapshots that are written together"
    )


class DbStore(StreamProcessor[dict[str, Any]]):
    title = "Keep in the history"
    description = (
        "Writes every snapshot of the feed to the history, and its ticks where the feed keeps them; once, "
        "whatever dies meanwhile."
    )
    Params = DbStoreParams
    from_oldest = True

    def init(self, params: DbStoreParams, spec: FeedSpec) -> dict[str, Any]:
        return {"snapshots": 0, "rows": 0}

    def map_slice(self, window: Window, params: DbStoreParams) -> Columns:
        return dict(window.newest)

    def step(
        self,
        state: dict[str, Any],
        header: Header,
        codes: list[pa.StringArray],
        columns: Columns,
        params: DbStoreParams,
    ) -> tuple[dict[str, Any], Result]:
        real = int((columns["age_s"] == 0).sum())
        state["snapshots"] += 1
        state["rows"] += real
        return state, Result(report.numbers(header, stocks=header.expected, real=real, **state))

    def sinks(self, params: DbStoreParams, spec: FeedSpec, context: Context) -> list[Sink]:
        from processors.history.sink import HistorySink, RawSink

        made: list[Sink] = [HistorySink(context.history(), spec, context.progress, params.gather_s)]
        if spec.keep_raw:
            bus = Bus(connect(context.redis_url), spec.name)
            made.append(RawSink(context.history(), spec, bus, context.progress, params.gather_s))
        return made
