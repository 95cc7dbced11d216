"""``manage.py import_history FEED FILE …``: ticks of files into the history; may be broken off and begun again."""

from __future__ import annotations

import gzip
import time
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from django.core.management.base import BaseCommand, CommandError

from processors.feeds.fields import written
from processors.feeds.files import is_parquet
from processors.feeds.infer import infer
from processors.feeds.tally import SourceError, Tally
from processors.history import transfer
from processors.history.store import HistoryError
from processors.snapshot import FeedSpec
from tasks_app import history
from tasks_app.management.bar import Bar
from tasks_app.models import Feed
from tasks_app.supervisor import feed_spec

GIVEN = ("zone", "calendar", "volume_unit", "volume_mode")


class Command(BaseCommand):
    help = (
        "Bring ticks of files (CSV, gzip too, or Parquet) into the history of a feed, as snapshots. What is there "
        "already is left: a command that was broken off may be given again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("feed", help="its settings count; of one that is not known they are inferred, and said")
        parser.add_argument("files", nargs="+", type=Path, help="each in the order of time")
        parser.add_argument("--columns", metavar="FIELD=COLUMN,…", help="where their names are not the usual ones")
        parser.add_argument("--zone", help="IANA name")
        parser.add_argument("--calendar", help="such as XSHG, or 24/7")
        parser.add_argument("--interval", type=float, help="seconds between snapshots")
        parser.add_argument("--volume-unit", choices=["shares", "lots"])
        parser.add_argument("--volume-mode", choices=["interval", "cumulative"])

    def handle(self, *args: Any, feed: str, files: list[Path], **options: Any) -> None:
        store = history.default()
        try:
            columns = written(options["columns"]) if options["columns"] else {}
            spec = self._spec(feed, files[0], columns, options)
            store.describe(spec)
            for path in files:
                self._file(store, spec, path, columns)
        except (SourceError, HistoryError) as error:
            raise CommandError(str(error)) from error

    def _spec(self, name: str, path: Path, columns: dict[str, str], options: dict[str, Any]) -> FeedSpec:
        row, kept = Feed.objects.filter(name=name).first(), history.default().spec(name)
        given = {key: options[key] for key in GIVEN if options.get(key)}
        if options.get("interval"):
            given["interval_ms"] = round(options["interval"] * 1000)
        if row is not None or kept is not None:
            known = FeedSpec(**feed_spec(row)) if row is not None else kept
            assert known is not None
            return replace(known, **given)
        fields, said = infer(path, mapping=columns, **given, name=name)
        for sentence in said:
            self.stdout.write(f"{path.name}: {sentence}")
        return FeedSpec(**fields)

    def _file(self, store: Any, spec: FeedSpec, path: Path, columns: dict[str, str]) -> None:
        tally, began = Tally(), time.monotonic()
        bar = Bar(path.name, rows_in(path), "rows")
        snapshots = bar.watching(transfer.of_file(path, spec, tally, columns), lambda: tally.received)
        moved = transfer.bring(store, spec.name, snapshots)
        seconds = max(time.monotonic() - began, 1e-9)
        self.stdout.write(
            f"{path.name}: {moved.snapshots} snapshots of {moved.rows} rows, {moved.new} new, "
            f"{moved.snapshots - moved.new} there already; {tally.received / seconds:,.0f} ticks/s"
        )
        for reason, count in tally.rejected.most_common():
            self.stdout.write(f"{path.name}: {count} rows rejected: {reason}")


def rows_in(path: Path) -> int:
    """Return about how many rows a file has; 0 for one that can't be read (whoever reads it says so)."""
    try:
        if is_parquet(path):
            return pq.read_metadata(path).num_rows
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return sum(part.count(b"\n") for part in iter(lambda: file.read(2**22), b""))
    except (OSError, ValueError):
        return 0
