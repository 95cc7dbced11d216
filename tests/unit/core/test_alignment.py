"""Where codes stand in a list that is nearly the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from processors.alignment import places


def texts(numbers: np.ndarray) -> pa.StringArray:
    return pa.array([f"{number:06d}" for number in numbers], pa.string())


def expected(codes: pa.StringArray, among: pa.StringArray) -> np.ndarray:
    return pc.fill_null(pc.index_in(codes, value_set=among), -1).to_numpy(zero_copy_only=False)


@pytest.mark.parametrize("edits", [0, 1, 7, 300, 5_000])
def test_stocks_that_come_and_go_are_found_where_a_hash_finds_them(edits: int) -> None:
    rng = np.random.default_rng(edits)
    for _ in range(5):
        base = np.sort(rng.choice(20_000, 9_000, replace=False))
        came = rng.choice(np.setdiff1d(np.arange(20_000), base), edits, replace=False)
        codes = texts(np.sort(np.append(np.delete(base, rng.choice(9_000, edits, replace=False)), came)))
        found = places(codes, texts(base))
        assert found is None if edits == 0 else np.array_equal(found, expected(codes, texts(base)))


def test_lists_in_another_order_are_found_as_well() -> None:
    rng = np.random.default_rng(1)
    codes, among = texts(rng.permutation(3_000)[:2_000]), texts(rng.permutation(3_000)[:2_500])
    np.testing.assert_array_equal(places(codes, among), expected(codes, among))


@pytest.mark.parametrize(("codes", "among"), [([], ["a"]), (["a"], []), (["a", "b"], ["b"]), (["b"], ["a", "b"])])
def test_short_lists(codes: list[str], among: list[str]) -> None:
    one, other = pa.array(codes, pa.string()), pa.array(among, pa.string())
    np.testing.assert_array_equal(places(one, other), expected(one, other))
