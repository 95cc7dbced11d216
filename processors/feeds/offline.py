"""A recording as snapshots without a bus: for evaluation over files, by the same validation and assembly as live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from processors.contract import FeedSpec, Header
from processors.feeds.assemble import Assembler, Snapshot
from processors.feeds.codebook import Codebook
from processors.feeds.files import read_ticks
from processors.feeds.sessions import Sessions
from processors.feeds.tally import Tally
from processors.feeds.validate import Validator


def snapshots(
    path: Path, spec: FeedSpec, tally: Tally, mapping: Mapping[str, str] | None = None
) -> Iterator[tuple[Header, list[pa.RecordBatch]]]:
    """Yield each snapshot's header and slices, as a replay of the file would publish them.

    ``seq`` is the index + 1; wall times are 0; ``mapping`` is that of ``read_ticks``. Raises ``SourceError`` if the
    file cannot be used.
    """
    yield from assembled(read_ticks(path, spec, tally, mapping), spec, tally, str(path))


def assembled(
    batches: Iterable[pa.RecordBatch | pa.Table], spec: FeedSpec, tally: Tally, source: str, phase_ms: int = 0
) -> Iterator[tuple[Header, list[pa.RecordBatch]]]:
    """Yield the snapshots of ticks in order of time; ``phase_ms`` as of ``Assembler``.

    Raises ``SourceError``, naming the source, if a column is missing.
    """
    codebook = Codebook(spec.slices)
    validate = Validator(spec, codebook, tally, source)
    sessions = Sessions(spec.calendar, spec.zone)
    assembler = Assembler(spec, codebook, tally, sessions, 2 * spec.interval_ms, phase_ms)
    for index, snapshot in enumerate(_closed(batches, validate, assembler)):
        yield header_of(snapshot, spec, index), snapshot.slices


def _closed(
    batches: Iterable[pa.RecordBatch | pa.Table], validate: Validator, assembler: Assembler
) -> Iterator[Snapshot]:
    for batch in batches:
        assembler.add(validate(batch))
        yield from assembler.close(assembler.due())
    assembler.settle()
    yield from assembler.close(assembler.last_end())


def header_of(snapshot: Snapshot, spec: FeedSpec, index: int) -> Header:
    return Header(
        feed=spec.name,
        run=1,
        seq=index + 1,
        index=index,
        time=snapshot.time,
        session=snapshot.session,
        trading=snapshot.trading,
        expected=snapshot.expected,
        received=snapshot.received,
        complete=snapshot.received >= snapshot.expected,
        slices=spec.slices,
        interval_ms=spec.interval_ms,
        pace=0.0,
        published_ms=0,
    )
