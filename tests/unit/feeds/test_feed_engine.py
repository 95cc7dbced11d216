"""The loop over a live source: grace on the clock, marks, an answer that got lost, a full buffer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import redis
from feed_support import SPEC, Running, Valkey, published, rows, tick, until

from processors.bus import Bus, connect
from processors.contract import SNAPSHOT_SCHEMA, Context, FeedProcessor, FeedSpec, Header, Params
from processors.feeds.engine import Engine, Handed, run_feed
from processors.feeds.outbox import Outbox

LIVE = replace(SPEC, name="live", grace_ms=200)


class Script(FeedProcessor):
    """A live source that hands what it is told to, then idles until stopped."""

    def __init__(self, *handed: Handed) -> None:
        self.handed, self.done = handed, threading.Event()

    def run(self, params: Params, spec: FeedSpec, context: Context) -> None:
        def source() -> Iterator[Handed]:
            yield from self.handed
            self.done.set()
            while not context.stopping.wait(0.005):
                yield Handed()

        run_feed(Engine(spec, context, name="script"), lambda _: source())


def header(index: int) -> Header:
    return Header("box", 0, 0, index, index * 1000, "24/7", True, 1, 1, True, 1, 1000, 1.0, 0)


EMPTY = pa.RecordBatch.from_pylist([], schema=SNAPSHOT_SCHEMA)


def test_a_mark_closes_at_once(valkey: Valkey) -> None:
    batch = rows(tick("09:31:01"), tick("09:31:02", "600001"))
    script = Script(Handed(batch), Handed(complete_ms=1638322265000))
    run = Running(script, Params(), replace(LIVE, grace_ms=3_600_000), valkey.url)
    ((shot, _),) = until(lambda: published(valkey.url, LIVE))
    assert (shot.time, shot.received, shot.index) == (1638322265000, 2, 0)
    assert 0 <= shot.published_ms - shot.handed_ms < 2000
    assert run.stop() < 0.5


def test_without_marks_an_interval_closes_after_the_grace_and_takes_late_rows_until_then(valkey: Valkey) -> None:
    new = [tick("09:31:06", code) for code in ("600000", "600001", "600002")]
    late = [tick("09:31:04", code) for code in ("600000", "600001", "600002")]
    run = Running(Script(Handed(rows(*new)), Handed(), Handed(rows(*late))), Params(), LIVE, valkey.url)
    until(lambda: run.facts.get("received", 0) == 6)
    (first, _), *rest = until(lambda: published(valkey.url, LIVE))
    assert not rest
    assert (first.time, first.received) == (1638322265000, 3)
    run.stop()
    assert run.facts["rejected"] == {}


def test_a_live_feed_goes_on_after_the_last_snapshot(valkey: Valkey) -> None:
    def mark(second: int) -> Handed:
        return Handed(rows(tick(f"09:31:{second:02}")), 1638322260000 + second * 1000)

    for script in (Script(mark(5), mark(10)), Script(mark(10), mark(15))):
        run = Running(script, Params(), LIVE, valkey.url)
        assert script.done.wait(5)
        run.stop()
    headers = [shot for shot, _ in published(valkey.url, LIVE)]
    assert [(shot.index, shot.time % 60_000 // 1000) for shot in headers] == [(0, 5), (1, 10), (2, 15)]
    assert run.facts["late"] == 1


def test_a_live_feed_that_begins_again_carries_what_it_had_shown_and_knows_the_change(valkey: Valkey) -> None:
    first = [tick("09:31:01", price=10.0), tick("09:31:02", "600001", price=20.0)]
    for lines, second in ((first, 5), ([tick("09:31:07", price=10.5)], 10)):
        script = Script(Handed(rows(*lines), 1638322260000 + second * 1000))
        run = Running(script, Params(), LIVE, valkey.url)
        assert script.done.wait(5)
        run.stop()
    header = Bus(connect(valkey.url), LIVE.name).last()
    assert header and (header.received, header.expected) == (1, 2)
    parts = [Bus(connect(valkey.url), LIVE.name).read(number, [header.seq])[0] for number in range(LIVE.slices)]
    found = {row["code"]: row for part in parts if part for row in part.to_pylist()}
    assert (found["600000"]["price"], found["600000"]["change"], found["600000"]["age_s"]) == (10.5, 0.5, 0.0)
    assert (found["600001"]["price"], found["600001"]["change"], found["600001"]["age_s"]) == (20.0, 0.0, 8.0)


def test_what_a_source_may_forget_is_told_once_it_is_on_the_bus_or_refused(valkey: Valkey) -> None:
    told: list[str] = []
    refused: list[tuple[str, list[int]]] = []
    bad = rows(tick("09:31:06", price=-1), tick("09:31:07", "600002"))
    script = Script(
        Handed(rows(tick("09:31:01")), safe=lambda: told.append("open")),
        Handed(bad, safe=lambda: told.append("later"), refused=lambda why, at: refused.append((why, at.tolist()))),
        Handed(),
    )
    run = Running(script, Params(), replace(LIVE, grace_ms=3_600_000), valkey.url)
    assert script.done.wait(5)
    until(lambda: run.facts.get("received") == 3)
    assert refused == [("price_not_positive", [0])]
    assert told == [] and published(valkey.url, LIVE) == [], "both intervals are open"
    run.stop()
    marked = Script(Handed(rows(tick("09:31:01")), safe=lambda: told.append("open")), Handed(complete_ms=1638322265000))
    run = Running(marked, Params(), LIVE, valkey.url)
    until(lambda: told)
    assert told == ["open"] and len(published(valkey.url, LIVE)) == 1
    run.stop()


def test_a_snapshot_whose_answer_got_lost_is_not_written_twice(valkey: Valkey) -> None:
    bus = Bus(connect(valkey.url), "box")
    lose = iter([False, True, False])

    class Deaf(Bus):
        def append(self, header: Header, slices: Sequence[pa.RecordBatch], raw: pa.RecordBatch | None = None) -> Header:
            written = bus.append(header, slices, raw)
            if next(lose, False):
                raise redis.TimeoutError("no answer")
            return written

    box = Outbox(Deaf(connect(valkey.url), "box"))
    for index in range(3):
        box.put(header(index), [EMPTY])
    until(lambda: (box.flush(), len(box) == 0)[1])
    assert [found.index for found in bus.headers(0)] == [0, 1, 2]
    assert [found.index for found in box.published] == [0, 1, 2]
    assert all(found.seq for found in box.published)


def test_the_buffer_is_bounded_in_bytes(tmp_path: Path) -> None:
    box = Outbox(Bus(connect(f"unix://{tmp_path}/nobody"), "box"), held_bytes=1)
    assert not box.full
    box.put(header(0), [pa.RecordBatch.from_pydict({"x": [1, 2, 3]})])
    assert box.full and len(box) == 1 and not box.published
