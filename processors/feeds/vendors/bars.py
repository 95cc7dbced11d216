"""Bars of a range of days from a vendor, kept in files until all of them have come: asked for once, whatever dies."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import structlog

from processors.durable import writing
from processors.feeds.vendors.archive import BARS, ZONE, Archive, Piece, phase_ms
from processors.feeds.vendors.base import VendorError

log = structlog.get_logger()
TRIES = 5
FIRST_PAUSE_S = 1.0
AT_ONCE_ROWS = 1_000_000


@dataclass(frozen=True)
class Order:
    """Which bars: of some codes, from ``begin`` to ``end`` (both counted), every so often."""

    codes: tuple[str, ...]
    begin: date
    end: date
    every: str


class Bars:
    """An order's bars. ``fetch`` asks for what is not in ``directory`` yet; ``batches`` gives all of them."""

    def __init__(self, vendor: Archive, order: Order, directory: Path) -> None:
        self.vendor, self.order, self.directory = vendor, order, directory
        self.source = f"{vendor.name} ({order.every})"
        self.phase_ms = phase_ms(order.every)
        pieces = vendor.pieces(order.codes, order.begin, order.end, order.every)
        self._files = {piece: directory / _name(piece) for piece in pieces}
        self.fetched = 0  # calls that are answered
        self.received: Counter[str] = Counter()  # bars by code
        self.first: datetime | None = None
        self.last: datetime | None = None

    @property
    def calls(self) -> int:
        """Return how many calls the order takes."""
        return len(self._files)

    def fetch(self) -> Iterator[None]:
        """Ask for one piece after the other; yields after each.

        Waits where the vendor wants to be left alone, and tries a call that failed again. Raises ``VendorError`` when
        it failed five times in a row: what has come stays, and is not asked for again.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        for piece, path in self._files.items():
            if not path.exists():
                found = self._patiently(piece)
                with writing(path) as file:
                    pq.write_table(found, file, compression="zstd")
            self._count(path)
            self.fetched += 1
            yield

    def _patiently(self, piece: Piece) -> pa.Table:
        for attempt in range(TRIES - 1):
            try:
                return self._asked(piece)
            except VendorError as error:
                pause_s = FIRST_PAUSE_S * 2**attempt if error.pause_s is None else error.pause_s
                log.warning("call failed, trying again", source=self.vendor.name, error=str(error), pause_s=pause_s)
                time.sleep(pause_s)
        return self._asked(piece)

    def _asked(self, piece: Piece) -> pa.Table:
        """Return a piece's bars. Raises ``VendorError`` for some that were not asked for: who gives those has not
        understood, and may have left out others."""
        found = self.vendor.bars(piece, self.order.every)
        days = pc.local_timestamp(found.column("time").cast(pa.timestamp("ms", ZONE))).cast(pa.date32())
        known = pc.is_in(found.column("code"), pa.array(piece.codes))
        asked = pc.and_(known, pc.and_(pc.greater_equal(days, piece.begin), pc.less_equal(days, piece.end)))
        if not pc.all(asked, min_count=0).as_py():
            first = found.filter(pc.invert(asked)).slice(0, 1).to_pylist()[0]
            raise VendorError(
                f"{self.vendor.name}: bars of {first['code']} at {first['time']}, expected days from {piece.begin} to "
                f"{piece.end} of {', '.join(piece.codes[:3])} …"
            )
        return found

    def _count(self, path: Path) -> None:
        table = pq.read_table(path, columns=["code", "time"])
        if table.num_rows:
            counts = table.column("code").value_counts().to_pylist()
            self.received.update({each["values"]: each["counts"] for each in counts})
            span = pc.min_max(table.column("time")).as_py()
            self.first = min(self.first or span["min"], span["min"])
            self.last = max(self.last or span["max"], span["max"])

    @property
    def missing(self) -> list[str]:
        """Return the codes that have no bar in the whole range."""
        return [code for code in self.order.codes if code not in self.received]

    def batches(self) -> Iterator[pa.Table]:
        """Yield the bars in order of time, a bounded number of rows at once."""
        files = pyarrow.dataset.dataset([str(path) for path in self._files.values()], schema=BARS)
        for low, high in self._spans():
            held = files.to_table(filter=(pc.field("time") >= low) & (pc.field("time") < high))
            if held.num_rows:
                yield held.sort_by([("time", "ascending"), ("code", "ascending")])

    def _spans(self) -> Iterator[tuple[datetime, datetime]]:
        days = (self.order.end - self.order.begin).days + 1
        at_once = max(1, days * AT_ONCE_ROWS // max(self.received.total(), 1))
        for offset in range(0, days, at_once):
            low = datetime.combine(self.order.begin + timedelta(offset), datetime.min.time(), ZoneInfo(ZONE))
            yield low.astimezone(UTC), (low + timedelta(at_once)).astimezone(UTC)

    def forget(self) -> None:
        """Delete the files: what they hold is where it belongs."""
        for path in self._files.values():
            path.unlink(missing_ok=True)
        if not any(self.directory.iterdir()):
            self.directory.rmdir()


def _name(piece: Piece) -> str:
    codes = hashlib.sha256(",".join(piece.codes).encode()).hexdigest()[:12]
    return f"{piece.begin}-{piece.end}-{codes}.parquet"
