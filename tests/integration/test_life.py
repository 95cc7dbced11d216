"""A task's life, on real processes: started, stopped, killed in the middle, and gone on with."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import postgres_server
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import spark_cluster
from platform_process import ROOT, Platform, running, wait_for

pytestmark = pytest.mark.timeout(300)

SAMPLE = ROOT / "sample" / "ashare_3s_30_20211201.parquet"
SPEC = {"zone": "Asia/Shanghai", "calendar": "XSHG", "interval_ms": 3000, "volume_unit": "lots", "slices": 2}


def recording(path: Path, minutes: int) -> Path:
    """Write the first minutes of the sample."""
    table = pq.read_table(SAMPLE)
    begin = pc.min(table["time"]).as_py()
    end = begin + timedelta(minutes=minutes)
    pq.write_table(table.filter(pc.less_equal(table["time"], pa.scalar(end, table["time"].type))), path)
    return path


def simulate(platform: Platform, name: str, codes: int = 60, every_s: float = 1.0, **spec: Any) -> int:
    platform.make_feed(
        name,
        "simulator",
        {"codes": codes, "every_s": every_s},
        calendar="24/7",
        zone="UTC",
        interval_ms=int(every_s * 1000),
        simulated=True,
        **spec,
    )
    return platform.create("simulator", name, codes=codes, every_s=every_s)


def numbers(platform: Platform, task: int) -> dict[int, str]:
    """Return index → numbers of every result, as text; a second result for an index fails."""
    found: dict[int, str] = {}
    for item in platform.items(task):
        assert item.numbers["index"] not in found, f"two results for index {item.numbers['index']}"
        found[item.numbers["index"]] = json.dumps(item.numbers, sort_keys=True)
    return found


def test_stop_ends_a_task_within_two_seconds_and_a_retry_goes_on_where_it_stood(platform: Platform) -> None:
    feed = simulate(platform, "stopped")
    task = platform.create("cluster_regression", "stopped")
    platform.predicts(task, above=5)
    stops_and_is_gone(platform, task)
    before = numbers(platform, task)
    assert platform.ask(task, "retry").json()["attempt"] == 2
    platform.predicts(task, above=max(before) + 4)
    after = numbers(platform, task)
    assert after.items() >= before.items()
    assert sorted(after) == list(range(min(after), max(after) + 1)), "no snapshot is left out"
    for each in (task, feed):
        stops_and_is_gone(platform, each)
    assert platform.ask(task, "stop").status_code == 409


def stops_and_is_gone(platform: Platform, task: int) -> None:
    """Stop a task; its processes and what they kept outside of the state are gone as soon."""
    process, asked = platform.runner(task), time.monotonic()
    assert platform.ask(task, "stop", reason="enough").status_code == 202
    ended = platform.reaches(task, "Stopped", 5, attempt=platform.task(task)["attempt"])
    wait_for("processes gone", lambda: not platform.members(f"{task}."), 2)
    assert time.monotonic() - asked < 3
    assert ended["reason"] == "enough" and ended["actions"] == ["retry"]
    kept = [found for place in ("/dev/shm", tempfile.gettempdir()) for found in Path(place).glob("live-stock-*/*")]
    assert str(process.pid) not in {path.name for path in kept}


@pytest.mark.timeout(600)
def test_the_same_recording_gives_the_same_numbers_at_any_pace_killed_or_not_on_one_machine_or_on_a_cluster(
    own_platform: Platform, tmp_path: Path
) -> None:
    platform, path = own_platform, recording(tmp_path / "recording.parquet", minutes=4)
    fast = replayed(platform, "fast", path, pace=0.0)
    assert len(fast) > 70
    assert replayed(platform, "paced", path, pace=60.0, kill_at=30) == fast
    with spark_cluster.running(tmp_path) as master:
        platform.kill("worker")
        platform.env["SPARK_MASTER"] = master
        platform.start_worker()
        assert replayed(platform, "cluster", path, pace=0.0) == fast


def replayed(platform: Platform, name: str, path: Path, pace: float, kill_at: int | None = None) -> dict[int, str]:
    """Follow a recording to its end, with the runner killed after a snapshot; return the numbers of every result."""
    platform.make_feed(name, "replay", {"path": str(path), "pace": pace}, **SPEC)
    task = platform.create("cluster_regression", name)
    platform.reaches(task, "Running", 120)
    feed = platform.create("replay", name, path=str(path), pace=pace)
    if kill_at is not None:
        platform.predicts(task, above=kill_at)
        platform.runner(task).send_signal(signal.SIGKILL)
        platform.reaches(task, "Running", attempt=2)
    platform.reaches(feed, "Finished", 120)
    platform.predicts(task, above=platform.task(feed)["progress"]["snapshots"] - 2, timeout_s=200)
    found = numbers(platform, task)
    platform.ask(task, "stop")
    ended = platform.reaches(task, "Stopped", 10, attempt=1 if kill_at is None else 2)
    told = [(event["attempt"], event["to"], event["reason"]) for event in platform.events(task)]
    assert ended["attempt"] == (1 if kill_at is None else 2), f"{told}\n{platform.log(task)}"
    return found


def test_a_life_on_postgresql(postgres: str, tmp_path: Path) -> None:
    url = postgres_server.create(postgres, "life")
    with running(tmp_path, DATABASE_URL=url) as platform:
        feed = simulate(platform, "elephant")
        task = platform.create("cluster_regression", "elephant")
        item = platform.predicts(task, above=5)
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE tasks_app_task IN ACCESS EXCLUSIVE MODE")
            for each in (task, feed):
                platform.runner(each).send_signal(signal.SIGKILL)
            time.sleep(10)  # the lock itself
        for each in (task, feed):
            platform.reaches(each, "Running", attempt=2)
        platform.predicts(task, above=item.numbers["index"] + 8)
        seen = numbers(platform, task)
        assert sorted(seen) == list(range(min(seen), max(seen) + 1))
        for each in (task, feed):
            told = [(event["attempt"], event["to"]) for event in platform.events(each) if event["kind"] == "move"]
            assert told == [
                (1, "Started"), (1, "Running"), (1, "Terminated"), (2, "Initial"), (2, "Started"), (2, "Running"),
            ]  # fmt: skip
            platform.ask(each, "stop")
            platform.reaches(each, "Stopped", 5)
        assert not (tmp_path / "platform.sqlite3").exists()
