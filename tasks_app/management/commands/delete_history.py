"""``manage.py delete_history FEED --before DAY``: what is kept of a feed, up to a day."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from processors.history.store import HistoryError
from tasks_app import history


class Command(BaseCommand):
    help = "Delete the days of a feed's history before a day. They may be written again afterwards."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("feed")
        parser.add_argument("--before", required=True, metavar="DAY", help="YYYY-MM-DD in the feed's zone")

    def handle(self, *args: Any, feed: str, before: str, **options: Any) -> None:
        store = history.default()
        try:
            history.described(store, feed)
            self.stdout.write(f"{feed}: {store.delete_before(feed, before)} days deleted")
        except HistoryError as error:
            raise CommandError(str(error)) from error
