"""The ticks of a feed that keeps them: beside their snapshot on the bus, and in the history each once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from feed_support import QUOTED, Running, Valkey, content, published, rows, tick
from test_feed_replay import head

from processors.bus import Bus, connect
from processors.contract import FeedSpec, NotTaken, Result
from processors.feeds.replay import Replay, ReplayParams
from processors.feeds.sample import DEMO_SPEC
from processors.history.parquet import ParquetHistory
from processors.history.sink import RawSink

SPEC = replace(DEMO_SPEC, name="ticks", interval_ms=15_000, keep_raw=True)
RAW = "ticks.raw"


def play(url: str, path: Path, spec: FeedSpec = SPEC) -> Running:
    Bus(connect(url), spec.name).follow("test", 2**60, for_ms=60_000)
    run = Running(Replay(), ReplayParams(path=str(path), pace=0), spec, url).wait()
    assert run.error is None
    return run


@pytest.fixture
def store(tmp_path: Path) -> ParquetHistory:
    return ParquetHistory(tmp_path / "history")


class Told(dict[str, Any]):
    def __call__(self, **facts: Any) -> None:
        self.update(facts)


def sink_of(store: ParquetHistory, url: str, told: Told) -> RawSink:
    """Return a sink that has taken every snapshot on the bus."""
    bus = Bus(connect(url), SPEC.name)
    sink = RawSink(store, SPEC, bus, told)
    for header in bus.headers(0):
        sink.take(header, [], {}, Result({}))
    return sink


def as_taken(path: Path) -> pa.Table:
    """Return the file's rows in the history's order: by snapshot, code, time."""
    found = pa.parquet.read_table(path)
    ms = pc.assume_timezone(found.column("time"), "Asia/Shanghai").cast(pa.int64()).to_numpy()
    ends = -(-ms // SPEC.interval_ms) * SPEC.interval_ms
    order = np.lexsort([ms, found.column("code").to_numpy(zero_copy_only=False), ends])
    return found.append_column("ms", pa.array(ms)).append_column("end", pa.array(ends)).take(pa.array(order))


def test_every_tick_of_a_file_is_kept_once(valkey: Valkey, sample: Path, store: ParquetHistory) -> None:
    play(valkey.url, sample)
    told = Told()
    sink = sink_of(store, valkey.url, told)
    sink.flush()
    kept, given = store.read(RAW).read_all(), as_taken(sample)
    assert kept.num_rows == given.num_rows == told["raw_rows"] == 31_602
    assert kept["code"].to_pylist() == given["code"].to_pylist()
    assert kept["time"].cast(pa.int64()).to_pylist() == given["ms"].to_pylist()
    assert kept["snapshot"].cast(pa.int64()).to_pylist() == given["end"].to_pylist()
    for name in ("price", "amount", "bid", "ask_size"):
        assert np.array_equal(kept[name].to_numpy(), given[name].to_numpy(), equal_nan=True)
    assert not list(store.check(RAW)) and told["raw_missed"] == 0
    again = sink_of(store, valkey.url, told)
    again.flush()
    assert store.read(RAW).read_all().equals(kept)


def test_kept_ticks_replayed_give_the_snapshots_of_the_file(
    valkey: Valkey, sample: Path, store: ParquetHistory, tmp_path: Path
) -> None:
    sample = head(sample, tmp_path, 8_000)
    play(valkey.url, sample)
    sink_of(store, valkey.url, Told()).flush()
    pa.parquet.write_table(store.read(RAW).read_all().drop_columns(["snapshot"]), tmp_path / "kept.parquet")
    three = {"interval_ms": 3_000, "keep_raw": False}
    kept_as = store.spec(RAW)
    assert kept_as is not None
    direct, from_kept = replace(SPEC, name="direct", **three), replace(kept_as, name="again", **three)  # type: ignore[arg-type]
    play(valkey.url, sample, direct)
    play(valkey.url, tmp_path / "kept.parquet", from_kept)
    assert content(published(valkey.url, from_kept)) == content(published(valkey.url, direct))


def test_what_is_no_tick_is_not_kept_and_what_was_replaced_is(valkey: Valkey, tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    some = [
        tick("09:31:01", price=10),
        tick("09:31:01", price=10),
        tick("09:31:01", price=11),
        tick("09:31:02", price=-1),
    ]
    pa.parquet.write_table(pa.table(rows(*some).to_pydict()), path)
    play(valkey.url, path)
    bus = Bus(connect(valkey.url), SPEC.name)
    [header] = bus.headers(0)
    [ticks] = bus.read(header.slices, [header.seq])
    assert ticks is not None and ticks.column("price").to_pylist() == [10, 11]
    assert header.received == 1


def test_other_feeds_have_none(valkey: Valkey, tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    pa.parquet.write_table(pa.table(rows(tick("09:31:01") + ",9,11,1,1", header=QUOTED).to_pydict()), path)
    play(valkey.url, path, replace(SPEC, keep_raw=False))
    bus = Bus(connect(valkey.url), SPEC.name)
    [header] = bus.headers(0)
    assert bus.read(header.slices, [header.seq]) == [None]


def test_ticks_that_left_the_bus_are_counted_and_a_silent_bus_is_waited_for(
    valkey: Valkey, sample: Path, store: ParquetHistory
) -> None:
    play(valkey.url, sample)
    told = Told()
    sink = sink_of(store, valkey.url, told)
    client = connect(valkey.url)
    gone = Bus(client, SPEC.name).headers(0)[:5]
    client.xtrim("feed:ticks", minid=f"{gone[-1].seq + 1}-0", approximate=False)
    valkey.kill()
    with pytest.raises(NotTaken, match="can't be read from the bus"):
        sink.flush()
    assert store.feeds() == []
    valkey.start()
    sink.flush()
    assert told["raw_missed"] == 5
    assert {header.time for header, _ in store.headers(RAW)}.isdisjoint({header.time for header in gone})
