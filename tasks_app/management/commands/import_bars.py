"""``manage.py import_bars FEED --vendor tushare …``: bars of past days into the history; may be begun again."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from processors.feeds.tally import Tally
from processors.feeds.vendors.archive import EVERY_MS, ZONE, plain_codes
from processors.feeds.vendors.bars import Bars, Order
from processors.feeds.vendors.base import VendorError
from processors.feeds.vendors.registry import ARCHIVES
from processors.history import transfer
from processors.history.store import History, HistoryError
from processors.snapshot import FeedSpec
from tasks_app import history, instruments
from tasks_app.management.bar import Bar
from tasks_app.models import Feed
from tasks_app.supervisor import feed_spec

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Bring a vendor's bars of past days into the history of a feed, as snapshots. What has come already is not "
        "asked for again, and what is there is left: a command that was broken off may be given again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("feed", help="its interval has to be that of the bars; one that is not known is described")
        parser.add_argument("--vendor", required=True, choices=ARCHIVES)
        parser.add_argument("--codes", help="600000,000001; all known instruments of the feed's calendar unless told")
        parser.add_argument("--start", required=True, type=date.fromisoformat, metavar="DAY", help="YYYY-MM-DD")
        parser.add_argument("--end", required=True, type=date.fromisoformat, metavar="DAY", help="counted, and over")
        parser.add_argument("--every", default="day", choices=EVERY_MS)
        parser.add_argument("--calls-per-min", type=int, help="that your plan allows; else the vendor's usual number")
        parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one call")

    def handle(self, *args: Any, feed: str, vendor: str, every: str, **options: Any) -> None:
        store = history.default()
        try:
            described, spec = self._specs(store, feed, every)
            order = self._order(spec, every, **options)
            store.describe(described)
            state = settings.STATE_DIR / "vendors"
            state.mkdir(exist_ok=True)
            source = ARCHIVES[vendor](
                state, timeout_s=options["timeout"], calls_per_min=options["calls_per_min"], waits=True
            )
            self._import(store, spec, Bars(source, order, state / f"{feed}-{vendor}-{every}"))
        except (VendorError, HistoryError) as error:
            raise CommandError(str(error)) from error

    def _specs(self, store: History, name: str, every: str) -> tuple[FeedSpec, FeedSpec]:
        """Return what the history is told of the feed, and what the bars are: shares per interval."""
        row = Feed.objects.filter(name=name).first()
        known = FeedSpec(**feed_spec(row)) if row is not None else store.spec(name)
        described = known or FeedSpec(name, interval_ms=EVERY_MS[every])
        if described.interval_ms != EVERY_MS[every]:
            said = f"feed {name} has a snapshot each {described.interval_ms / 1000:g} s"
            raise CommandError(f"{said}; expected {EVERY_MS[every] / 1000:g} s for bars of {every}: name another feed")
        return described, replace(described, volume_unit="shares", volume_mode="interval")

    def _order(self, spec: FeedSpec, every: str, *, start: date, end: date, codes: str | None, **_: Any) -> Order:
        today = datetime.now(ZoneInfo(ZONE)).date()
        if not start <= end < today:
            raise CommandError(f"from {start} to {end}: expected days in order that are over, before {today}")
        found = codes.split(",") if codes else instruments.codes_listed(spec.calendar, start, end)
        if not found:
            raise CommandError("no instruments are known: give --codes, or manage.py import_instruments first")
        return Order(plain_codes(found), start, end, every)

    def _import(self, store: History, spec: FeedSpec, bars: Bars) -> None:
        try:
            for _ in Bar(bars.source, bars.calls, "calls").watching(bars.fetch(), lambda: bars.fetched):
                pass
        except VendorError as error:
            raise CommandError(f"{error}; what has come is kept: give the command again to go on") from error
        self._completeness(bars)
        tally = Tally()
        snapshots = Bar(spec.name, bars.received.total(), "bars").watching(
            transfer.of_bars(bars, spec, tally), lambda: tally.received
        )
        moved = transfer.bring(store, spec.name, snapshots)
        bars.forget()
        old = moved.snapshots - moved.new
        self.stdout.write(
            f"{spec.name}: {moved.snapshots} snapshots of {moved.rows} rows, {moved.new} new, {old} there already"
            + (" and left as they are" if old else "")
        )
        for reason, count in tally.rejected.most_common():
            self.stdout.write(f"{spec.name}: {count} bars rejected: {reason}")

    def _completeness(self, bars: Bars) -> None:
        """Say what was asked for and what has come."""
        asked, missing = bars.order.codes, bars.missing
        ends = [f"{each.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M}" for each in (bars.first, bars.last) if each]
        span = f", from {ends[0]} to {ends[1]}" if ends else ""
        self.stdout.write(
            f"{bars.source}: {len(asked)} codes asked for, {len(asked) - len(missing)} received, {len(missing)} missing"
            f"; {bars.received.total()} bars{span}"
        )
        if missing:
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            self.stdout.write(f"{bars.source}: no bar of {', '.join(missing[:SHOWN])}{more}")
