"""What the Parquet store promises beyond the contract: whole files, any number of writers, damage that is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from history_support import BEGIN, DAY_MS, SPEC, all_rows, expected_rows, kept_market

from processors.history import compaction, manifest
from processors.history.parquet import ParquetHistory
from processors.history.store import Damaged, Day, too_old

DAY = "2021-12-01"
HERE = Path(__file__).parent


@pytest.fixture
def store(tmp_path: Path) -> ParquetHistory:
    found = ParquetHistory(tmp_path)
    found.describe(SPEC)
    return found


@pytest.mark.timeout(300)
def test_a_writer_killed_at_any_moment_leaves_whole_snapshots(store: ParquetHistory) -> None:
    """A process appends and is killed again and again; what it said was durable is there, nothing is there twice."""
    code = (
        f"import sys; sys.path[:0] = [{str(HERE)!r}]\n"
        "from pathlib import Path\n"
        "from history_support import SPEC, kept_market\n"
        "from processors.history.parquet import ParquetHistory\n"
        f"store = ParquetHistory(Path({str(store.root)!r}))\n"
        "for each in kept_market(200):\n"
        "    store.append(SPEC.name, [each])\n"
        "    print(each.header.index, flush=True)\n"
    )
    told = -1
    for kill_after in (3, 40, 41, 55, 90):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=HERE.parents[2])
        assert process.stdout is not None
        for line in process.stdout:
            told = max(told, int(line))
            if int(line) >= kill_after:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
    assert not list(store.check(SPEC.name))
    count = store.coverage(SPEC.name)[0].snapshots
    assert count > told >= 90
    assert all_rows(store).equals(expected_rows(kept_market(count)))


def test_two_writers_of_one_feed_keep_each_snapshot_once(store: ParquetHistory) -> None:
    other = ParquetHistory(store.root)
    snapshots = kept_market(40)
    news = [writer.append(SPEC.name, snapshots[at : at + 6]) for at in range(0, 36, 3) for writer in (store, other)]
    assert sum(news) == store.coverage(SPEC.name)[0].snapshots == 39
    assert not list(store.check(SPEC.name))


def test_a_reader_that_began_before_a_compaction_reads_on(store: ParquetHistory) -> None:
    snapshots = kept_market(30, stocks=50)
    for each in snapshots:
        store.append(SPEC.name, [each])
    reader = store.read(SPEC.name)
    first = reader.read_next_batch()
    assert store.compact(SPEC.name, now_ms=4 * 10**12) == [DAY]
    rows = first.num_rows + sum(batch.num_rows for batch in reader)
    assert rows == expected_rows(snapshots).num_rows


def test_replaced_files_go_after_an_hour_and_so_does_what_a_dead_writer_left(store: ParquetHistory) -> None:
    directory = store.root / SPEC.name / DAY
    for each in kept_market(3):
        store.append(SPEC.name, [each])
    now = int((directory / manifest.NAME).stat().st_mtime * 1000) + 10_000_000
    store.compact(SPEC.name, now_ms=now)
    left = directory / "rows-left-behind.parquet"
    left.write_bytes(b"half a file")
    compaction.sweep(directory, now - 10_000_000)
    assert len(list(directory.iterdir())) == 3 + 6 + 1
    compaction.sweep(directory, now + 3_600_000)
    assert len(list(directory.iterdir())) == 3 + 6 and not left.exists()
    compaction.sweep(directory, now + 3_600_001)
    assert len(list(directory.iterdir())) == 3
    assert not list(store.check(SPEC.name))


def test_a_day_into_which_is_being_written_is_left_alone(store: ParquetHistory) -> None:
    for each in kept_market(3):
        store.append(SPEC.name, [each])
    written = int((store.root / SPEC.name / DAY / manifest.NAME).stat().st_mtime * 1000)
    assert store.compact(SPEC.name, now_ms=written + 7_199_000) == []
    assert store.compact(SPEC.name, now_ms=written + 7_201_000) == [DAY]


def test_a_compacted_day_of_many_chunks_is_read_in_order_and_by_code(
    store: ParquetHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.history.reading.PORTION_ROWS", 700)
    monkeypatch.setattr("processors.history.compaction.GROUP_ROWS", 100)
    snapshots = kept_market(60, stocks=100)
    for at in range(0, 60, 5):
        store.append(SPEC.name, snapshots[at : at + 5])
    store.compact(SPEC.name, now_ms=4 * 10**12)
    [segment] = manifest.load(store.root / SPEC.name / DAY).segments
    assert len(segment.chunks) > 5 and segment.chunks[-1].end > 30
    whole = expected_rows(snapshots)
    assert all_rows(store).equals(whole)
    code = all_rows(store, codes=["000042"])
    assert code.equals(whole.filter(pc.equal(whole["code"], "000042")).combine_chunks())


def test_damage_is_told(store: ParquetHistory) -> None:
    for each in kept_market(4):
        store.append(SPEC.name, [each])
    directory = store.root / SPEC.name / DAY
    first, second, third, *_ = sorted(directory.glob("rows-*.parquet"))
    content = bytearray(first.read_bytes())
    content[40] ^= 1
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:-5])
    third.unlink()
    told = list(store.check(SPEC.name))
    assert len(told) == 3
    assert "another checksum" in told[0] and str(first) in told[0]
    assert "bytes, the manifest says" in told[1]
    assert "can't be read: No such file" in told[2]
    with pytest.raises(Damaged):
        all_rows(store)
    (directory / manifest.NAME).write_text('{"content": {}, "sha256": "no"}')
    assert ["another checksum" in text for text in store.check(SPEC.name)] == [True]


def test_other_tools_read_the_files_as_they_are(store: ParquetHistory) -> None:
    snapshots = kept_market(20)
    store.append(SPEC.name, snapshots)
    store.append(SPEC.name, kept_market(5, begin=BEGIN + DAY_MS))
    files = store.files(SPEC.name, end=BEGIN + DAY_MS)
    assert pq.read_table(files[0]).equals(expected_rows(snapshots))
    assert len(files) == 1 and len(store.files(SPEC.name)) == 2


def test_what_is_too_old_is_judged_by_the_newest_day_and_by_size() -> None:
    days = [Day(f"2021-12-{number:02d}", 1, 1, 1, 0, 0, 100, True) for number in (1, 2, 3, 6, 7)]
    assert too_old(days, None, None) is None
    assert too_old(days, 5, None) == "2021-12-03"
    assert too_old(days, 2, None) == "2021-12-06"
    assert too_old(days, 1, None) == "2021-12-07"
    assert too_old(days, 100, 250) == "2021-12-06"
    assert too_old(days, None, 10) == "2021-12-07", "the newest day stays, however big it is"
    assert too_old([], 1, 1) is None
