"""What db_store's sink promises the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from history_support import SPEC, Snapshot, all_rows, expected_rows, keep, market

from processors import checks
from processors.contract import NotTaken
from processors.history.parquet import ParquetHistory
from processors.history.sink import HistorySink
from processors.stream.db_store import DbStore

test_db_store_keeps_the_contract = checks.suite(DbStore)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Told(dict[str, Any]):
    def __call__(self, **facts: Any) -> None:
        self.update(facts)


def take(sink: HistorySink, snapshot: Snapshot) -> None:
    """Hand a snapshot over as the engine does, its slices joined."""
    header, parts = snapshot
    names = [name for name in parts[0].schema.names if name != "code"]
    columns = {
        name: np.concatenate([part.column(name).to_numpy(zero_copy_only=False) for part in parts]) for name in names
    }
    sink.take(header, [part.column("code") for part in parts], columns)


@pytest.fixture
def store(tmp_path: Path) -> ParquetHistory:
    return ParquetHistory(tmp_path / "history")


def test_what_the_engine_hands_over_is_what_the_bus_had(store: ParquetHistory) -> None:
    sink, shots = HistorySink(store, SPEC, Told()), market(20)
    for each in shots:
        take(sink, each)
    assert store.feeds() == []
    sink.flush()
    assert all_rows(store).equals(expected_rows(keep(shots)))
    assert store.spec(SPEC.name) == SPEC


def test_it_is_due_by_time_and_by_size(store: ParquetHistory) -> None:
    clock, shots = Clock(), market(10)
    sink = HistorySink(store, SPEC, Told(), gather_s=60, clock=clock)
    clock.now = 100
    assert not sink.due(), "nothing has been gathered"
    take(sink, shots[0])
    clock.now = 159
    assert not sink.due()
    clock.now = 160
    assert sink.due()
    sink.flush()
    assert not sink.due()
    small = HistorySink(store, replace(SPEC, max_bytes=20_000), Told(), gather_s=60, clock=clock)
    for each in shots:
        assert not small.due()
        take(small, each)
        if small.due():
            break
    assert small.due() and small.told["gathered"] > 1, "a quarter of what the bus may hold"


def test_it_tells_what_is_new_and_what_was_there(store: ParquetHistory) -> None:
    told, shots = Told(), market(12)
    first = HistorySink(store, SPEC, told)
    for each in shots[:8]:
        take(first, each)
    assert told["gathered"] == 8
    first.flush()
    assert (told["stored"], told["already"], told["gathered"]) == (8, 0, 0)
    second = HistorySink(store, SPEC, told)  # of an attempt that goes on from an older place
    for each in shots[4:]:
        take(second, each)
    second.flush()
    assert (told["stored"], told["already"]) == (4, 4)


def test_while_the_store_is_away_nothing_gathered_is_lost(store: ParquetHistory) -> None:
    sink, shots = HistorySink(store, SPEC, Told()), market(9)
    store.root.touch()  # a file where its directory should be
    for each in shots[:6]:
        take(sink, each)
    with pytest.raises(NotTaken):
        sink.flush()
    for each in shots[6:]:
        take(sink, each)
    store.root.unlink()
    sink.flush()
    assert all_rows(store).equals(expected_rows(keep(shots)))


def test_a_feed_without_quotes(store: ParquetHistory) -> None:
    sink = HistorySink(store, SPEC, Told())
    for each in market(3, quotes=False):
        take(sink, each)
    sink.flush()
    assert isinstance(all_rows(store)["bid"].combine_chunks(), pa.Array) and all_rows(store)["bid"].null_count
