"""Has the history tidied every few minutes, beside the janitor's rounds: days put together, old ones deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import structlog
from django.db import DatabaseError, connection

from processors.history.store import History, HistoryError, too_old
from tasks_app import history
from tasks_app.models import Feed

log = structlog.get_logger()

EVERY_S = 600.0


def tidy(store: History, *, now_ms: int) -> Iterator[str]:
    """Delete what is older or bigger than each feed is to keep, put ended days together, and tell what was done."""
    for feed in store.feeds():
        row = Feed.objects.filter(name=feed).first()
        days, size_mb = (row.keep_days, row.keep_mb) if row else (None, None)
        first = too_old(store.coverage(feed), days, size_mb * 2**20 if size_mb else None)
        if first is not None:
            yield f"{feed}: {store.delete_before(feed, first)} days before {first} deleted"
        for day in store.compact(feed, now_ms=now_ms):
            yield f"{feed}: {day} put together"


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
