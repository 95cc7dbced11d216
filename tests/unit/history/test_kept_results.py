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
    assert archive.tasks() == [7] and archive.days(8) == [] and list(archive.read(8)) == []
    [day] = archive.days(7)
    assert (day.day, day.results, day.first, day.last) == ("2021-12-01", 30, given[0].time, given[-1].time)
    assert day.size_bytes > 1_000
    assert [each.seq for each in archive.read(7, after=given[20].seq)] == [each.seq for each in given[21:]]


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
    assert [day.day for day in archive.days(7)] == ["2021-12-01", "2021-12-02"]


def test_a_row_per_stock_and_result(archive: ResultArchive) -> None:
    quiet = KeptResult(BEGIN + 90_000, BEGIN + 90_007, {"index": 30})
    other = result(1)
    more = KeptResult(other.time, other.seq, other.numbers, {**other.stocks, "band80_bp": np.arange(4.0)})
    archive.append(7, [result(0), more, quiet])
    archive.append(7, [result(2, BEGIN + DAY_MS, stocks=2)])
    found = archive.stocks(7).read_all()
    assert found.num_rows == 4 + 4 + 2
    assert found.column_names == ["time", "seq", "code", "cluster", "forecast", "fallback", "band80_bp"]
    assert found["time"].cast(pa.int64()).to_pylist() == [BEGIN] * 4 + [other.time] * 4 + [BEGIN + DAY_MS] * 2
    assert found["band80_bp"].to_pylist() == [None] * 4 + [0, 1, 2, 3] + [None] * 2
    assert (
        archive.stocks(7, other.time, other.time + 1).read_all()["code"].to_pylist() == more.stocks["code"].to_pylist()
    )
    assert archive.stocks(8).read_all().num_rows == 0


def test_a_column_may_be_wider_in_one_result_than_in_the_next(archive: ResultArchive) -> None:
    one, other = result(0), result(1)
    narrow = {**one.stocks, "forecast": np.float32([1, 2, 3, 4]), "cluster": np.full(4, np.nan)}
    archive.append(7, [KeptResult(one.time, one.seq, one.numbers, narrow), other])
    archive.append(7, [result(2)])
    assert [len(each.stocks["forecast"]) for each in archive.read(7)] == [4, 4, 4]
    assert archive.stocks(7).read_all()["forecast"].type == pa.float64()
    none = KeptResult(BEGIN + 80_000, BEGIN + 80_007, {}, {"code": pa.array(["a"]), "forecast": pa.nulls(1)})
    assert archive.append(7, [none]) == 1 and archive.stocks(7).read_all().num_rows == 13


def test_old_days_go(archive: ResultArchive) -> None:
    archive.append(7, [result(0), result(1, BEGIN + DAY_MS), result(2, BEGIN + 2 * DAY_MS)])
    assert archive.delete_before(7, "2021-12-02") == 1
    assert [each.numbers["index"] for each in archive.read(7)] == [1, 2]
    assert archive.append(7, [result(0), result(1, BEGIN + DAY_MS)]) == 1, "what went may come again"


def test_another_writer_between_two_writes_is_seen(archive: ResultArchive) -> None:
    archive.append(7, [result(0)])
    ResultArchive(archive.root).append(7, [result(1)])
    assert archive.append(7, [result(1), result(2)]) == 1


def test_a_place_that_can_not_be_written_is_told(archive: ResultArchive) -> None:
    archive.root.touch()
    with pytest.raises(Unavailable, match="do not take it"):
        archive.append(7, [result(0)])
