"""A vendor's bars come into the history: whole, in our units, once, whatever breaks off meanwhile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from django.core.management import CommandError, call_command
from vendor_server import Handler, bars, vendors_at_hand

from processors.feeds.vendors import bars as bars_of_vendors
from processors.feeds.vendors.archive import plain_codes
from processors.feeds.vendors.base import VendorError
from processors.feeds.vendors.registry import ARCHIVES
from processors.history.parquet import ParquetHistory
from tasks_app.models import Feed, Instrument, Processor

pytestmark = pytest.mark.django_db
CODES = ["000001", "600000", "830799"]
WEEK = ("--start", "2021-12-01", "--end", "2021-12-07")  # five days of trading and a weekend
DAYS = ["2021-12-01", "2021-12-02", "2021-12-03", "2021-12-06", "2021-12-07"]


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    monkeypatch.setattr(bars_of_vendors, "FIRST_PAUSE_S", 0.01)
    with vendors_at_hand(monkeypatch) as found:
        yield found


@pytest.fixture
def kept(settings: Any, tmp_path: Path) -> ParquetHistory:
    """The history that the settings name, and a place for what is under way."""
    settings.STATE_DIR = tmp_path
    settings.HISTORY = {"store": "parquet", "path": str(tmp_path / "history")}
    return ParquetHistory(tmp_path / "history")


def import_bars(feed: str, vendor: str, *more: str) -> str:
    out = io.StringIO()
    call_command(
        "import_bars", feed, "--vendor", vendor, "--calls-per-min", "10000", "--timeout", "1", *more, stdout=out
    )
    return out.getvalue()


def expected(codes: list[str], every: str, begin: str = "2021-12-01", end: str = "2021-12-07") -> list[tuple[Any, ...]]:
    rows = [(datetime.fromisoformat(f"{moment}+08:00"), code, *numbers)
            for code in codes for moment, *numbers in bars(code, begin, end, every)]  # fmt: skip
    return sorted(rows)


def held(kept: ParquetHistory, feed: str) -> list[tuple[Any, ...]]:
    rows = kept.read(feed, columns=["snapshot", "time", "code", "price", "volume", "amount"]).read_all()
    assert rows["snapshot"].cast(pa.int64()).equals(rows["time"].cast(pa.int64())), "a bar's row stands at its end"
    columns = (rows[name].to_pylist() for name in ("time", "code", "price", "volume", "amount"))
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("vendor", list(ARCHIVES))
@pytest.mark.parametrize("every", ["day", "30min"])
def test_bars_come_with_their_end_their_close_and_in_shares_and_yuan(
    kept: ParquetHistory, vendors: type[Handler], vendor: str, every: str
) -> None:
    told = import_bars("bars", vendor, "--every", every, "--codes", "600000.SH,000001,830799,600099", *WEEK)
    assert held(kept, "bars") == expected(CODES, every)
    assert "4 codes asked for, 3 received, 1 missing" in told and "no bar of 600099" in told
    assert f"from 2021-12-01 {'15:00' if every == 'day' else '10:00'} to 2021-12-07 15:00\n" in told
    assert [day.day for day in kept.coverage("bars")] == DAYS
    headers = [header for header, _ in kept.headers("bars")]
    assert {header.interval_ms for header in headers} == {86_400_000 if every == "day" else 1_800_000}
    assert all(header.trading for header in headers if header.received)


def test_the_same_again_changes_nothing_and_leaves_nothing_behind(
    kept: ParquetHistory, vendors: type[Handler], tmp_path: Path
) -> None:
    asked = ("--codes", ",".join(CODES), *WEEK)
    assert "5 new, 0 there already" in import_bars("bars", "tushare", *asked)
    again = import_bars("bars", "tushare", *asked)
    assert "0 new, 5 there already and left as they are" in again
    assert held(kept, "bars") == expected(CODES, "day")
    assert [path.name for path in (tmp_path / "vendors").iterdir()] == ["calls-tushare.json"]


@pytest.mark.parametrize("mood", ["500", "html", "slow", "columns", "unknown"])
def test_an_import_broken_off_goes_on_and_asks_for_nothing_twice(
    kept: ParquetHistory, vendors: type[Handler], monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    monkeypatch.setattr(bars_of_vendors, "TRIES", 2)
    asked = ("--codes", ",".join(CODES), *WEEK)
    import_first = vendors.akshare
    answer = Handler.answer

    def third_is_bad(self: Handler, day: Any, *given: Any, **more: Any) -> None:
        day.mood = mood if day.calls >= 2 else "good"
        answer(self, day, *given, **more)

    with monkeypatch.context() as patched, pytest.raises(CommandError, match="give the command again to go on"):
        patched.setattr(Handler, "answer", third_is_bad)
        import_bars("bars", "akshare", *asked)
    assert kept.coverage("bars") == [], "no snapshot without all of its codes"
    import_first.mood = "good"
    import_bars("bars", "akshare", *asked)
    symbols = [given["symbol"] for _, given in vendors.akshare.asked]
    assert symbols == ["000001", "600000", "830799", "830799", "830799"]
    assert held(kept, "bars") == expected(CODES, "day")


@pytest.mark.parametrize("mood", ["500", "429", "cut"])
def test_a_call_that_failed_is_tried_again(kept: ParquetHistory, vendors: type[Handler], mood: str) -> None:
    vendors.tushare.mood, vendors.tushare.bad_calls = mood, 1
    import_bars("bars", "tushare", "--codes", ",".join(CODES), *WEEK)
    assert vendors.tushare.calls == 2 and held(kept, "bars") == expected(CODES, "day")


def test_a_spent_budget_is_waited_for(vendors: type[Handler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.feeds.vendors.limits.MINUTE_S", 0.5)
    vendor = ARCHIVES["akshare"](tmp_path, timeout_s=1.0, calls_per_min=2, waits=True)
    order = bars_of_vendors.Order(tuple(CODES), date(2021, 12, 1), date(2021, 12, 7), "day")
    began = datetime.now(UTC)
    found = bars_of_vendors.Bars(vendor, order, tmp_path / "here")
    assert len(list(found.fetch())) == found.calls == 3
    assert datetime.now(UTC) - began > timedelta(seconds=0.45)


def test_akshare_that_found_nothing_is_a_missing_code(kept: ParquetHistory, vendors: type[Handler]) -> None:
    vendors.akshare.mood, vendors.akshare.bad_calls = "nothing", 1
    told = import_bars("bars", "akshare", "--codes", ",".join(CODES), *WEEK)
    assert "2 received, 1 missing" in told and "no bar of 000001" in told


def test_a_long_range_is_asked_for_in_pieces_that_one_answer_can_hold(
    kept: ParquetHistory, vendors: type[Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHIVES["tushare"].most_rows, "stk_mins", 50)
    monkeypatch.setattr(bars_of_vendors, "AT_ONCE_ROWS", 40)
    told = import_bars("bars", "tushare", "--every", "30min", "--codes", "600000,000001", *WEEK)
    windows = [
        (given["ts_code"], given["start_date"][:10], given["end_date"][:10]) for _, given in vendors.tushare.asked
    ]
    assert windows == [
        ("000001.SZ", "2021-12-01", "2021-12-05"), ("600000.SH", "2021-12-01", "2021-12-05"),
        ("000001.SZ", "2021-12-06", "2021-12-07"), ("600000.SH", "2021-12-06", "2021-12-07"),
    ]  # fmt: skip
    assert held(kept, "bars") == expected(["000001", "600000"], "30min") and "rejected" not in told


def test_an_answer_that_was_cut_off_is_an_error(
    vendors: type[Handler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = ARCHIVES["tushare"](tmp_path, timeout_s=1.0)
    [piece] = vendor.pieces(CODES, date(2021, 12, 1), date(2021, 12, 7), "day")
    assert vendor.bars(piece, "day").num_rows == 15
    monkeypatch.setitem(ARCHIVES["tushare"].most_rows, "daily", 15)
    with pytest.raises(VendorError, match="daily was cut off at 15 rows"):
        vendor.bars(piece, "day")


def test_bars_that_nobody_asked_for_are_an_error(
    kept: ParquetHistory, vendors: type[Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars_of_vendors, "TRIES", 2)
    vendors.tushare.mood = "other days"
    with pytest.raises(CommandError, match="expected days from 2021-12-01 to 2021-12-07 of 600000"):
        import_bars("bars", "tushare", "--codes", "600000", *WEEK)
    assert kept.coverage("bars") == []


def test_all_that_is_listed_in_the_range_is_asked_for_unless_codes_are_named(
    kept: ParquetHistory, vendors: type[Handler]
) -> None:
    with pytest.raises(CommandError, match="no instruments are known"):
        import_bars("bars", "tushare", *WEEK)
    Instrument.objects.create(code="600000", name="a")
    Instrument.objects.create(code="600001", name="gone", delisted=date(2021, 11, 1))
    Instrument.objects.create(code="688001", name="comes", listed=date(2022, 1, 4))
    Instrument.objects.create(code="000001", name="elsewhere", calendar="24/7")
    assert "1 codes asked for, 1 received" in import_bars("bars", "tushare", *WEEK)
    assert {code for _, code, *_ in held(kept, "bars")} == {"600000"}


def test_what_can_not_be_is_told_before_anything_is_asked(kept: ParquetHistory, vendors: type[Handler]) -> None:
    processor = Processor.objects.create(name="vendor", kind="feed", class_path="processors.feeds.vendor:VendorFeed")
    Feed.objects.create(name="five", processor=processor, interval_ms=5000)
    codes = ("--codes", "600000")
    for feed, more, said in [
        ("five", (*codes, *WEEK), "feed five has a snapshot each 5 s; expected 86400 s"),
        ("bars", (*codes, "--start", "2021-12-07", "--end", "2021-12-01"), "expected days in order that are over"),
        ("bars", (*codes, "--start", "2021-12-01", "--end", "2999-12-01"), "expected days in order that are over"),
        ("bars", ("--codes", "AAPL", *WEEK), "code 'AAPL': expected six digits"),
    ]:
        with pytest.raises(CommandError, match=said):
            import_bars(feed, "tushare", *more)
    assert vendors.tushare.calls == 0 and kept.feeds() == []


def test_a_feed_of_running_totals_takes_bars_and_stays_what_it_is(kept: ParquetHistory, vendors: type[Handler]) -> None:
    processor = Processor.objects.create(name="vendor", kind="feed", class_path="processors.feeds.vendor:VendorFeed")
    Feed.objects.create(name="live", processor=processor, interval_ms=1_800_000, volume_mode="cumulative")
    import_bars("live", "akshare", "--every", "30min", "--codes", "600000", *WEEK)
    assert held(kept, "live") == expected(["600000"], "30min")
    described = kept.spec("live")
    assert described and described.volume_mode == "cumulative"


def test_codes_are_told_plainly() -> None:
    assert plain_codes(["600000.SH", " 000001", "600000"]) == ("000001", "600000")
