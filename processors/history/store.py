"""What a history is: the interface that every store keeps, and the shape of what it holds.

A history holds, per feed, the snapshots' headers and their real rows (those with age 0). A snapshot is known by its
feed and time: the one that came first stays, the same again is refused. So whoever writes may write again after any
failure, and a recording that is played twice is there once.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from processors.contract import QUOTE_FIELDS
from processors.snapshot import FeedSpec, Header

MOMENT = pa.timestamp("ms", "UTC")
# One row per stock that had news in a snapshot. `snapshot` is the snapshot's time, `time` that of the last tick;
# volume is in shares, amount in currency. Quotes are null where the feed or the row has none.
ROWS = pa.schema(
    [
        pa.field("snapshot", MOMENT, nullable=False),
        pa.field("time", MOMENT, nullable=False),
        pa.field("code", pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("price", "change", "volume", "amount")),
        pa.field("type", pa.int8(), nullable=False),
        *(pa.field(name, pa.float64()) for name in QUOTE_FIELDS),
    ]
)
EARLIEST_MS, LATEST_MS = 0, 7_258_118_400_000  # 1970 to 2200, as the feeds take them
BATCH_ROWS = 65_536
RAW = ".raw"  # behind a feed's name: where its ticks are kept, a row each, beside its snapshots
_FEED = re.compile(r"[A-Za-z0-9_-]{1,64}(\.raw)?")


class HistoryError(Exception):
    """What was asked of the history can't be done; the message names it and what was expected."""


class Unavailable(HistoryError):
    """The store does not take or give anything now (disk full, server away): nothing is lost, try again."""


class UnknownFeed(HistoryError):
    """There is no feed of this name in the history."""

    def __init__(self, feed: str, known: Sequence[str]):
        super().__init__(f"there is no feed {feed!r} in the history; expected one of {', '.join(known) or 'none yet'}")


class Damaged(HistoryError):
    """What the store holds is not what was written."""


@dataclass(frozen=True)
class Kept:
    """A snapshot as the history keeps it: ``rows`` with the columns of ROWS, in any order. ``quotes`` says whether the
    feed had bid and ask."""

    header: Header
    rows: pa.Table
    quotes: bool


@dataclass(frozen=True)
class Day:
    """What a feed's history holds of one day of the feed's zone. ``first`` and ``last`` are times of snapshots in ms
    UTC; ``expected`` sums what each snapshot expected, ``rows`` is what came."""

    day: str
    snapshots: int
    rows: int
    expected: int
    first: int
    last: int
    size_bytes: int
    compacted: bool


class History(ABC):
    """A store of snapshots. Used by one thread at a time; any number of processes may use a store at once.

    Times are ms UTC; a range holds snapshots with ``start`` ≤ time < ``end``. Raises HistoryError for a feed name or
    column that can't be, Unavailable while the store does not answer.
    """

    @abstractmethod
    def describe(self, spec: FeedSpec) -> None:
        """Keep what a feed's numbers mean. Its zone, which divides the days, can't change while there are any."""

    @abstractmethod
    def spec(self, feed: str) -> FeedSpec | None:
        """Return what a feed's numbers mean, None for a feed that is not here."""

    @abstractmethod
    def feeds(self) -> list[str]:
        """Return the names of the feeds that are here, sorted."""

    @abstractmethod
    def append(self, feed: str, snapshots: Sequence[Kept]) -> int:
        """Keep snapshots of a described feed, in any order; return how many were new.

        What is returned of is durable, and whole: no reader sees a part of a snapshot. Those that are here already,
        by their time, are left as they are.
        """

    @abstractmethod
    def read(
        self,
        feed: str,
        start: int = EARLIEST_MS,
        end: int = LATEST_MS,
        codes: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.RecordBatchReader:
        """Return the rows of a range in order of snapshot, then code, in batches and bounded memory.

        ``codes`` None are all, ``columns`` (of ROWS) None are all, in the order given.
        """

    @abstractmethod
    def headers(self, feed: str, start: int = EARLIEST_MS, end: int = LATEST_MS) -> Iterator[tuple[Header, bool]]:
        """Yield the headers of a range in order of time, each with whether the feed had quotes."""

    @abstractmethod
    def coverage(self, feed: str) -> list[Day]:
        """Return what is here of each day, oldest first."""

    @abstractmethod
    def delete_before(self, feed: str, day: str) -> int:
        """Delete the days before ``day`` (YYYY-MM-DD in the feed's zone); return how many."""

    @abstractmethod
    def compact(self, feed: str, *, now_ms: int, quiet_s: float = 7_200) -> list[str]:
        """Put together what is in pieces of days into which nothing was written for a while; return these days."""

    @abstractmethod
    def check(self, feed: str) -> Iterator[str]:
        """Read everything of a feed and yield what is wrong, a sentence each; nothing for a history that holds."""


def feed_name(name: str) -> str:
    """Return the name of a feed; raise HistoryError for what is none, and could be a path."""
    if not _FEED.fullmatch(name):
        raise HistoryError(
            f"feed {name[:80]!r}: expected letters, digits, - and _, at most 64, and {RAW} for its ticks"
        )
    return name


def columns_of(names: Sequence[str] | None) -> list[str]:
    """Return the columns asked for; raise HistoryError for one that is not there."""
    asked = list(ROWS.names if names is None else dict.fromkeys(names))
    unknown = [name for name in asked if name not in ROWS.names]
    if unknown or not asked:
        raise HistoryError(f"columns {', '.join(unknown) or '(none)'}: expected some of {', '.join(ROWS.names)}")
    return asked


def schema_of(names: Sequence[str]) -> pa.Schema:
    return pa.schema([ROWS.field(name) for name in names])


def local_day(time_ms: int, zone: str) -> str:
    """Return the day of a time in a zone, as YYYY-MM-DD."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(ZoneInfo(zone)).date().isoformat()


def checked_day(day: str) -> str:
    """Return a day as YYYY-MM-DD; raise HistoryError for what is none."""
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError as error:
        raise HistoryError(f"day {day!r}: expected YYYY-MM-DD") from error


def too_old(days: Sequence[Day], keep_days: int | None, keep_bytes: int | None) -> str | None:
    """Return the first day to be kept, None to keep all: by age against the newest day, and by size. The newest stays.

    Age is counted against the feed's newest day, not the clock: a recording of 2021 is not old because it is 2021.
    """
    if not days:
        return None
    newest = date.fromisoformat(days[-1].day).toordinal()
    kept, size = days[-1].day, 0
    for each in reversed(days):
        size += each.size_bytes
        aged = keep_days is not None and newest - date.fromisoformat(each.day).toordinal() >= keep_days
        if each is not days[-1] and (aged or (keep_bytes is not None and size > keep_bytes)):
            return kept
        kept = each.day
    return None
