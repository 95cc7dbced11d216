"""``manage.py copy_history parquet mongodb [FEED …]``: from one store to the other, and compared afterwards."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from processors.history import transfer
from processors.history.store import History, HistoryError
from tasks_app import history

STORES = ("parquet", "mongodb")


class Command(BaseCommand):
    help = (
        "Copy the history from one store to the other (that of HISTORY_DIR, that of MONGODB_URL) and compare both day "
        "by day. What is there already is left: a command that was broken off may be given again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", choices=STORES)
        parser.add_argument("target", choices=STORES)
        parser.add_argument("feeds", nargs="*", help="all unless given")

    def handle(self, *args: Any, source: str, target: str, feeds: list[str], **options: Any) -> None:
        if source == target:
            raise CommandError(f"source and target are both {source}: expected two stores")
        if not settings.MONGODB_URL:
            raise CommandError("MONGODB_URL is not set: there is only one store")
        one, other = _opened(source), _opened(target)
        try:
            for feed in feeds or one.feeds():
                moved = transfer.copy(one, other, feed)
                self.stdout.write(
                    f"{feed}: {moved.snapshots} snapshots of {moved.rows} rows, {moved.new} new; the same in both"
                )
        except HistoryError as error:
            raise CommandError(str(error)) from error


def _opened(store: str) -> History:
    return history.open_history({"store": store, "path": str(settings.HISTORY_DIR)})
