"""A folder that files come into: each once, whole, in order; bad ones told; what was read is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from feed_support import ALWAYS, HEADER, Running, Valkey, published, tick, until

from processors.bus import Bus, connect
from processors.feeds import folder as module
from processors.feeds.folder import Folder, FolderParams
from processors.feeds.tally import SourceError

SPEC = replace(ALWAYS, interval_ms=1_000, carry_limit_s=0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_S", 0.3)


def write(path: Path, minute: int, seconds: range, header: str = HEADER) -> None:
    rows = [tick(f"09:{minute:02}:{second:02}", code) for second in seconds for code in ("600000", "600001")]
    path.write_text("\n".join([header, *rows]) + "\n")


def follow(valkey: Valkey, path: Path, state: Path, **more: object) -> Running:
    Bus(connect(valkey.url), SPEC.name).follow("test", 2**60, for_ms=60_000)
    params = FolderParams(path=str(path), **more)  # type: ignore[arg-type]
    return Running(Folder(), params, SPEC, valkey.url, state_dir=state)


def times(valkey: Valkey) -> list[int]:
    return [header.time // 1000 % 3600 for header, _ in published(valkey.url, SPEC)]


def test_files_are_read_once_in_order_also_by_the_next_attempt(valkey: Valkey, tmp_path: Path) -> None:
    drop, state = tmp_path / "drop", tmp_path / "state"
    drop.mkdir(), state.mkdir()
    write(drop / "2.csv", 2, range(1, 60, 5))
    write(drop / "1.csv", 1, range(1, 60, 5))
    write(drop / ".3.csv", 3, range(1, 60, 5))
    write(drop / "3.csv.tmp", 3, range(1, 60, 5))
    run = follow(valkey, drop, state)
    until(lambda: run.facts.get("files_read") == 2, 30)
    assert run.facts["rejected"] == {} and run.facts["received"] == 48
    run.stop()
    assert times(valkey) == list(range(61, 181, 5))
    again = follow(valkey, drop, state)
    (drop / "3.csv.tmp").rename(drop / "3.csv")
    until(lambda: again.facts.get("files_read") == 3, 30)
    again.stop()
    assert again.facts["received"] == 24 and again.facts["rejected"] == {}
    assert times(valkey) == list(range(61, 241, 5))


def test_a_file_of_no_use_is_told_and_the_next_is_read(valkey: Valkey, tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.parquet").write_bytes(b"")
    write(tmp_path / "3.csv", 1, range(1, 60, 5))
    run = follow(valkey, tmp_path, tmp_path, pattern="*.[cp]*")
    until(lambda: run.facts.get("received") == 24, 30)
    run.stop()
    assert run.facts["rejected"] == {"unusable_file": 2}
    assert "no column time" in run.facts["samples"]["unusable_file"][0]


def test_a_file_that_is_still_written_is_waited_for(valkey: Valkey, tmp_path: Path) -> None:
    path = tmp_path / "1.csv"
    run = follow(valkey, tmp_path, tmp_path)
    for end in range(10, 61, 10):
        write(path, 1, range(1, end, 5))
        assert not run.context.stopping.wait(0.1)
        assert run.facts.get("received", 0) == 0
    until(lambda: run.facts.get("received", 0) == 24, 30)
    run.stop()


def test_a_folder_that_is_none_is_an_error(valkey: Valkey, tmp_path: Path) -> None:
    run = follow(valkey, tmp_path / "none", tmp_path).wait()
    assert isinstance(run.error, SourceError) and "is no folder" in str(run.error)
