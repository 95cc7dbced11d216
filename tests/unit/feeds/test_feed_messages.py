"""What messages say, alike and in one go, or each different; and partitions let through by event time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feed_support import ALWAYS, HEADER

from processors.feeds.codebook import Codebook
from processors.feeds.fields import UNIFORM
from processors.feeds.merge import Batch, Merge
from processors.feeds.messages import decoder, json_ticks
from processors.feeds.tally import SourceError, Tally
from processors.feeds.validate import Validator

TICK: dict[str, Any] = {"time": "2021-12-01T09:30:03Z", "code": "000001", "price": 10.5, "volume": 100, "amount": 1050}


def ticks(*messages: dict[str, Any]) -> dict[str, Any]:
    decoded = json_ticks([json.dumps(each).encode() for each in messages])
    assert not decoded.wrong and decoded.taken == list(range(len(messages)))
    (table,) = decoded.rows
    return Validator(ALWAYS, Codebook(2), Tally())(table)


@pytest.mark.parametrize(
    "other",
    [
        {"time": 1638351003000},
        {"price": "10.5", "volume": "100"},
        {"type": "N", "change": None, "note": {"a": [1, 2]}},
        {"price": 10.5, "amount": 1050.0},
    ],
)
def test_messages_that_are_alike_and_different_ones_say_the_same(other: dict[str, Any]) -> None:
    alike = ticks(*[TICK] * 3)
    mixed = ticks(TICK, {**TICK, **other}, TICK)
    for name, values in alike.items():
        np.testing.assert_array_equal(values, mixed[name])


def test_usual_other_names_are_understood() -> None:
    other = {"timestamp": TICK["time"], "symbol": "000001", "last": 10.5, "volume": 100, "turnover": 1050}
    for name, values in ticks(TICK, TICK).items():
        np.testing.assert_array_equal(values, ticks(TICK, other)[name])


def test_rows_and_messages_stay_in_step_when_some_are_wrong() -> None:
    values = [json.dumps({**TICK, "price": number}).encode() for number in range(1, 6)]
    values[1:1] = [b"{", b"null"]
    decoded = json_ticks(values)
    assert decoded.wrong == [(1, "not_json"), (2, "not_an_object")]
    assert decoded.taken == [0, 3, 4, 5, 6]
    assert decoded.rows[0].column("price").to_pylist() == ["1", "2", "3", "4", "5"]


def test_csv_ticks_stay_in_step_too() -> None:
    line = b"2021-12-01 09:30:03,000001,10.5,,100,1050,1"
    decoded = decoder("csv", UNIFORM.split(","), "test")([line, b"a,b", line + b"\n", line + b"\n" + line, b""])
    assert decoded.taken == [0, 2] and decoded.rows[0].num_rows == 2
    assert [reason for _, reason in decoded.wrong] == ["broken_line"] * 3
    with pytest.raises(SourceError):
        decoder("csv", ["a"], "test")


def test_a_csv_snapshot_keeps_leading_zeros() -> None:
    text = f"{HEADER}\n2021-12-01 09:30:03,000001,10.5,,100,1050,1\n".encode()
    decoded = decoder("snapshot_csv", [], "test")([text])
    assert decoded.rows[0].column("code").to_pylist() == ["000001"]


def batch(partition: int, *times: int) -> Batch[str]:
    rows = pa.table({"time": list(times)})
    return Batch(partition, rows, np.array(times), [f"{partition}/{time}" for time in times], times[-1])


def let_through(merge: Merge[str]) -> list[str]:
    return [origin for each in merge.released() for origin in each.origins]


def test_rows_of_a_partition_that_runs_ahead_wait_for_the_others() -> None:
    merge: Merge[str] = Merge([0, 1])
    merge.add(batch(0, 1, 2, 3, 11, 12, 13, 14, 15))
    assert let_through(merge) == []  # nothing is known of the other yet
    merge.add(batch(1, 4, 5, 6))
    first = merge.released()
    assert [origin for each in first for origin in each.origins] == ["0/1", "0/2", "0/3", "1/4", "1/5"]
    assert [each.next_offset for each in first] == [None, None], "neither batch is through"
    assert merge.held(0) == 1 and not merge.at_end
    merge.ends(1)
    assert let_through(merge) == ["0/11", "0/12", "0/13", "1/6"]
    merge.ends(0)
    assert [(each.origins, each.next_offset) for each in merge.released()] == [(["0/14", "0/15"], 15)]
    assert merge.at_end


def test_a_wrong_clock_holds_nobody_up() -> None:
    merge: Merge[str] = Merge([0, 1])
    merge.add(batch(0, 1, 2, 2**50, 3, 4))
    merge.add(batch(1, 3, 4, 5))
    assert let_through(merge) == ["0/1", "0/2", f"0/{2**50}", "0/3", "1/3"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"null", "not_an_object"),
        (b"[" * 20_000 + b"]" * 20_000, "not_json"),
        (b'{"x":' * 20_000 + b"1" + b"}" * 20_000, "not_json"),
        (b'{"time": 1', "not_json"),
    ],
)
def test_what_arrow_dies_of_is_refused(value: bytes, reason: str) -> None:
    good = json.dumps(TICK).encode()
    decoded = json_ticks([value, good])
    assert decoded.wrong == [(0, reason)] and decoded.taken == [1]


@pytest.mark.parametrize("unix", [1638351003, 1638351003000, 1638351003000000, 20211201093003])
def test_a_number_as_time_means_the_same_whatever_comes_beside_it(unix: int) -> None:
    message = json.dumps({**TICK, "time": unix}).encode()
    (alone,), (beside,) = json_ticks([message]).rows, json_ticks([message, b"x"]).rows
    read = [Validator(ALWAYS, Codebook(2), Tally())(table)["time"].tolist() for table in (alone, beside)]
    assert read[0] == read[1] == [1638351003000]


def test_text_that_is_no_utf_8_is_a_bad_code_and_ends_nothing() -> None:
    tally = Tally()
    good = json.dumps(TICK).encode()
    for code in (b"60\xff", b"\\ud800"):
        (table,) = json_ticks([good.replace(b"000001", code)]).rows
        Validator(ALWAYS, Codebook(2), tally)(table)
    assert tally.rejected == {"bad_code": 2}


def test_a_damaged_table_is_refused_and_never_read_out_of_bounds() -> None:
    table = pa.table({"time": [1638351003000] * 99, "code": ["000001"] * 99, "price": [1.0] * 99,
                      "volume": [1.0] * 99, "amount": [1.0] * 99})  # fmt: skip
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole, random = sink.getvalue().to_pybytes(), np.random.default_rng(1)
    decode, wrong = decoder("snapshot_arrow", [], "t"), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(0, 256)
        decoded = decode([bytes(damaged)])
        wrong += len(decoded.wrong)
        for read in decoded.rows:
            Validator(ALWAYS, Codebook(2), Tally())(read)
    assert 0 < wrong < 300
