"""A state on disk is the state that was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from processors import checkpoint


def test_texts_in_arrow_and_numpy_come_back_as_they_were(tmp_path: Path) -> None:
    codes = pa.array(["gone", "000001", "BRK.B", "é", ""])
    state = {"codes": codes[1:], "none": pa.array([], pa.string()), "names": np.array(["a", "bcd"]), "n": {"x": 1}}
    checkpoint.save(tmp_path / "state.npz", state, {"seq": 3})
    found, meta = checkpoint.load(tmp_path / "state.npz") or pytest.fail("nothing there")
    assert meta == {"seq": 3}
    assert found["codes"].equals(codes[1:]) and found["codes"].type == pa.string()
    assert found["none"].equals(state["none"])
    assert found["names"].tolist() == ["a", "bcd"]
    assert found["n"] == {"x": 1}


def test_a_text_that_is_null_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 of 2 texts are null"):
        checkpoint.save(tmp_path / "state.npz", {"codes": pa.array(["a", None])}, {})


def test_a_copy_into_an_older_one_is_apart_from_both_states() -> None:
    state = {"a": np.arange(3.0), "grown": np.arange(2), "list": [1, 2]}
    older = checkpoint.copy(state)
    state["a"][0], state["grown"] = 9.0, np.arange(5)
    memory = older["a"]
    copied = checkpoint.copy(state, older)
    assert copied["a"] is memory
    state["a"][1] = 8.0
    state["list"].append(3)
    np.testing.assert_array_equal(copied["a"], [9.0, 1.0, 2.0])
    np.testing.assert_array_equal(copied["grown"], np.arange(5))
    assert copied["list"] == [1, 2]
