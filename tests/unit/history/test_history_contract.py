"""What every store of the history keeps, whichever it is."""

from __future__ import annotations

import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from history_support import BEGIN, DAY_MS, SPEC, again, all_rows, expected_rows, keep, kept_market, market

from processors.history.store import ROWS, History, HistoryError

HOUR_MS = 3_600_000


def test_what_was_appended_is_read_back_row_by_row(history: History) -> None:
    snapshots = kept_market(40)
    assert history.append(SPEC.name, snapshots) == 40
    rows = all_rows(history)
    assert rows.schema == ROWS
    assert rows.equals(expected_rows(snapshots))
    assert not list(history.check(SPEC.name))


def test_only_real_rows_are_kept_and_no_quote_is_null(history: History) -> None:
    shots = market(10)
    history.append(SPEC.name, keep(shots))
    rows = all_rows(history)
    assert rows.num_rows == sum(header.received for header, _ in shots)
    assert pc.sum(pc.is_null(rows["bid"])).as_py() == rows.filter(pc.equal(rows["code"], "000003")).num_rows > 0


def test_a_feed_without_quotes_has_none(history: History) -> None:
    history.append(SPEC.name, kept_market(5, quotes=False))
    assert all_rows(history)["bid"].null_count == all_rows(history).num_rows > 0
    assert [quotes for _, quotes in history.headers(SPEC.name)] == [False] * 5


def test_headers_are_those_that_were_written(history: History) -> None:
    snapshots = kept_market(30)
    history.append(SPEC.name, snapshots)
    assert list(history.headers(SPEC.name)) == [(each.header, True) for each in snapshots]
    some = history.headers(SPEC.name, snapshots[5].header.time, snapshots[9].header.time)
    assert [header.index for header, _ in some] == [5, 6, 7, 8]


def test_the_same_snapshot_again_is_refused_whatever_its_run(history: History) -> None:
    snapshots = kept_market(20)
    assert history.append(SPEC.name, snapshots[:12]) == 12
    assert history.append(SPEC.name, snapshots) == 8
    assert history.append(SPEC.name, [again(each, run=2, seq=5) for each in snapshots]) == 0
    assert history.append(SPEC.name, [*kept_market(21)[20:]] * 2) == 1
    assert all_rows(history).equals(expected_rows(kept_market(21)))
    assert {header.run for header, _ in history.headers(SPEC.name)} == {1}


def test_order_does_not_depend_on_the_order_of_writing(history: History) -> None:
    snapshots = kept_market(60)
    shuffled = random.Random(4).sample(snapshots, len(snapshots))
    for begin in range(0, 60, 7):
        history.append(SPEC.name, shuffled[begin : begin + 7])
    assert all_rows(history).equals(expected_rows(snapshots))
    assert [header.index for header, _ in history.headers(SPEC.name)] == list(range(60))
    assert not list(history.check(SPEC.name))


@pytest.mark.parametrize("compacted", [False, True])
def test_a_range_some_codes_and_some_columns(history: History, compacted: bool) -> None:
    snapshots = kept_market(50)
    for begin in range(0, 50, 10):
        history.append(SPEC.name, snapshots[begin : begin + 10])
    if compacted:
        history.compact(SPEC.name, now_ms=4 * 10**12)
    begin, end = snapshots[13].header.time, snapshots[31].header.time
    codes, columns = ["000017", "000002", "nowhere"], ["price", "code"]
    found = all_rows(history, start=begin, end=end, codes=codes, columns=columns)
    whole = expected_rows(snapshots[13:31])
    assert found.equals(whole.filter(pc.is_in(whole["code"], pa.array(codes))).select(columns).combine_chunks())
    assert all_rows(history, start=end, end=end).num_rows == 0
    assert all_rows(history, codes=[]).num_rows == 0
    assert all_rows(history, codes=["nowhere"]).num_rows == 0


def test_days_are_those_of_the_feeds_zone(history: History) -> None:
    history.append(SPEC.name, kept_market(4) + kept_market(6, begin=BEGIN + DAY_MS, stocks=10))
    history.append(SPEC.name, kept_market(1, begin=BEGIN + 15 * HOUR_MS))  # 00:30 in Shanghai, 16:30 in UTC
    first, second = history.coverage(SPEC.name)
    assert (first.day, first.snapshots, first.expected) == ("2021-12-01", 4, 80)
    assert (second.day, second.snapshots, second.first) == ("2021-12-02", 7, BEGIN + 15 * HOUR_MS)
    assert first.rows + second.rows == all_rows(history).num_rows
    assert first.size_bytes > 0 and second.last == BEGIN + DAY_MS + 15_000


def test_deleting_what_is_old(history: History) -> None:
    for number in range(4):
        history.append(SPEC.name, kept_market(3, begin=BEGIN + number * DAY_MS))
    assert history.delete_before(SPEC.name, "2021-12-03") == 2
    assert [day.day for day in history.coverage(SPEC.name)] == ["2021-12-03", "2021-12-04"]
    assert all_rows(history)["snapshot"].cast(pa.int64())[0].as_py() == BEGIN + 2 * DAY_MS
    assert history.delete_before(SPEC.name, "2021-12-03") == 0
    assert history.append(SPEC.name, kept_market(3)) == 3, "what was deleted may be written again"


def test_snapshots_without_a_row_are_kept_as_such(history: History) -> None:
    quiet = [
        replace(each, rows=each.rows.slice(0, 0), header=replace(each.header, received=0)) for each in kept_market(5)
    ]
    assert history.append(SPEC.name, quiet) == 5
    assert history.coverage(SPEC.name)[0].snapshots == 5
    history.compact(SPEC.name, now_ms=4 * 10**12)
    assert [header.index for header, _ in history.headers(SPEC.name)] == [0, 1, 2, 3, 4]
    assert all_rows(history).num_rows == 0
    assert history.append(SPEC.name, quiet) == 0


def test_compacting_changes_nothing_that_is_read(history: History) -> None:
    snapshots = kept_market(60)
    for begin in range(0, 60, 9):
        history.append(SPEC.name, snapshots[begin : begin + 9])
    history.compact(SPEC.name, now_ms=4 * 10**12)
    assert all_rows(history).equals(expected_rows(snapshots))
    assert list(history.headers(SPEC.name)) == [(each.header, True) for each in snapshots]
    assert history.append(SPEC.name, snapshots) == 0
    late = kept_market(70)[60:]
    assert history.append(SPEC.name, late) == 10
    history.compact(SPEC.name, now_ms=4 * 10**12)
    assert all_rows(history).equals(expected_rows(kept_market(70)))
    assert not list(history.check(SPEC.name))


def test_what_a_feeds_numbers_mean_is_kept(history: History) -> None:
    assert history.feeds() == [SPEC.name] and history.spec(SPEC.name) == SPEC
    assert history.spec("nobody") is None
    history.describe(replace(SPEC, title="Market"))
    history.append(SPEC.name, kept_market(1))
    history.describe(replace(SPEC, title="The market"))
    assert history.spec(SPEC.name) == replace(SPEC, title="The market")
    with pytest.raises(HistoryError, match="kept by days of Asia/Shanghai, not Europe/Paris"):
        history.describe(replace(SPEC, zone="Europe/Paris"))


def test_what_can_not_be_is_named(history: History) -> None:
    with pytest.raises(HistoryError, match=r"columns prize: expected some of snapshot, time"):
        history.read(SPEC.name, columns=["prize"])
    with pytest.raises(HistoryError, match=r"no feed 'nobody'"):
        history.append("nobody", kept_market(1))
    with pytest.raises(HistoryError, match=r"feed '../etc'"):
        history.spec("../etc")
    with pytest.raises(HistoryError, match=r"day 'yesterday': expected YYYY-MM-DD"):
        history.append(SPEC.name, kept_market(1))
        history.delete_before(SPEC.name, "yesterday")


def test_batches_are_small_whatever_is_asked(history: History) -> None:
    history.append(SPEC.name, kept_market(60, stocks=3_000))
    assert max(batch.num_rows for batch in history.read(SPEC.name)) <= 65_536
