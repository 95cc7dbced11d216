"""Batches planned ahead of their snapshots: which snapshot each turns out to be of, by a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from feed_support import Valkey

from processors import slices
from processors.bus import Bus, connect
from processors.contract import Header
from processors.inbox import Inbox
from processors.slices import Delivery, deliver, grant, unpack
from processors.source import Plan, Slice, SnapshotReader, Turn

FEED = "ahead"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server.url
    server.kill()


@pytest.fixture
def bus(url: str) -> Iterator[Bus]:
    bus = Bus(connect(url), FEED)
    yield bus
    bus.client.flushall()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(tmp_path)
    yield inbox
    inbox.close()


def publish(bus: Bus, index: int, slices: int = 1) -> Header:
    header = Header(FEED, 1, 0, index, 1000 * index, "24/7", True, slices, slices, True, slices, 1000, 1.0, 0)
    return bus.append(header, [pa.record_batch({"code": [f"S{n}"], "price": [10.0 + n]}) for n in range(slices)])


def query(url: str, inbox: Inbox, slices: int = 1) -> SnapshotReader:
    params = '{"window": 2}'
    return SnapshotReader(
        Plan(url, FEED, slices, inbox.address, inbox.key, 0, "processors.stream.stock_avg:StockAvg", params, 2)
    )


def next_tasks(reader: SnapshotReader, start: dict[str, Any]) -> tuple[dict[str, Any], list[Slice]]:
    """Plan the next batch as Spark does; return its end and its tasks."""
    grant(connect(reader.plan.redis_url), reader.plan.key, 1)
    end = reader.latestOffset(start, reader.getDefaultReadLimit())
    tasks = reader.partitions(start, end)
    assert all(isinstance(task, Slice) for task in tasks)
    return end, tasks  # type: ignore[return-value]


def delivered(inbox: Inbox, count: int) -> list[Delivery]:
    return [unpack(inbox.take(5) or b"") for _ in range(count)]


def test_a_batch_is_planned_while_there_is_no_snapshot_and_each_is_of_the_next(
    url: str, bus: Bus, inbox: Inbox
) -> None:
    reader = query(url, inbox)
    end = reader.initialOffset()
    for index in range(3):
        end, tasks = next_tasks(reader, end)
        publish(bus, index)
        assert [list(reader.read(task)) for task in tasks] == [[]], "Spark sees no rows"
    found = delivered(inbox, 3)
    assert [part.header.index for part in found] == [0, 1, 2]
    assert [part.columns["mean"].tolist() for part in found] == [[10.0]] * 3


def test_without_a_credit_nothing_is_planned(url: str, bus: Bus, inbox: Inbox) -> None:
    publish(bus, 0)
    reader = query(url, inbox)
    start = reader.initialOffset()
    assert reader.latestOffset(start, reader.getDefaultReadLimit()) == start
    assert reader.partitions(start, start) == []


def test_a_bus_trimmed_in_the_middle_of_a_batch_neither_splits_it_nor_skips_a_snapshot(
    url: str, bus: Bus, inbox: Inbox
) -> None:
    reader = query(url, inbox, slices=2)
    publish(bus, 0, slices=2)
    end, tasks = next_tasks(reader, reader.initialOffset())
    list(reader.read(tasks[0]))
    bus.client.delete(f"feed:{FEED}", f"feed:{FEED}:headers")
    bus.forget()
    publish(bus, 1, slices=2)
    list(reader.read(tasks[1]))
    first, second = delivered(inbox, 2)
    assert (first.header, first.gone) == (second.header, False)
    assert second.gone, "its slice is told to be gone, not taken from the next snapshot"
    _, tasks = next_tasks(reader, end)
    for task in tasks:
        list(reader.read(task))
    assert [(part.header.index, part.gone) for part in delivered(inbox, 2)] == [(1, False)] * 2


def test_a_task_that_runs_twice_is_of_the_same_snapshot(url: str, bus: Bus, inbox: Inbox) -> None:
    reader = query(url, inbox)
    publish(bus, 0)
    _, [task] = next_tasks(reader, reader.initialOffset())
    list(reader.read(task))
    publish(bus, 1)
    slices._workers.clear()  # another process does it
    list(reader.read(task))
    assert [part.header.index for part in delivered(inbox, 2)] == [0, 0]


@pytest.mark.parametrize(("planned", "held"), [(1, 3), (3, 1), (2, 3)])
def test_every_slice_of_a_snapshot_that_has_another_number_of_them_is_delivered_once(
    url: str, bus: Bus, inbox: Inbox, planned: int, held: int
) -> None:
    publish(bus, 0, held)
    for number in range(planned):
        deliver(query(url, inbox, planned).plan, Turn(1, 0), number)
    assert sorted(part.number for part in delivered(inbox, held)) == list(range(held))
    assert inbox.take(0.1) is None


def test_a_redis_that_lost_what_a_batch_was_of_is_told_as_an_error_of_redis(url: str, bus: Bus, inbox: Inbox) -> None:
    reader = query(url, inbox)
    publish(bus, 0)
    end, [task] = next_tasks(reader, reader.initialOffset())
    list(reader.read(task))
    bus.client.flushall()
    with pytest.raises(redis.ConnectionError, match="no longer has what batch 1 read"):
        next_tasks(reader, end)
