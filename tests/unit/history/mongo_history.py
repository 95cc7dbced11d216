"""The MongoDB store through djongo, in a process whose own settings have none."""

from __future__ import annotations

from django.db.utils import ConnectionHandler

from tasks_app.history_mongo.store import MongoHistory, through


def open_at(url: str, name: str, limit_ms: int = 3_000) -> MongoHistory:
    settings = {
        "ENGINE": "tasks_app.history_mongo",
        "NAME": name,
        "ENFORCE_SCHEMA": False,
        "CLIENT": {"host": url, "serverSelectionTimeoutMS": limit_ms},
    }
    return through(ConnectionHandler({"default": {}, "history": settings}))
