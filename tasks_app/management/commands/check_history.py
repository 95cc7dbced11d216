"""``manage.py check_history [FEED …]``: reads everything that is kept and says what is wrong."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from processors.history.store import HistoryError
from tasks_app import history


class Command(BaseCommand):
    help = (
        "Read all of the history, or of some feeds, and compare it with what was written. Exits with 1 if not the same."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("feeds", nargs="*", help="all unless given")

    def handle(self, *args: Any, feeds: list[str], **options: Any) -> None:
        store = history.default()
        problems = 0
        try:
            for feed in feeds or store.feeds():
                history.described(store, feed)
                days = store.coverage(feed) if not (found := list(store.check(feed))) else []
                problems += len(found)
                for sentence in found:
                    self.stderr.write(sentence)
                rows = sum(day.rows for day in days)
                self.stdout.write(
                    f"{feed}: {len(found)} problems"
                    if found
                    else f"{feed}: {len(days)} days, {rows} rows, all as written"
                )
        except HistoryError as error:
            raise CommandError(str(error)) from error
        if problems:
            raise CommandError(f"{problems} problems")
