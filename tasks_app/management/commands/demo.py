"""``manage.py demo``: makes sure that there is a feed and that a model follows it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks_app import demo


class Command(BaseCommand):
    help = "Follow the recording that comes with the project, a file, or a made-up market. Twice changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--no-demo", action="store_true")
        what.add_argument("--replay", metavar="FILE", type=lambda text: Path(text).expanduser().absolute())
        what.add_argument("--simulate", metavar="CODES", type=int)
        parser.add_argument("--every", metavar="SECONDS", type=float)
        parser.add_argument("--columns", metavar="FIELD=COLUMN,…")
        parser.add_argument("--zone")
        parser.add_argument("--calendar")
        parser.add_argument("--interval", metavar="SECONDS", type=float)
        parser.add_argument("--pace", metavar="TIMES", type=float)
        parser.add_argument("--volume-unit", choices=["shares", "lots"])
        parser.add_argument("--volume-mode", choices=["interval", "cumulative"])

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for line in demo.start(demo.source(demo.Wish.of(options))):
                self.stdout.write(line)
        except demo.Unusable as error:
            raise CommandError(str(error)) from error
