"""``manage.py tidy_history``: now what the janitor has done every ten minutes."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from processors.history.store import HistoryError
from tasks_app import history, tidying


class Command(BaseCommand):
    help = "Put together what is in pieces of ended days, and delete what is older or bigger than a feed is to keep."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for done in tidying.tidy(history.default(), now_ms=time.time_ns() // 1_000_000):
                self.stdout.write(done)
        except HistoryError as error:
            raise CommandError(str(error)) from error
