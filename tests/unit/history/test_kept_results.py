"""Results that are kept come back as they were, each once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from history_support import BEGIN, DAY_MS

from processors.history.results import KeptResult, ResultArchive
from processors.history.store import Unavailable


def result(index: int, time: int | None = None, stocks: int = 4) -> KeptResult:
    time = BEGIN + index * 3_000 if time is None else time
    columns = {
        "code": pa.array([f"{number:06d}" for number in range(stocks)]),
        "cluster": np.arange(stocks) % 3,
        "forecast": np.where(np.arange(stocks) == 1, np.nan, 10.5 + index),
        "fallback": np.arange(stocks) == 2,
    }
    return KeptResult(time, time + 7, {"index": index, "scores": {"n": index}, "clusters": []}, columns)


def plain(found: KeptResult) -> tuple:
    return (found.time, found.seq, found.numbers, {name: str(pa.array(v)) for name, v in found.stocks.items()})


@pytest.fixture
def archive(tmp_path: Path) -> ResultArchive:
    return ResultArchive(tmp_path / "results")


def test_results_come_back_as_they_were(archive: ResultArchive) -> None:
    given = [result(index) for index in range(30)]
    assert archive.append(7, given) == 30
    assert [plain(each) for each in archive.read(7)] == [plain(each) for each in given]
    some = archive.read(7, given[4].time, given[9].time, stocks=False)
    assert [(each.numbers["index"], each.stocks) for each in some] == [(index, {}) for index in range(4, 9)]
    assert archive.tasks() == [7] and archive.days(7) == ["2021-12-01"] and list(archive.read(8)) == []


def test_the_same_result_again_is_refused(archive: ResultArchive) -> None:
    given = [result(index) for index in range(20)]
    assert archive.append(7, given[:12]) == 12
    assert archive.append(7, given) == 8
    assert archive.append(8, given[:1]) == 1, "each task has its own"
    assert [each.numbers["index"] for each in archive.read(7)] == list(range(20))


def test_other_stocks_and_none_at_all(archive: ResultArchive) -> None:
    quiet = KeptResult(BEGIN + 90_000, BEGIN + 90_007, {"index": 30})
    archive.append(7, [result(0), result(1, stocks=9), quiet])
    archive.append(7, [result(2, BEGIN + DAY_MS)])
    assert [len(each.stocks.get("code", [])) for each in archive.read(7)] == [4, 9, 0, 4]
    assert archive.days(7) == ["2021-12-01", "2021-12-02"]


def test_a_place_that_can_not_be_written_is_told(archive: ResultArchive) -> None:
    archive.root.touch()
    with pytest.raises(Unavailable, match="do not take it"):
        archive.append(7, [result(0)])
