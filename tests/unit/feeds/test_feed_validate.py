"""Dirt of every sort: each row is kept or counted, and no number appears that nobody sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from feed_support import HEADER, QUOTED, SPEC, Ingest, rows, tick

from processors.contract import FeedSpec
from processors.feeds import parse
from processors.feeds.tally import SourceError

GOOD = "2021-12-01 09:31:00,000001,10.5,0.1,200,2100,1"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",000001,10.5,0.1,200,2100,1", "bad_time"),
        ("yesterday,000001,10.5,0.1,200,2100,1", "bad_time"),
        ("2021-02-30 09:31:00,000001,10.5,0.1,200,2100,1", "bad_time"),
        ("9999-12-31 09:31:00,000001,10.5,0.1,200,2100,1", "bad_time"),
        ("2021-12-01 09:31:00,,10.5,0.1,200,2100,1", "bad_code"),
        ("2021-12-01 09:31:00,nan,10.5,0.1,200,2100,1", "bad_code"),
        ("2021-12-01 09:31:00,00 01,10.5,0.1,200,2100,1", "bad_code"),
        ("2021-12-01 09:31:00,000001,ten,0.1,200,2100,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,,0.1,200,2100,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,nan,0.1,200,2100,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,inf,0.1,200,2100,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,1e300,0.1,200,2100,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,10.5,x,200,2100,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,10.5,0.1,,2100,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,10.5,0.1,200,-inf,1", "bad_number"),
        ("2021-12-01 09:31:00,000001,0,0.1,200,2100,1", "price_not_positive"),
        ("2021-12-01 09:31:00,000001,-1.0,0.1,200,2100,1", "price_not_positive"),
        ("2021-12-01 09:31:00,000001,10.5,0.1,200,2100,7", "unknown_type"),
        ("2021-12-01 09:31:00,000001,10.5,0.1,200,2100,up", "unknown_type"),
        ("2021-12-01 09:31:00,000001,10.5,0.1,-200,2100,1", "negative_volume"),
        ("2021-12-01 09:31:00,000001,10.5,0.1,200,-2100,1", "negative_amount"),
    ],
)
def test_a_bad_row_is_counted_by_reason_and_its_neighbours_stay(line: str, reason: str) -> None:
    ingest = Ingest()
    ticks = ingest.validate(rows(GOOD, line, GOOD))
    assert ingest.tally.rejected == {reason: 1}
    assert ingest.tally.samples[reason] == [line]
    assert ticks["price"].tolist() == [10.5, 10.5]
    assert np.isfinite(ticks["volume"]).all()


def test_a_row_is_counted_once_though_all_of_it_is_bad() -> None:
    ingest = Ingest()
    ingest.validate(rows("never,,x,x,-1,-1,9"))
    assert ingest.tally.rejected == {"bad_time": 1}
    assert ingest.tally.received == 1


def test_only_a_few_samples_are_kept() -> None:
    ingest = Ingest()
    ingest.validate(rows(*["2021-12-01 09:31:00,000001,0,0,0,0,0"] * 100))
    assert ingest.tally.rejected == {"price_not_positive": 100}
    assert len(ingest.tally.samples["price_not_positive"]) == 3


def test_codes_stay_text() -> None:
    ingest = Ingest()
    ingest.validate(rows(*[tick("09:31:00", code) for code in ("000001", "BRK.B", "600000", " 000002 ", "^GSPC")]))
    assert ingest.codebook.codes == ["000001", "BRK.B", "600000", "000002", "^GSPC"]


def test_a_code_stored_as_a_number_is_an_error_for_its_zeros_are_lost() -> None:
    batch = rows(GOOD).set_column(1, "code", pa.array([1]))
    with pytest.raises(SourceError, match="column code is int64, expected text"):
        Ingest().validate(batch)


@pytest.mark.parametrize(
    "time",
    [
        "2021-12-01 09:31:00",
        "2021-12-01T09:31:00.000",
        "2021-12-01T01:31:00Z",
        "2021-11-30T20:31:00-05:00",
        " 2021-12-01 09:31:00 ",
        "20211201093100",
        "20211201093100000",
        "202112010931",
        "20211201 93100",
        "2021/12/1 9:31",
        "2021-12-01 01:31:00+00",
        "2021-12-01 01:31:00 UTC",
        "1638322260",
        "1638322260.000",
        "1638322260000",
        "1638322260000000",
        "1638322260000000000",
    ],
)
def test_times_are_local_to_the_exchange_carry_a_zone_or_count_from_1970(time: str) -> None:
    ingest = Ingest()
    ticks = ingest.validate(rows(tick("09:31:00"), f"{time},600000,10,,1,1,0"))
    assert ticks["time"].tolist() == [1638322260000] * 2


@pytest.mark.parametrize(
    "times",
    [
        pa.array(["2021-12-01 09:31:00"]).cast(pa.timestamp("s")),
        pa.array(["2021-12-01 01:31:00Z"]).cast(pa.timestamp("ns", "UTC")),
        pa.array([1638322260000]),
        pa.array([1638322260]),
        pa.array([1638322260000000000]),
        pa.array([1638322260.0]),
        pa.array([20211201093100]),
        pa.array(["2021-12-01 09:31:00,000"]),
        pa.array([20211201093100.0]),
    ],
)
def test_typed_times(times: pa.Array) -> None:
    ticks = Ingest().validate(rows(tick("09:31:00")).set_column(0, "time", times))
    assert ticks["time"].tolist() == [1638322260000]


@pytest.mark.parametrize("times", [pa.array([None, -1, -(2**63)]), pa.array([1e300, np.nan, np.inf])])
def test_a_number_that_is_no_time_is_none(times: pa.Array) -> None:
    ingest = Ingest()
    ingest.validate(rows(*[tick("09:31:00")] * 3).set_column(0, "time", times))
    assert ingest.tally.rejected == {"bad_time": 3}


def test_a_time_beyond_tomorrow_is_a_wrong_clock_and_one_beyond_python_is_told() -> None:
    ingest = Ingest()
    times = pa.array([1638322260000, 4 * 10**12, 10**15]).cast(pa.timestamp("ms"))
    ticks = ingest.validate(rows(*[tick("09:31:00")] * 3).set_column(0, "time", times))
    assert len(ticks["time"]) == 1 and ingest.tally.rejected == {"ahead": 1, "bad_time": 1}
    assert "unreadable" in ingest.tally.samples["bad_time"][0]
    simulated = Ingest(replace(SPEC, simulated=True))
    assert len(simulated.validate(rows("2096-10-02 09:31:00,600000,10,,1,1,0"))["time"]) == 1


@pytest.mark.parametrize("name", ["price", "change", "volume", "amount"])
@pytest.mark.parametrize("values", [pa.array([True]), pa.array([5]).cast(pa.duration("s")), pa.array([[1.0]])])
def test_what_is_no_number_becomes_none(name: str, values: pa.Array) -> None:
    ingest, batch = Ingest(), rows(tick("09:31:00"))
    ingest.validate(batch.set_column(batch.schema.get_field_index(name), name, values))
    assert ingest.tally.rejected == {"bad_number": 1}


def test_a_number_reads_the_same_beside_a_bad_one() -> None:
    texts = [repr(float(value)) for value in np.random.default_rng(1).uniform(0, 1000, 2_000).round(7)]
    clean, dirty = (parse.numbers(pa.array(values))[0][:2_000] for values in (texts, [*texts, "x"]))
    assert clean.tolist() == dirty.tolist() == [float(text) for text in texts]


@pytest.mark.parametrize(
    "time",
    ["now", "today", "12/01/2021 09:31", "09:31:00", "2021-12-01 25:00", "93100", "NaT", "202113010931", "093000000"],
)
def test_a_text_that_is_no_time_is_none(time: str) -> None:
    ingest = Ingest()
    assert ingest.validate(rows(tick("09:31:00"), f"{time},600000,10,,1,1,0"))["time"].tolist() == [1638322260000]
    assert ingest.tally.rejected == {"bad_time": 1}


def test_a_missing_type_is_0_and_letters_are_signs() -> None:
    ingest = Ingest()
    lines = [tick("09:31:00", kind=kind) for kind in ("", "B", "S", "N", "1.0", "-1")]
    assert ingest.validate(rows(*lines))["type"].tolist() == [0, 1, -1, 0, 1, -1]
    bare = rows("2021-12-01 09:31:00,600000,10,100,1000", header="time,code,price,volume,amount")
    assert Ingest().validate(bare)["type"].tolist() == [0]


def test_lots_become_shares() -> None:
    ticks = Ingest(FeedSpec("lots", volume_unit="lots", lot_size=100)).validate(rows(GOOD))
    assert ticks["volume"].tolist() == [20_000]
    assert ticks["amount"].tolist() == [2100]


@pytest.mark.parametrize(
    "quote", ["0,10.6,5,5", "10.7,10.6,5,5", "10.4,-1,5,5", "10.4,10.6,-5,5", "10.4,,5,5", "inf,10.6,5,5"]
)
def test_a_bad_quote_is_blanked_and_counted_and_its_row_stays(quote: str) -> None:
    ingest = Ingest()
    ticks = ingest.validate(rows(f"{GOOD},{quote}", f"{GOOD},10.4,10.6,5,5", f"{GOOD},,,,", header=QUOTED))
    assert ingest.tally.noted == {"bad_quote": 1}
    assert not ingest.tally.rejected
    assert ticks["price"].tolist() == [10.5] * 3
    assert np.isnan(ticks["bid"]).tolist() == np.isnan(ticks["ask_size"]).tolist() == [True, False, True]


def test_a_locked_quote_stands() -> None:
    ingest = Ingest()
    assert ingest.validate(rows(f"{GOOD},10.5,10.5,5,5", header=QUOTED))["bid"].tolist() == [10.5]


def test_spikes_and_ex_rights_jumps_live() -> None:
    ingest = Ingest()
    lines = [tick("09:31:00"), "2021-12-01 09:31:01,600000,7,-3,300000000,3000000000,1"]
    assert ingest.validate(rows(*lines))["amount"].tolist() == [1000, 3e9]
    assert not ingest.tally.rejected


def test_no_rows_are_no_rows() -> None:
    ticks = Ingest().validate(rows(GOOD).slice(0, 0))
    assert {len(values) for values in ticks.values()} == {0}


def test_a_missing_column_is_named_with_what_was_expected() -> None:
    with pytest.raises(SourceError, match=r"no column amount \(or cum_amount, turnover\); expected time,stock_code"):
        Ingest().validate(rows("2021-12-01 09:31:00,600000,10,100", header="time,code,price,volume"))


def test_input_is_left_alone() -> None:
    batch = rows(GOOD, tick("09:31:00", price=0))
    before = batch.to_pydict()
    Ingest(SPEC).all(GOOD)
    Ingest(SPEC).validate(batch)
    assert batch.to_pydict() == before
    assert batch.schema.names == HEADER.split(",")
