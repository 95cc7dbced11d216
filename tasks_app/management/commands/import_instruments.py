"""``manage.py import_instruments FILE|--vendor tushare``: what the codes stand for; may be given again."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from processors.feeds.vendors.base import VendorError
from processors.feeds.vendors.registry import ARCHIVES
from tasks_app import instruments

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Bring codes, names, sectors, tick and lot sizes and the days of listing and delisting from a CSV or Parquet "
        "file or from a vendor. Rows that are known are brought up to date; what is not right is named and left out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, help="with a header: code, name and, where known, the rest")
        parser.add_argument("--vendor", choices=ARCHIVES)
        parser.add_argument("--calendar", default="XSHG", help="of rows that name none")
        parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one call to a vendor")

    def handle(self, *args: Any, file: Path | None, vendor: str | None, calendar: str, **options: Any) -> None:
        if (file is None) == (vendor is None):
            raise CommandError("expected a file or --vendor, one of them")
        try:
            lines = instruments.read(file) if file else self._asked(vendor or "", options["timeout"])
            kept = instruments.keep(lines, calendar)
        except (instruments.Unusable, VendorError) as error:
            raise CommandError(str(error)) from error
        for said in kept.bad[:SHOWN]:
            self.stderr.write(said)
        if len(kept.bad) > SHOWN:
            self.stderr.write(f"and {len(kept.bad) - SHOWN} more")
        self.stdout.write(
            f"{file or vendor}: {kept.new} new, {kept.changed} changed, {kept.same} the same, {len(kept.bad)} not right"
        )

    def _asked(self, vendor: str, timeout_s: float) -> Iterable[instruments.Line]:
        state = settings.STATE_DIR / "vendors"
        state.mkdir(exist_ok=True)
        rows = ARCHIVES[vendor](state, timeout_s=timeout_s, waits=True).instruments()
        return ((f"row {number}", row) for number, row in enumerate(rows, 1))
