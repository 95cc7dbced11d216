"""Has the history tidied every few minutes, beside the janitor's rounds: days put together, old ones deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta

import structlog
from django.db import DatabaseError, connection

from processors.history.store import RAW, History, HistoryError, too_old
from tasks_app import history
from tasks_app.models import Feed, Task

log = structlog.get_logger()

EVERY_S = 600.0


def tidy(store: History, *, now_ms: int) -> Iterator[str]:
    """Delete what is older or bigger than each feed is to keep, put ended days together, and tell what was done.

    A feed's ticks are bounded as its snapshots are, and the kept results of its tasks by age.
    """
    for feed in store.feeds():
        row = Feed.objects.filter(name=feed.removesuffix(RAW)).first()
        days, size_mb = (row.keep_days, row.keep_mb) if row else (None, None)
        first = too_old(store.coverage(feed), days, size_mb * 2**20 if size_mb else None)
        if first is not None:
            yield f"{feed}: {store.delete_before(feed, first)} days before {first} deleted"
        for day in store.compact(feed, now_ms=now_ms):
            yield f"{feed}: {day} put together"
    yield from _tidy_results()


def _tidy_results() -> Iterator[str]:
    archive = history.archive()
    for task in Task.objects.filter(pk__in=archive.tasks(), feed__keep_days__gt=0).select_related("feed"):
        assert task.feed is not None and task.feed.keep_days is not None  # by the filter
        days = [each.day for each in archive.days(task.pk)]
        first = (date.fromisoformat(days[-1]) - timedelta(days=task.feed.keep_days - 1)).isoformat() if days else ""
        if days and days[0] < first:
            yield f"results of task {task.pk}: {archive.delete_before(task.pk, first)} days before {first} deleted"


def begin() -> None:
    """Tidy from now on, on a thread of its own. Two processes that do it at once do no harm."""
    threading.Thread(target=_run, name="tidying", daemon=True).start()


def _run() -> None:
    while True:
        time.sleep(EVERY_S)
        try:
            for done in tidy(history.default(), now_ms=time.time_ns() // 1_000_000):
                log.info("history tidied", done=done)
        except (HistoryError, DatabaseError) as error:
            log.warning("history not tidied", error=str(error)[:300])
        finally:
            connection.close()
