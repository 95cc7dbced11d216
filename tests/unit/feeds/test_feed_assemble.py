"""Snapshots: the grid, carried rows, completeness, slices, and which rows come too late or from too far ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from feed_support import QUOTED, SPEC, Ingest, clock, column, rows, stock, tick

from processors.contract import QUOTE_SCHEMA, SNAPSHOT_SCHEMA, slice_of
from processors.feeds.watermark import Watermark

CODES = [f"60000{i}" for i in range(6)]


def market(begin: str, steps: int, *, price: float = 10.0, every_s: int = 5) -> list[str]:
    """Return rows of all stocks every 5 s from a time on."""
    first = datetime.fromisoformat(begin)
    times = [first + timedelta(seconds=every_s * i) for i in range(steps)]
    return [f"{at},{code},{price},,100,1000,1" for at in times for code in CODES]


def test_a_snapshot_covers_the_interval_up_to_and_with_its_end() -> None:
    shots = Ingest().all(tick("09:31:00.001"), tick("09:31:05"), tick("09:31:05.001"), tick("09:31:07"))
    assert [clock(shot) for shot in shots] == ["09:31:05", "09:31:10"]
    assert [stock(shot)["volume"] for shot in shots] == [200, 200]


def test_change_is_against_the_previous_snapshot_whatever_the_source_says() -> None:
    shots = Ingest().all(tick("09:31:01", price=10), tick("09:31:06", price=10.5), tick("09:31:07", price=10.2))
    assert [stock(shot)["change"] for shot in shots] == [0, 0.2]


def test_a_stock_without_news_is_carried_with_its_age_and_nothing_else() -> None:
    lines = [tick(f"09:31:{s:02}", "B", 20) for s in range(1, 40, 5)]
    shots = Ingest().all(tick("09:31:01", "A", 10, kind=1), *lines)
    ages = [stock(shot, "A").get("age_s") for shot in shots]
    assert ages == [0, 9, 14, 19, None, None, None, None]
    carried = stock(shots[1], "A")
    assert (carried["price"], carried["time"]) == (10, shots[0].time - 4000)
    assert [carried[name] for name in ("change", "volume", "amount", "type")] == [0, 0, 0, 0]
    assert [(shot.expected, shot.received) for shot in shots[:5]] == [(2, 2), (2, 1), (2, 1), (2, 1), (1, 1)]


def test_a_stock_that_comes_back_changes_against_its_last_price() -> None:
    lines = [tick(f"09:31:{s:02}", "B", 20) for s in range(1, 60, 5)]
    shots = Ingest().all(tick("09:31:01", "A", 10), *lines, tick("09:31:57", "A", 7))
    assert stock(shots[-1], "A")["change"] == -3


def test_nothing_but_aged_out_rows_is_no_snapshot() -> None:
    shots = Ingest().all(*market("2021-12-01 11:29:55", 2), *market("2021-12-01 13:00:05", 2))
    assert [clock(shot) for shot in shots] == [
        "11:29:55", "11:30:00", "11:30:05", "11:30:10", "11:30:15", "11:30:20", "13:00:05", "13:00:10",
    ]  # fmt: skip
    assert [shot.session[11:] for shot in shots] == ["am", "am", *["lunch"] * 4, "pm", "pm"]
    assert [shot.trading for shot in shots] == [True, True, False, False, False, False, True, True]


def test_slices_by_code_in_the_order_of_first_appearance() -> None:
    codes = ["000300", "000001", "600000", "BRK.B", "A", "Z"]
    shots = Ingest().all(*[tick("09:31:01", c) for c in codes], *[tick("09:31:06", c) for c in reversed(codes)])
    for shot in shots:
        for number, part in enumerate(shot.slices):
            assert part.column("code").to_pylist() == [
                c for c, s in zip(codes, slice_of(codes, 2), strict=True) if s == number
            ]


def test_schemas_with_and_without_quotes() -> None:
    (plain,) = Ingest().all(tick("09:31:01"))
    assert plain.slices[0].schema == SNAPSHOT_SCHEMA
    (quoted,) = Ingest().all(tick("09:31:01") + ",9.9,10.1,100,200", header=QUOTED)
    assert quoted.slices[0].schema == QUOTE_SCHEMA
    assert (stock(quoted)["bid"], stock(quoted)["ask_size"]) == (9.9, 200)


def test_a_quote_that_is_bad_is_nan_on_the_bus() -> None:
    (shot,) = Ingest().all(tick("09:31:01") + ",0,10.1,100,200", header=QUOTED)
    assert np.isnan(stock(shot)["bid"]) and np.isnan(stock(shot)["ask_size"])
    assert stock(shot)["price"] == 10


def test_a_row_from_2030_moves_nothing() -> None:
    ingest = Ingest()
    lines = market("2021-12-01 09:31:00", 20)
    for place in (40, 0, len(lines) + 2):
        lines.insert(place, "2030-01-01 00:00:00,600003,99,,1,99,1")
    shots = ingest.all(*lines)
    assert len(shots) == 20
    assert ingest.tally.rejected == {"ahead": 3}
    assert set(column(shots, "price")) == {10.0}


def test_a_bar_two_years_old_is_late() -> None:
    ingest = Ingest()
    lines = market("2021-12-01 09:31:00", 20)
    lines[30:30] = ["2019-12-02 10:00:00,600002,99,,1,99,1"]
    assert len(ingest.all(*lines)) == 20
    assert ingest.tally.rejected == {"late": 1}


def test_two_weeks_sent_twice_are_late_not_played_again() -> None:
    ingest = Ingest()
    days = [market(f"2021-12-{day:02} 09:31:00", 5) for day in range(1, 15)]
    once = [line for day in days for line in day]
    last = market("2021-12-15 09:31:00", 5)
    shots = ingest.all(*once, *once[30 * 3 :], *last)
    assert [shot.time for shot in shots] == sorted({shot.time for shot in shots})
    undisturbed = Ingest().all(*once, *last)
    assert [shot.slices for shot in shots] == [shot.slices for shot in undisturbed]
    assert ingest.tally.rejected["late"] + ingest.tally.rejected["duplicate"] == len(once) - 90
    assert ingest.tally.rejected["late"] > 300


def test_a_hole_of_three_days_is_passed_over() -> None:
    ingest = Ingest()
    shots = ingest.all(*market("2021-12-01 14:59:00", 3), *market("2021-12-04 09:31:00", 3))
    assert not ingest.tally.rejected
    assert len([shot for shot in shots if shot.received]) == 6
    assert shots[-1].session == "2021-12-04/closed"


def test_row_by_row_gives_the_same_as_all_at_once() -> None:
    lines = [
        *market("2021-12-01 14:59:00", 5),
        *market("2021-12-02 09:31:00", 5),
        "2030-01-01 00:00:00,600003,9,,1,9,1",
    ]
    lines += market("2021-12-02 09:32:00", 5)
    single, together = Ingest(), Ingest()
    shots = [shot for line in lines for shot in single.feed(rows(line))] + single.end()
    assert [(s.time, s.slices) for s in shots] == [(s.time, s.slices) for s in together.all(*lines)]
    assert single.tally.rejected == together.tally.rejected == {"ahead": 1}


def test_a_little_disorder_is_mended_within_the_grace() -> None:
    lines = market("2021-12-01 09:31:00", 10)
    mixed = [line for i in range(0, 60, 12) for line in (*lines[i + 6 : i + 12], *lines[i : i + 6])]
    ordered, mended, dropped = Ingest(event_grace_ms=10_000), Ingest(event_grace_ms=10_000), Ingest(event_grace_ms=0)
    assert [s.slices for s in mended.all(*mixed)] == [s.slices for s in ordered.all(*lines)]
    assert not mended.tally.rejected
    dropped.all(*mixed)
    assert dropped.tally.rejected["late"] > 0


def test_one_stock_with_a_wrong_clock_is_one_voice() -> None:
    watermark = Watermark(60_000)
    code = np.array([0, 1, 2, 3, 3, 3, 3, 3, 3, 0, 1, 2])
    time = np.where(code == 3, 10**12, 1000 + np.arange(12))
    watermark.advance(code, time, final=True)
    assert watermark.now < 2000


def test_a_source_that_says_so_closes_an_interval_without_rows() -> None:
    ingest = Ingest(event_grace_ms=None)
    ingest.assembler.add(ingest.validate(rows(tick("09:31:01"))), final=True)
    (first, second) = ingest.assembler.close(ingest.assembler.watermark.now + 9_000)
    assert (first.received, second.received, second.expected) == (1, 0, 1)
    ingest.assembler.add(ingest.validate(rows(tick("09:31:02"))), final=True)
    assert ingest.tally.rejected == {"late": 1}


def test_stocks_may_be_listed_and_delisted_on_the_way() -> None:
    old = [tick(f"09:31:{s:02}", "OLD") for s in range(1, 20, 5)]
    new = [tick(f"09:31:{s:02}", "NEW") for s in range(21, 60, 5)]
    shots = Ingest().all(*old, *new)
    assert [shot.expected for shot in shots] == [1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("interval_ms", [100, 1000, 60_000])
def test_the_grid_is_the_interval(interval_ms: int) -> None:
    shots = Ingest(replace(SPEC, interval_ms=interval_ms, carry_limit_s=0)).all(*market("2021-12-01 09:31:00", 100))
    assert all(shot.time % interval_ms == 0 for shot in shots)
    assert sum(column([shot], "volume").sum() for shot in shots) == 100 * 6 * 100
