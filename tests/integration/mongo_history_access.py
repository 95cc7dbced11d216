"""A test's own look at a history in MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pymongo

from tasks_app.history_mongo.store import MongoHistory


@contextmanager
def opened(url: str) -> Iterator[MongoHistory]:
    with pymongo.MongoClient(url) as client:
        yield MongoHistory(client.get_default_database)
