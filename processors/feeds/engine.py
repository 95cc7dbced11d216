"""The loop that every feed shares: source → validate → assemble → pace → bus, with progress, resume and stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import redis
import structlog

from processors.bus import Bus, connect
from processors.contract import Context, FeedSpec, Header
from processors.feeds.assemble import Assembler, Snapshot
from processors.feeds.codebook import Codebook
from processors.feeds.health import Health
from processors.feeds.outbox import RETRY_S, Outbox
from processors.feeds.pacing import Pacer
from processors.feeds.passes import Pass
from processors.feeds.sessions import Sessions
from processors.feeds.tally import Tally
from processors.feeds.validate import Validator
from processors.feeds.watermark import NEVER

log = structlog.get_logger()
TELL_EVERY_S = 0.3
REDIS_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Handed:
    """What a source gives: rows, or none (a moment to look at the clock; at least every 0.2 s); ``complete_ms`` says
    that every row up to that event time has been given.

    ``safe`` is called once everything handed so far is on the bus or was refused: a source that remembers where it
    stands may move on. Of several that have come true at once only the last is called. ``refused`` is called with the
    reason and the numbers of those of ``rows`` that are no ticks. ``pending`` says that more is on its way: with rows,
    that nothing is to be closed before the next ones; without, that silence means nothing.
    """

    rows: pa.RecordBatch | pa.Table | None = None
    complete_ms: int | None = None
    safe: Callable[[], None] | None = None
    refused: Callable[[str, np.ndarray], None] | None = None
    pending: bool = False


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
    interval is closed when the source says so, or ``spec.grace_ms`` on the clock after rows have passed its end; the
    last one, after which nothing comes, once there was silence for three intervals. With ``reorder_ms`` given, by the
    rows' own time as a recording's.
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
        self.reorder_ms = 2 * spec.interval_ms if recording is not None and reorder_ms is None else reorder_ms
        self.bus = Bus(connect(context.redis_url, timeout_s=REDIS_TIMEOUT_S), spec.name, max_bytes=spec.max_bytes)
        self.outbox = Outbox(self.bus)
        self.tally = Tally()
        self.sessions = Sessions(spec.calendar, spec.zone)
        self.facts: dict[str, Any] = {}
        self.health = Health(live=recording is None)
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
            assembler.go_on_from(self._last_slices(), resume.after)
        run = Pass(self, Validator(self.spec, codebook, tally, self.name), assembler, pacer, resume)
        index = run.publish(source)
        return Resume(resume.run + 1, index)

    def _last_slices(self) -> list[pa.RecordBatch]:
        """Return the newest snapshot on the bus; nothing, and then nothing is carried, if Redis does not answer."""
        try:
            last = self.bus.last()
            found = [self.bus.read(number, [last.seq])[0] for number in range(last.slices)] if last else []
        except redis.RedisError as error:
            log.warning("last snapshot cannot be read, beginning anew", feed=self.spec.name, error=str(error))
            return []
        return [part for part in found if part is not None]

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
        self.outbox.put(header, snapshot.slices, snapshot.raw)
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
        for header in arrived:
            self.health.note(header)
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
            duplicates=tally.rejected["duplicate"],
            replaced=tally.noted["replaced"],
            snapshots=self._snapshots,
            held=len(self.outbox),
            **self.health.facts,
            **self.facts,
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
