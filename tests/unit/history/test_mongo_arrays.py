"""Columns as arrays of BSON: what pymongo's bson reads and writes, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import numpy as np
import pytest

from tasks_app.history_mongo.arrays import decode, encode

PLAIN = {
    "feed": "ashare", "n": 5, "time": 1_638_322_203_000, "at": datetime(2021, 12, 1, 1, 30, 3, tzinfo=UTC),
    "_id": bson.ObjectId(), "code": ["000001", "", "é"], "some": [1.0, None, 2.5], "mixed": [1.0, 2, 2**40],
    "none": [], "ok": True, "nothing": None, "inner": {"a": [1.5]},
}  # fmt: skip


def listed(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in document.items()}


@pytest.mark.parametrize("count", [1, 9, 10, 11, 100, 101, 999, 1_000, 9_999, 10_000, 20_000, 100_000])
def test_what_is_written_is_what_pymongo_writes_and_comes_back(count: int) -> None:
    draw = np.random.default_rng(count)
    columns = {"price": draw.normal(size=count), "time_ms": draw.integers(-(2**62), 2**62, count)}
    columns["price"][0] = np.nan
    raw = encode(PLAIN | columns)
    assert raw == bson.encode(PLAIN | listed(columns))
    found = decode(raw)
    for name, values in columns.items():
        np.testing.assert_array_equal(found.pop(name), values)
        assert values.dtype == decode(raw)[name].dtype
    assert listed(found) | {"at": PLAIN["at"]} == PLAIN


def test_other_arrays_come_as_lists() -> None:
    """Integers of four bytes, and keys that pymongo would not write."""
    small = bson.encode({"type": [1, -1, 0] * 40, "price": [1.0] * 12})
    assert decode(small)["type"] == [1, -1, 0] * 40
    odd = small.replace(b"\x0110\x00", b"\x0112\x00")
    assert odd != small and list(decode(odd)["price"]) == [1.0] * 12


def test_what_others_wrote_beside_it_is_read_too() -> None:
    amended = {"price": [1.5] * 12, "note": bson.Regex("a"), "exact": bson.Decimal128("1.1")}
    assert decode(bson.encode(amended)) == amended


def test_an_array_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="100001 values: expected at most 100000"):
        encode({"price": np.zeros(100_001)})
