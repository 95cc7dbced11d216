"""``manage.py produce``: a server that pushes CSV lines to whoever connects, from a file, the simulator or a feed."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from processors.bus import Bus, connect
from processors.feeds import uniform
from processors.feeds.produce import LineServer
from processors.feeds.tally import SourceError


class Command(BaseCommand):
    help = "Push ticks as CSV lines (time,stock_code,price,change,volume,amount,type) to whoever connects."

    def add_arguments(self, parser: ArgumentParser) -> None:
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--file", type=Path, help="CSV (gzip, zip) or Parquet; begins when somebody connects")
        source.add_argument("--simulate", type=int, metavar="CODES", help="a made-up market of so many stocks")
        source.add_argument("--feed", help="what a feed of this platform publishes; volume in shares")
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
        parser.add_argument("--port", type=int, default=9999, help="0 takes a free one (%(default)s)")
        parser.add_argument("--pace", type=float, default=1.0, help="of a file: times real time, 0 as fast as taken")
        parser.add_argument("--loop", action="store_true", help="begin a file again at its end")
        parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="of the simulator")
        parser.add_argument("--seed", type=int, default=1, help="of the simulator")
        parser.add_argument("--zone", help="of the times; UTC for the simulator, the feed's, else Asia/Shanghai")
        parser.add_argument("--header", action="store_true", help="send a first line of names, and quotes as well")

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        zone, rows = _source(options, stopping)
        lines = uniform.Lines(zone, quotes=options["header"])
        try:
            server = LineServer(
                options["host"],
                options["port"],
                header=lines.header if options["header"] else b"",
                hold=options["file"] is not None,
            )
        except OSError as error:
            raise CommandError(f"cannot listen on {options['host']}:{options['port']}: {error.strerror}") from error
        self.stdout.write(f"listening on {server.address[0]}:{server.address[1]}, times in {zone}")
        self.stdout.flush()
        try:
            server.serve(map(lines, uniform.small(rows)), stopping)
        except SourceError as error:
            raise CommandError(str(error)) from error


def _source(options: dict[str, Any], stopping: threading.Event) -> tuple[str, Iterator[pa.RecordBatch | pa.Table]]:
    """Return the zone of the times, and the rows."""
    if options["file"]:
        zone = options["zone"] or "Asia/Shanghai"
        return zone, uniform.of_file(
            options["file"], zone, pace=options["pace"], loop=options["loop"], stopping=stopping
        )
    if options["simulate"]:
        rows = uniform.of_simulator(options["simulate"], options["every"], options["seed"], stopping)
        return options["zone"] or "UTC", rows
    bus = Bus(connect(settings.REDIS_URL), options["feed"])
    spec, last = bus.spec(), bus.last()
    if spec is None:
        raise CommandError(f"feed {options['feed']} has published nothing yet: start it first")
    published = uniform.of_feed(bus, last.seq if last else 0, stopping)
    return options["zone"] or spec.zone, (table for _, table in published)
