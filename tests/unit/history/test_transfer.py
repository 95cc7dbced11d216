"""Files and other histories come in whole, once, and are compared."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from history_support import BEGIN, DAY_MS, SPEC, all_rows, expected_rows, kept_market

from processors.history import transfer
from processors.history.parquet import ParquetHistory
from processors.history.store import History, HistoryError
from processors.history.whole import snapshots
from tasks_app.models import Feed, Processor

SAMPLE = Path(__file__).parents[3] / "sample" / "ashare_3s_30_20211201.parquet"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A quarter of an hour of the sample."""
    path = tmp_path / "recording.parquet"
    pq.write_table(pq.read_table(SAMPLE).slice(0, 8_000), path)
    return path


@pytest.fixture
def kept(settings: Any, tmp_path: Path) -> ParquetHistory:
    """The history that the settings name."""
    settings.HISTORY = {"store": "parquet", "path": str(tmp_path / "history")}
    return ParquetHistory(tmp_path / "history")


def manage(*command: str) -> str:
    out = io.StringIO()
    call_command(*command, stdout=out, stderr=out)
    return out.getvalue()


def test_snapshots_come_out_as_they_went_in(history: History) -> None:
    given = kept_market(120, stocks=2_000)
    history.append(SPEC.name, given)
    found = list(snapshots(history, SPEC.name))
    assert [each.header for each in found] == [each.header for each in given]
    for one, other in zip(found, given, strict=True):
        assert one.rows.combine_chunks().equals(expected_rows([other]))


def test_a_copy_is_the_same_in_both_stores_and_back(history: History, tmp_path: Path) -> None:
    history.append(SPEC.name, kept_market(50) + kept_market(20, begin=BEGIN + DAY_MS))
    other, back = ParquetHistory(tmp_path / "other"), ParquetHistory(tmp_path / "back")
    assert transfer.copy(history, other, SPEC.name).new == 70
    assert transfer.copy(history, other, SPEC.name).new == 0
    assert transfer.copy(other, back, SPEC.name).new == 70
    assert transfer.digest(back, SPEC.name) == transfer.digest(history, SPEC.name)
    assert all_rows(back).equals(all_rows(history))


def test_a_target_that_held_something_else_is_told(history: History, tmp_path: Path) -> None:
    history.append(SPEC.name, kept_market(10))
    other = ParquetHistory(tmp_path / "other")
    other.describe(SPEC)
    other.append(SPEC.name, kept_market(10, seed=2)[:3])
    with pytest.raises(HistoryError, match="2021-12-01 is not the same in both"):
        transfer.copy(history, other, SPEC.name)


@pytest.mark.django_db
def test_import_of_a_file_infers_tells_and_may_be_given_again(kept: ParquetHistory, recording: Path) -> None:
    told = manage("import_history", "ashare", str(recording))
    assert "interval" in told and "0 there already" in told
    [day] = kept.coverage("ashare")
    assert day.day == "2021-12-01" and day.snapshots > 250 and day.rows > 7_000
    again = manage("import_history", "ashare", str(recording))
    assert f"0 new, {day.snapshots} there already" in again
    assert kept.coverage("ashare")[0].rows == day.rows
    assert "1 days" in manage("check_history") and "all as written" in manage("check_history", "ashare")


@pytest.mark.django_db
def test_a_file_with_other_names_is_the_same_with_its_columns_named(kept: ParquetHistory, recording: Path) -> None:
    other = recording.with_name("other.parquet")
    table = pq.read_table(recording)
    pq.write_table(table.rename_columns({"price": "close", "volume": "traded"}), other)
    manage("import_history", "usual", str(recording))
    manage("import_history", "other", str(other), "--columns", "price=close,volume=traded")
    assert kept.read("other").read_all().equals(kept.read("usual").read_all())


@pytest.mark.django_db
def test_an_import_broken_off_goes_on(kept: ParquetHistory, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.history.transfer.AT_ONCE_ROWS", 1_500)
    appended: list[int] = []
    append = ParquetHistory.append

    def breaks_off(self: ParquetHistory, feed: str, portion: Any) -> int:
        if len(appended) == 2:
            raise KeyboardInterrupt
        appended.append(len(portion))
        return append(self, feed, portion)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ParquetHistory, "append", breaks_off)
        manage("import_history", "ashare", str(recording))
    assert kept.coverage("ashare")[0].snapshots == sum(appended)
    assert f"{sum(appended)} there already" in manage("import_history", "ashare", str(recording))
    whole = ParquetHistory(kept.root.with_name("whole"))
    whole.describe(kept.spec("ashare"))  # type: ignore[arg-type]
    from processors.feeds.tally import Tally

    transfer.bring(whole, "ashare", transfer.of_file(recording, whole.spec("ashare"), Tally()))  # type: ignore[arg-type]
    assert transfer.digest(whole, "ashare") == transfer.digest(kept, "ashare")


@pytest.mark.django_db
def test_files_that_can_not_be_used_are_named(kept: ParquetHistory, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="does not exist"):
        manage("import_history", "ashare", str(tmp_path / "nothing.csv"))


@pytest.mark.django_db
def test_damage_makes_the_check_fail(kept: ParquetHistory, recording: Path) -> None:
    manage("import_history", "ashare", str(recording))
    file = next(kept.root.glob("ashare/*/rows-*.parquet"))
    content = bytearray(file.read_bytes())
    content[1000] ^= 255
    file.write_bytes(content)
    with pytest.raises(CommandError, match="1 problems"):
        manage("check_history")


@pytest.mark.django_db
def test_tidying_keeps_what_a_feed_is_to_keep(kept: ParquetHistory) -> None:
    kept.describe(SPEC)
    for number in range(4):
        kept.append(SPEC.name, kept_market(3, begin=BEGIN + number * DAY_MS))
    assert manage("tidy_history") == "", "of a feed that says nothing all is kept"
    processor = Processor.objects.create(name="replay", kind="feed", class_path="processors.feeds.replay:Replay")
    Feed.objects.create(name=SPEC.name, processor=processor, keep_days=2)
    assert manage("tidy_history") == "market: 2 days before 2021-12-03 deleted\n"
    assert [day.day for day in kept.coverage(SPEC.name)] == ["2021-12-03", "2021-12-04"]
