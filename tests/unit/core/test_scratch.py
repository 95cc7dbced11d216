"""What a process keeps for its lifetime goes with it, whoever killed it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processors import scratch


@pytest.fixture(params=["memory", "no memory"])
def places(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where directories are made: in memory and on disk, or on disk only."""
    memory, disk = tmp_path / "shm", tmp_path / "tmp"
    disk.mkdir()
    if request.param == "memory":
        memory.mkdir()
    monkeypatch.setattr(scratch, "_MEMORY", memory)
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    return [memory, disk] if request.param == "memory" else [disk, disk]


def test_each_process_has_its_own_directories_which_nobody_else_may_read(places: list[Path]) -> None:
    for found, place in zip((scratch.in_memory(), scratch.on_disk()), places, strict=True):
        assert found.parent.parent == place and found.name == str(os.getpid())
        assert found.parent.stat().st_mode & 0o077 == 0


def test_what_the_dead_kept_goes_and_what_the_living_keep_stays(places: list[Path]) -> None:
    mine = scratch.in_memory(), scratch.on_disk()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [path.with_name(str(gone.pid)) for path in mine]
    foreign = mine[0].with_name("notes")
    for path in {*left, foreign}:
        path.mkdir()
        (path / "library.so").touch()
    scratch.drop(1)
    assert not any(path.exists() for path in left) and foreign.is_dir()
    assert all(path.is_dir() for path in mine)
    scratch.drop(os.getpid())
    assert not any(path.exists() for path in mine)


@pytest.mark.skipif(os.getuid() != 0, reason="giving a directory away needs root")
def test_a_directory_that_another_user_made_is_refused_by_name(places: list[Path]) -> None:
    place = scratch.in_memory().parent
    os.chown(place, 65534, -1)
    with pytest.raises(PermissionError, match=f"{place} belongs to another user"):
        scratch.in_memory()
