"""Duplicates, replaced rows, and running totals turned into steps."""

from __future__ import annotations

from dataclasses import replace

from feed_support import ALWAYS, SPEC, Ingest, column, rows, stock, tick

TOTALS = replace(SPEC, volume_mode="cumulative")


def volumes(ingest: Ingest, *totals: object) -> list[float]:
    """Return the volume per snapshot where each 5 s bring the next total."""
    lines = [tick(f"10:{i // 12:02}:{5 * (i % 12):02}", volume=total) for i, total in enumerate(totals)]
    return column(ingest.all(*lines), "volume").tolist()


def test_an_identical_row_is_a_duplicate() -> None:
    ingest = Ingest()
    (snapshot,) = ingest.all(tick("09:31:01"), tick("09:31:01"), tick("09:31:02"))
    assert ingest.tally.rejected == {"duplicate": 1}
    assert ingest.tally.samples["duplicate"] == ["600000 at 2021-12-01T01:31:01.000Z"]
    assert stock(snapshot)["volume"] == 200


def test_of_two_rows_of_the_same_time_the_last_received_wins() -> None:
    ingest = Ingest()
    (snapshot,) = ingest.all(tick("09:31:01", price=10), tick("09:31:01", price=11), tick("09:31:01", "600001", 11))
    assert ingest.tally.noted == {"replaced": 1}
    assert not ingest.tally.rejected
    assert stock(snapshot)["price"] == 11
    assert stock(snapshot)["volume"] == 100


def test_duplicates_are_found_across_batches() -> None:
    ingest = Ingest()
    ingest.feed(rows(tick("09:31:01"), tick("09:31:01", "600001")))
    ingest.feed(rows(tick("09:31:01"), tick("09:31:01", "600001", 12)))
    ingest.end()
    assert ingest.tally.rejected == {"duplicate": 1}
    assert ingest.tally.noted == {"replaced": 1}


def test_an_interval_is_last_price_sums_and_sign_of_the_signed_volume() -> None:
    (snapshot,) = Ingest().all(
        tick("09:31:02", price=11, volume=300, kind=-1),
        tick("09:31:01", price=10, volume=100, kind=1),
        tick("09:31:03", "1"),
    )
    row = stock(snapshot)
    assert (row["price"], row["volume"], row["amount"], row["type"]) == (11, 400, 2000, -1)


def test_without_volume_there_is_no_sign() -> None:
    (snapshot,) = Ingest().all(tick("09:31:01", volume=0, kind=1))
    assert stock(snapshot)["type"] == 0


def test_totals_become_steps_and_the_first_one_has_none() -> None:
    ingest = Ingest(TOTALS)
    assert volumes(ingest, 5000, 5100, 5100, 5400) == [0, 100, 0, 300]
    assert ingest.tally.noted == {"first_total": 1}


def test_a_total_that_falls_is_counted_and_never_negative() -> None:
    ingest = Ingest(TOTALS)
    assert volumes(ingest, 5000, 5100, 40, 90) == [0, 100, 0, 50]
    assert ingest.tally.noted["total_fell"] == 1


def test_a_total_that_dips_and_comes_back_is_no_spike() -> None:
    assert volumes(Ingest(TOTALS), 5000, 5100, 0, 5150, 5200) == [0, 100, 0, 50, 50]


def test_several_totals_in_one_interval() -> None:
    ingest = Ingest(TOTALS)
    (_, second) = ingest.all(
        *[tick(f"10:00:{s:02}", volume=v) for s, v in ((0, 100), (1, 150), (2, 0), (3, 180), (4, 200))]
    )
    assert stock(second)["volume"] == 100
    assert ingest.tally.noted["total_fell"] == 1


def test_a_new_day_begins_at_0_whether_the_total_fell_or_not() -> None:
    for first_of_day in (70, 7000):
        ingest = Ingest(TOTALS)
        next_day = [f"2021-12-02 09:31:0{i},600000,10,,{first_of_day + i},1000,0" for i in range(5)]
        snapshots = ingest.all(tick("14:59:50", volume=5000), tick("14:59:55", volume=5100), *next_day)
        assert [stock(shot)["volume"] for shot in snapshots if shot.received] == [0, 100, first_of_day, 4]
        assert ingest.tally.noted == {"first_total": 1}


def test_where_the_market_never_closes_a_day_is_nothing_special() -> None:
    ingest = Ingest(replace(ALWAYS, volume_mode="cumulative"))
    lines = [
        "2021-12-01 23:59:55,BTC,9,,500,500,0",
        "2021-12-02 00:00:00,BTC,9,,600,600,0",
        "2021-12-02 00:00:05,BTC,9,,650,650,0",
    ]
    assert column(ingest.all(*lines), "volume").tolist() == [0, 100, 50]


def test_totals_are_kept_over_batches_and_per_stock() -> None:
    ingest = Ingest(TOTALS)
    out = []
    for second, (a, b) in enumerate([(100, 1000), (150, 1000), (170, 1300)]):
        out += ingest.feed(
            rows(tick(f"10:00:{5 * second:02}", "A1", volume=a), tick(f"10:00:{5 * second:02}", "B1", volume=b))
        )
    out += ingest.end()
    assert [stock(shot, "A1")["volume"] for shot in out] == [0, 50, 20]
    assert [stock(shot, "B1")["volume"] for shot in out] == [0, 0, 300]
