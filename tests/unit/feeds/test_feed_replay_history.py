"""A history played back gives the bus the bytes that it had live."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from feed_support import Running, Valkey, content, published

from processors.bus import Bus, connect
from processors.contract import FeedSpec
from processors.feeds.replay import Replay, ReplayParams
from processors.feeds.replay_history import ReplayHistory, ReplayHistoryParams
from processors.history.parquet import ParquetHistory
from processors.history.rows import batch_columns, kept

LIVE = FeedSpec("live", interval_ms=3_000, volume_unit="lots", slices=2, carry_limit_s=60)
AGAIN = replace(LIVE, name="again")


@pytest.fixture
def lived(valkey: Valkey, sample: Path, tmp_path: Path) -> ParquetHistory:
    """The history of a feed that played ten minutes around the open, kept as db_store keeps it."""
    table = pq.read_table(sample)
    path = tmp_path / "recording.parquet"
    pq.write_table(table.slice(0, 12_000), path)
    Running(Replay(), ReplayParams(path=str(path), pace=100_000), LIVE, valkey.url).wait(60)
    history = ParquetHistory(tmp_path / "history")
    history.describe(LIVE)
    bus = Bus(connect(valkey.url), LIVE.name)
    headers = bus.headers(0)
    parts = [bus.read(number, [header.seq for header in headers]) for number in range(LIVE.slices)]
    snapshots = [
        kept(header, [batch_columns(part) for part in slices if part is not None])
        for header, *slices in zip(headers, *parts, strict=True)
    ]
    assert history.append(LIVE.name, snapshots) == len(snapshots) > 200
    history.compact(LIVE.name, now_ms=4 * 10**12)
    return history


def replayed(history: ParquetHistory, valkey: Valkey, spec: FeedSpec = AGAIN, **params: Any) -> Running:
    given = ReplayHistoryParams(feed="live", pace=100_000, **params)
    return Running(ReplayHistory(), given, spec, valkey.url, history=history)


def test_the_bus_has_the_same_bytes_as_live(lived: ParquetHistory, valkey: Valkey) -> None:
    running = replayed(lived, valkey).wait(60)
    assert running.error is None and running.facts["differing"] == 0
    assert content(published(valkey.url, AGAIN)) == content(published(valkey.url, LIVE))


def test_a_part_of_it_has_the_same_rows(lived: ParquetHistory, valkey: Valkey) -> None:
    replayed(lived, valkey, start="2021-12-01 09:31", end="2021-12-01 09:33").wait(60)
    live = {header.time: parts for header, parts in published(valkey.url, LIVE)}
    found = published(valkey.url, AGAIN)
    assert [header.index for header, _ in found] == list(range(len(found))) and len(found) > 30
    for header, parts in found[25:]:  # by then every stock had news
        assert parts == live[header.time]


def test_stopped_and_resumed_it_is_the_same_run(lived: ParquetHistory, valkey: Valkey) -> None:
    first = replayed(lived, valkey)
    first.until_snapshots(20)
    first.stop()
    second = replayed(lived, valkey).wait(60)
    assert second.error is None
    assert content(published(valkey.url, AGAIN)) == content(published(valkey.url, LIVE))


def test_what_can_not_be_played_is_told(lived: ParquetHistory, valkey: Valkey) -> None:
    nothing = replayed(lived, valkey, start="2022-01-01").wait()
    assert "holds nothing in this range" in str(nothing.error)
    other = replayed(lived, valkey, replace(AGAIN, interval_ms=5_000)).wait()
    assert "interval_ms 5000, the history of live 3000" in str(other.error)
