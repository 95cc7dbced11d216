"""Opens the history that the platform is set to, for its own processes and for people's Python:

from tasks_app import history
table = history.read("ashare", start="2021-12-01 09:30", codes=["600000"]).read_all()
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from processors.history.results import ResultArchive
from processors.history.store import EARLIEST_MS, LATEST_MS, History, HistoryError, UnknownFeed
from processors.snapshot import FeedSpec

Moment = int | str | datetime


def open_history(order: dict[str, Any]) -> History:
    """Return the store that ``order`` names: ``{"store": "parquet", "path": directory}`` or ``{"store": "mongodb"}``.

    Django is needed for MongoDB only.
    """
    if order["store"] == "mongodb":
        from tasks_app.history_mongo.store import open_mongo

        return open_mongo()
    from processors.history.parquet import ParquetHistory

    return ParquetHistory(Path(order["path"]))


def default() -> History:
    """Return the store of the settings: those of the environment, as for every process of the platform."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
    from django.conf import settings

    return open_history(settings.HISTORY)


def read(
    feed: str,
    start: Moment | None = None,
    end: Moment | None = None,
    codes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.RecordBatchReader:
    """Return the rows of a feed's snapshots with ``start`` ≤ time < ``end``, in order of snapshot, then code.

    Moments are ms UTC, datetimes, or ISO texts; without a zone they are local to the feed. Columns are those of
    ``processors.history.store.ROWS``. The reader gives Arrow batches as they are read: ``read_all()`` takes memory for
    all, iterating for one. Raises HistoryError for a feed, moment or column that can't be.
    """
    store = default()
    begin, until = between(described(store, feed).zone, start, end)
    return store.read(feed, begin, until, codes, columns)


def results(
    task: int, start: Moment | None = None, end: Moment | None = None, zone: str = "UTC"
) -> pa.RecordBatchReader:
    """Return what a task that keeps its results said of each stock: a row per stock and snapshot with its cluster,
    forecast, median, bands …, for ``start`` ≤ time of the snapshot < ``end``.

    Moments are as in ``read``, local to ``zone``.
    """
    return archive().stocks(task, *between(zone, start, end))


def archive() -> ResultArchive:
    """Return the kept results of all tasks, as the settings have them."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
    from django.conf import settings

    return ResultArchive(settings.RESULTS_DIR)


def described(store: History, feed: str) -> FeedSpec:
    """Return what the numbers of a feed in the history mean; raise UnknownFeed."""
    spec = store.spec(feed)
    if spec is None:
        raise UnknownFeed(feed, store.feeds())
    return spec


def between(zone: str, start: Moment | None, end: Moment | None) -> tuple[int, int]:
    """Return a range in ms UTC; None is open."""
    low = EARLIEST_MS if start is None else moment_ms(start, zone)
    return low, LATEST_MS if end is None else moment_ms(end, zone)


def moment_ms(moment: Moment, zone: str) -> int:
    """Return ms UTC of a moment; raise HistoryError for a text that is none."""
    if isinstance(moment, int):
        return moment
    try:
        if isinstance(moment, str) and moment.isdecimal():
            return int(moment)
        found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        found = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))
        return int(found.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise HistoryError(f"moment {moment!r}: expected ms since 1970 or YYYY-MM-DD HH:MM:SS") from error
