"""The loop that every feed shares: source → validate → assemble → pace → bus, with progress, resume and stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import redis
import structlog

from processors.bus import Bus, connect
from processors.contract import Context, FeedSpec, Header
from processors.feeds.assemble import Assembler, Snapshot
from processors.feeds.codebook import Codebook
from processors.feeds.outbox import RETRY_S, Outbox
from processors.feeds.pacing import Pacer
from processors.feeds.sessions import Sessions
from processors.feeds.tally import SourceError, Tally
from processors.feeds.validate import Validator
from processors.feeds.watermark import NEVER

log = structlog.get_logger()
TELL_EVERY_S = 0.3
REDIS_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Handed:
    """What a source gives: rows, or none (a moment to look at the clock; at least every 0.2 s); ``complete_ms`` says
    that every row up to that event time has been given."""

    rows: pa.RecordBatch | pa.Table | None = None
    complete_ms: int | None = None


Source = Iterable[Handed]


@dataclass(frozen=True)
class Resume:
    """Where a feed goes on: the number of its next snapshot, its run, and the last event time that is out."""

    run: int = 1
    index: int = 0
    after: int = NEVER


class Engine:
    """Runs one feed until its source ends or ``context.stopping`` is set.

    ``name`` of the source stands in errors. ``recording``: a text that tells one recording from another; the source is
    then read from its beginning again on resume, so that a resumed run has the snapshots of an undisturbed one, and an
    interval is closed by the rows' own time, ``reorder_ms`` after its end. Without it (None) the source is live: an
    interval is closed when the source says so, or ``spec.grace_ms`` on the clock after rows have passed its end.
    """

    def __init__(
        self,
        spec: FeedSpec,
        context: Context,
        *,
        name: str,
        recording: str | None = None,
        reorder_ms: int | None = None,
    ) -> None:
        self.spec, self.context, self.name, self.recording = spec, context, name, recording
        self.reorder_ms = (
            None if recording is None else (reorder_ms if reorder_ms is not None else 2 * spec.interval_ms)
        )
        self.bus = Bus(connect(context.redis_url, timeout_s=REDIS_TIMEOUT_S), spec.name, max_bytes=spec.max_bytes)
        self.outbox = Outbox(self.bus)
        self.tally = Tally()
        self.sessions = Sessions(spec.calendar, spec.zone)
        self.facts: dict[str, Any] = {}
        self._snapshots = 0
        self._told_at = 0.0

    # ---- the public life: begin, then run_source once per pass, then finish

    def begin(self) -> Resume | None:
        """Describe the feed on the bus and return where to go on; None if stopped before Redis answered."""
        while not self.context.stopping.is_set():
            try:
                resume = self._resume()
                self.bus.describe(self.spec, self.recording or "")
                return resume
            except (redis.RedisError, OSError) as error:
                log.warning("bus does not answer, waiting", feed=self.spec.name, error=str(error))
                self.context.stopping.wait(RETRY_S)
        return None

    def _resume(self) -> Resume:
        last = self.bus.last()
        if last is None:
            return Resume()
        if self.context.fresh:
            return Resume(run=last.run + 1)
        if self.recording is not None and self.bus.source() != self.recording:
            return Resume(run=last.run + 1, index=last.index + 1)
        return Resume(last.run, last.index + 1, last.time)

    def run_source(self, source: Source, pacer: Pacer, resume: Resume) -> Resume:
        """Publish one pass over the source and return where the next begins. Returns early when stopping."""
        codebook = Codebook(self.spec.slices)
        tally = self.tally
        assembler = Assembler(self.spec, codebook, tally, self.sessions, self.reorder_ms)
        if self.recording is None and resume.after != NEVER:
            assembler.closed = resume.after
        run = _Pass(self, Validator(self.spec, codebook, tally, self.name), assembler, pacer, resume)
        index = run.publish(source)
        return Resume(resume.run + 1, index)

    def finish(self) -> None:
        """Write what is still held back (until stopped) and tell the last progress."""
        while len(self.outbox) and not self.context.stopping.is_set():
            self.outbox.flush()
            self.context.stopping.wait(0.02 if len(self.outbox) else 0)
        self._count_published()
        self.tell(now=True)

    # ---- used by a pass

    def publish(self, snapshot: Snapshot, header: Header) -> None:
        """Hand a snapshot to the bus; waits while Redis is away and the buffer is full."""
        while self.outbox.full and not self.context.stopping.is_set():
            self.outbox.flush()
            self.context.stopping.wait(0.02)
        self.outbox.put(header, snapshot.slices)
        self.facts.update(run=header.run, last_time=header.time, pace=header.pace, expected=header.expected)
        self.tell()

    def published(self, pacer: Pacer) -> None:
        """Take note of what has reached the bus."""
        for header in self._count_published():
            pacer.published(header)

    def _count_published(self) -> list[Header]:
        arrived = list(self.outbox.published)
        self.outbox.published.clear()
        if arrived and not self._snapshots:
            self.context.running()
        self._snapshots += len(arrived)
        return arrived

    def tell(self, *, now: bool = False) -> None:
        """Tell progress, at most a few times a second."""
        if not now and time.monotonic() - self._told_at < TELL_EVERY_S:
            return
        self._told_at = time.monotonic()
        tally = self.tally
        self.context.progress(
            received=tally.received,
            rejected=dict(tally.rejected),
            noted=dict(tally.noted),
            samples={reason: list(texts) for reason, texts in tally.samples.items()},
            late=tally.rejected["late"],
            replaced=tally.noted["replaced"],
            snapshots=self._snapshots,
            held=len(self.outbox),
            **self.facts,
        )


class _Pass:
    """One pass over the source."""

    def __init__(self, engine: Engine, validate: Validator, assembler: Assembler, pacer: Pacer, resume: Resume) -> None:
        self.engine, self.validate, self.assembler, self.pacer, self.resume = engine, validate, assembler, pacer, resume
        self.index = resume.index
        self._stopping = engine.context.stopping
        self._handed_ms = 0
        self._passed: list[tuple[float, int]] = []  # (when on the clock, up to where rows had passed interval ends)

    def publish(self, source: Source) -> int:
        """Publish the whole pass and return the next index. Raises ``SourceError`` if not one row was valid."""
        before, made = self.engine.tally.received, 0
        for handed in source:
            self._handed_ms = time.time_ns() // 1_000_000
            made += self._send(self._take(handed))
            if self._stopping.is_set():
                return self.index
        self.assembler.settle()
        made += self._send(self.assembler.close(self.assembler.last_end()))
        if not made and not self._stopping.is_set() and self.engine.recording is not None:
            raise SourceError(_nothing_valid(self.engine.name, self.engine.tally, before))
        return self.index

    def _take(self, handed: Handed) -> Iterator[Snapshot]:
        if handed.rows is not None:
            self.assembler.add(self.validate(handed.rows), final=handed.complete_ms is not None)
        if handed.complete_ms is not None:
            self.assembler.settle()
            return self.assembler.close(handed.complete_ms)
        if self.assembler.event_grace_ms is not None:
            return self.assembler.close(self.assembler.due())
        due = self._due_on_clock()
        if handed.rows is None or due > self.assembler.closed:
            self.assembler.settle()
        return self.assembler.close(due)

    def _due_on_clock(self) -> int:
        """Return the end of the interval for whose late rows the grace has been waited out."""
        if not self._passed or self._passed[-1][1] < self.assembler.due():
            self._passed.append((time.monotonic(), self.assembler.due()))
        over = [passed for at, passed in self._passed if at + self.engine.spec.grace_ms / 1000 <= time.monotonic()]
        self._passed = self._passed[len(over) :] if over else self._passed
        return over[-1] if over else NEVER

    def _send(self, snapshots: Iterator[Snapshot]) -> int:
        made = 0
        for snapshot in snapshots:
            made += 1
            if self._stopping.is_set():
                return made
            if snapshot.time <= self.resume.after:
                continue  # it went out before: only its traces in the state are needed
            self.pacer.wait(snapshot, self._stopping, self._flush)
            if self._stopping.is_set():
                return made
            self.engine.publish(snapshot, self._header(snapshot))
            self.engine.published(self.pacer)
            self.index += 1
        self._flush()
        return made

    def _flush(self) -> None:
        if len(self.engine.outbox):
            self.engine.outbox.flush()
            self.engine.published(self.pacer)
        self.engine.tell()

    def _header(self, snapshot: Snapshot) -> Header:
        live = self.engine.recording is None
        return Header(
            feed=self.engine.spec.name,
            run=self.resume.run,
            seq=0,
            index=self.index,
            time=snapshot.time,
            session=snapshot.session,
            trading=snapshot.trading,
            expected=snapshot.expected,
            received=snapshot.received,
            complete=snapshot.received >= snapshot.expected,
            slices=self.engine.spec.slices,
            interval_ms=self.engine.spec.interval_ms,
            pace=self.pacer.pace,
            published_ms=0,
            handed_ms=self._handed_ms if live else time.time_ns() // 1_000_000,
        )


def _nothing_valid(name: str, tally: Tally, before: int) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in tally.rejected.most_common())
    return (
        f"{name} has no valid row (of {tally.received - before}); expected at least one. Rejected: {reasons or 'none'}"
    )


def run_feed(
    engine: Engine,
    open_source: Callable[[Resume], Source],
    pacer: Pacer | None = None,
    *,
    loop: bool = False,
    resume: Resume | None = None,
) -> None:
    """Run a feed from ``resume`` (or ``engine.begin()``); with ``loop`` a new run begins at each end of the source."""
    resume = resume or engine.begin()
    pacer = pacer or Pacer()
    stopping = engine.context.stopping
    while resume is not None and not stopping.is_set():
        resume = engine.run_source(open_source(resume), pacer, resume)
        if not loop:
            break
    engine.finish()
