"""One pass over a source: what it hands becomes snapshots, each when its interval is over and its pace allows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from processors.contract import Header
from processors.feeds.assemble import Assembler, Snapshot
from processors.feeds.pacing import Pacer
from processors.feeds.tally import SourceError, Tally
from processors.feeds.validate import Validator
from processors.feeds.watermark import NEVER

if TYPE_CHECKING:
    from processors.feeds.engine import Engine, Handed, Resume, Source

SILENCE_S = 2.0


class Pass:
    """One pass over the source."""

    def __init__(self, engine: Engine, validate: Validator, assembler: Assembler, pacer: Pacer, resume: Resume) -> None:
        self.engine, self.validate, self.assembler, self.pacer, self.resume = engine, validate, assembler, pacer, resume
        self.index = resume.index
        self._stopping = engine.context.stopping
        self._handed_ms = 0
        self._heard_at = time.monotonic()
        self._passed: list[tuple[float, int]] = []  # (when on the clock, up to where rows had passed interval ends)
        self._marks: deque[tuple[int | None, Callable[[], None]]] = deque()  # (when closed up to here, is safe)

    def publish(self, source: Source) -> int:
        """Publish the whole pass and return the next index. Raises ``SourceError`` if not one row was valid."""
        before, made = self.engine.tally.received, 0
        for handed in source:
            self._handed_ms = time.time_ns() // 1_000_000
            made += self._send(self._take(handed))
            if self._stopping.is_set():
                return self.index
            if handed.rows is not None or handed.pending:
                self._heard_at = time.monotonic()
            if handed.safe is not None:
                self._marks.append((None, handed.safe))
            if self._marks:
                self._tell_safe()
        self.assembler.settle()
        made += self._send(self.assembler.close(self.assembler.last_end()))
        if not made and not self._stopping.is_set() and self.engine.recording is not None:
            raise SourceError(_nothing_valid(self.engine.name, self.engine.tally, before))
        return self.index

    def _take(self, handed: Handed) -> Iterator[Snapshot]:
        if handed.rows is not None:
            self.assembler.add(self.validate(handed.rows, handed.refused), final=handed.complete_ms is not None)
        if handed.complete_ms is not None:
            self.assembler.settle()
            return self.assembler.close(handed.complete_ms)
        if handed.rows is not None and handed.pending:
            return iter(())  # what follows belongs to the same time
        silent = self._silent(handed)
        if self.assembler.event_grace_ms is not None:
            if silent:
                self.assembler.settle()
            return self.assembler.close(self.assembler.last_end() if silent else self.assembler.due())
        due = self._due_on_clock(silent=silent)
        if handed.rows is None or due > self.assembler.closed:
            self.assembler.settle()
        return self.assembler.close(due)

    def _silent(self, handed: Handed) -> bool:
        """Whether nothing has come for so long that the last interval can be taken for whole."""
        if handed.rows is not None or handed.pending:
            return False
        return time.monotonic() - self._heard_at > max(SILENCE_S, 3 * self.engine.spec.interval_ms / 1000)

    def _due_on_clock(self, *, silent: bool) -> int:
        """Return the end of the interval for whose late rows the grace has been waited out."""
        if silent:
            return self.assembler.last_end()
        if not self._passed or self._passed[-1][1] < self.assembler.due():
            self._passed.append((time.monotonic(), self.assembler.due()))
        over = [passed for at, passed in self._passed if at + self.engine.spec.grace_ms / 1000 <= time.monotonic()]
        self._passed = self._passed[len(over) :] if over else self._passed
        return over[-1] if over else NEVER

    def _tell_safe(self) -> None:
        """Call the newest mark before which nothing waits: neither in the assembler nor for Redis."""
        if not self.assembler.undecided:
            end = self.assembler.last_end()
            self._marks = deque((end if need is None else need, safe) for need, safe in self._marks)
        if len(self.engine.outbox):
            return
        last = None
        while self._marks and (need := self._marks[0][0]) is not None and need <= self.assembler.closed:
            last = self._marks.popleft()[1]
        if last is not None:
            last()

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
    read = tally.received - before
    return f"{name} has no valid row (of {read}); expected at least one. Rejected: {tally.reasons()}"
