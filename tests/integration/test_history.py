"""db_store on real processes: what was on the bus is in the history once, whatever died meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import mongo_server
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from mongo_history_access import opened
from platform_process import Platform, running, wait_for
from test_life import simulate

from processors.bus import Bus
from processors.history.parquet import ParquetHistory
from processors.history.rows import batch_columns, kept
from processors.history.sink import raw_kept
from processors.history.store import RAW, History, Kept
from tasks_app.client import Client, Problem

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def storing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose store and Redis these tests take away."""
    with running(tmp_path_factory.mktemp("storing")) as found:
        yield found


def on_the_bus(platform: Platform, feed: str) -> list[Kept]:
    bus = Bus(platform.results.client, feed)
    headers = bus.headers(0)
    parts = [bus.read(number, [header.seq for header in headers]) for number in range(headers[0].slices)]
    return [
        kept(header, [batch_columns(part) for part in slices if part is not None])
        for header, *slices in zip(headers, *parts, strict=True)
    ]


def ticks_on_the_bus(platform: Platform, feed: str) -> list[Kept]:
    bus = Bus(platform.results.client, feed)
    headers = bus.headers(0)
    ticks = bus.read(headers[0].slices, [header.seq for header in headers])
    return [raw_kept(header, found) for header, found in zip(headers, ticks, strict=True) if found is not None]


def rows_of(snapshots: list[Kept]) -> pa.Table:
    rows = pa.concat_tables([each.rows for each in snapshots])
    return rows.sort_by([("snapshot", "ascending"), ("code", "ascending")]).combine_chunks()


def holds_everything(history: History, feed: str, snapshots: list[Kept]) -> None:
    """Compare tick by tick."""
    held = {header.time for header, _ in history.headers(feed)}
    assert not {each.header.time for each in snapshots} - held, "no snapshot is left out"
    first, last = snapshots[0].header.time, snapshots[-1].header.time
    found, wanted = history.read(feed, first, last + 1).read_all(), rows_of(snapshots)
    assert found.schema == wanted.schema
    assert found.to_pandas().equals(wanted.to_pandas()), "of a tick without a change both say NaN"
    assert not list(history.check(feed))


def progress(platform: Platform, task: int) -> dict[str, Any]:
    return platform.task(task)["progress"]


def stop(platform: Platform, *tasks: int) -> None:
    for task in tasks:
        platform.ask(task, "stop")
        platform.reaches(task, "Stopped", 8, attempt=platform.task(task)["attempt"])


def stores_more(platform: Platform, history: History, feed: str, more: int = 5) -> None:
    """Wait until the history holds more snapshots than now."""

    def count() -> int:
        return sum(day.snapshots for day in history.coverage(feed))

    wanted = count() + more
    wait_for(f"{wanted} snapshots stored", lambda: count() >= wanted, 60)


def ends_stored(platform: Platform, history: History, name: str, task: int) -> list[Kept]:
    """Wait until a feed's last snapshot is stored, the feed being stopped, stop the task; return what is on the bus."""
    snapshots = on_the_bus(platform, name)
    last = snapshots[-1].header.time
    # It began with the oldest snapshot on the bus: on a busy machine it may be minutes behind.
    wait_for("all stored", lambda: any(header.time == last for header, _ in history.headers(name, last)), 240)
    stop(platform, task)
    return snapshots


def test_no_row_is_lost_or_doubled_when_the_task_is_killed_and_redis_restarts(storing: Platform) -> None:
    platform, history = storing, ParquetHistory(storing.state / "history")
    feed = simulate(platform, "kept", keep_raw=True)
    task = begins_to_store(platform, history, "kept")
    killed(platform, history, "kept", task)
    time.sleep(1.1)  # Redis writes its file each second: what is on the bus until here survives
    platform.kill("redis")
    time.sleep(1.0)
    platform.start_redis()
    stores_more(platform, history, "kept")
    stop(platform, feed)
    platform.runner(task).send_signal(signal.SIGKILL)
    platform.reaches(task, "Running", attempt=3)
    snapshots = ends_stored(platform, history, "kept", task)
    holds_everything(history, "kept", snapshots)
    holds_everything(history, f"kept{RAW}", ticks_on_the_bus(platform, "kept"))


def test_mongodb_has_each_row_once_although_the_task_was_killed_and_the_server_stood_still(tmp_path: Path) -> None:
    with (
        mongo_server.server() as server,
        running(tmp_path, MONGODB_URL=f"{server.url}kept") as platform,
        opened(f"{server.url}kept") as history,
    ):
        feed = simulate(platform, "kept", keep_raw=True)
        task = begins_to_store(platform, history, "kept")
        killed(platform, history, "kept", task)
        server.process.suspend()
        try:
            wait_for("told", lambda: progress(platform, task).get("not_taken"), 60)
            assert platform.task(task)["status"] == "Running"
        finally:
            server.process.resume()
        wait_for("taken again", lambda: progress(platform, task).get("not_taken") == "", 60)
        stores_more(platform, history, "kept")
        stop(platform, feed)
        snapshots = ends_stored(platform, history, "kept", task)
        assert progress(platform, task)["missed"] == 0 and platform.task(task)["attempt"] == 2
        holds_everything(history, "kept", snapshots)
        holds_everything(history, f"kept{RAW}", ticks_on_the_bus(platform, "kept"))


def begins_to_store(platform: Platform, history: History, feed: str, gather_s: float = 1.0) -> int:
    task = platform.create("db_store", feed, gather_s=gather_s)
    wait_for("the feed known", lambda: history.spec(feed), 90)
    stores_more(platform, history, feed)
    return task


def killed(platform: Platform, history: History, feed: str, task: int) -> None:
    """Kill a task in its midst and wait until the next attempt has gone on."""
    platform.runner(task).send_signal(signal.SIGKILL)
    platform.reaches(task, "Running", attempt=2)
    stores_more(platform, history, feed)


def test_a_task_that_keeps_its_results_has_each_once_although_it_was_killed(storing: Platform, tmp_path: Path) -> None:
    platform = storing
    feed = simulate(platform, "told")
    refused = platform.http.post("/api/tasks", json={"processor": "simulator", "feed": "told", "keep": True})
    assert refused.status_code == 422 and "feed has no results" in refused.json()["errors"]["keep"][0]
    asked = {"processor": "cluster_regression", "feed": "told", "keep": True}
    task = platform.http.post("/api/tasks", json=asked).json()["id"]
    platform.predicts(task, above=8)
    platform.runner(task).send_signal(signal.SIGKILL)
    platform.reaches(task, "Running", attempt=2)
    platform.predicts(task, above=platform.items(task)[-1].numbers["index"] + 6)
    stop(platform, feed, task)
    with Client(platform.url, platform.token("viewer", "later")) as client:
        kept = [(each.seq, each.numbers) for each in client.kept(task, limit=11)]
        assert kept == [(item.meta["seq"], item.numbers) for item in platform.items(task)]
        [day] = client.kept_days(task)
        assert (day.results, day.last) == (len(kept), kept[-1][1]["time"])
        some = [each.seq for each in client.kept(task, start=kept[5][1]["time"], end=kept[9][1]["time"])]
        assert some == [seq for seq, _ in kept[5:9]]
        client.download_kept(task, tmp_path / "stocks.parquet")
        with pytest.raises(Problem, match="expected one of json"):
            client.download_kept(task, tmp_path / "none", kind="xls")
    stocks = pq.read_table(tmp_path / "stocks.parquet")
    newest = platform.items(task)[-1]
    of_newest = stocks.filter(pc.field("seq") == newest.meta["seq"])
    assert of_newest.num_rows == newest.numbers["stocks"] == 60
    sizes = {each["id"]: each["size"] for each in newest.numbers["clusters"]}
    assert {entry["values"]: entry["counts"] for entry in pc.value_counts(of_newest["cluster"]).to_pylist()} == sizes


def test_an_outage_of_the_store_is_bridged_from_the_bus_and_what_outlasts_it_is_counted(storing: Platform) -> None:
    platform, root = storing, storing.state / "history"
    history = ParquetHistory(root)
    feed = simulate(platform, "short", codes=200, every_s=0.25)
    task = begins_to_store(platform, history, "short", gather_s=0.5)
    _take_away(platform, task, root)
    wait_for("told", lambda: progress(platform, task).get("not_taken"), 15)
    time.sleep(3)
    _give_back(platform, task, root)
    wait_for("taken again", lambda: progress(platform, task).get("not_taken") == "", 15)
    stores_more(platform, history, "short")
    stored = max(header.time for header, _ in history.headers("short"))
    holds_everything(history, "short", [each for each in on_the_bus(platform, "short") if each.header.time <= stored])
    assert progress(platform, task)["missed"] == 0

    stop(platform, feed)
    assert platform.http.patch("/api/feeds/short", json={"max_bytes": 1_000_000}).status_code == 200
    platform.ask(feed, "retry")
    platform.reaches(feed, "Running", attempt=2)
    stores_more(platform, history, "short")
    _take_away(platform, task, root)
    wait_for("told", lambda: progress(platform, task).get("not_taken"), 15)
    bus = Bus(platform.results.client, "short")
    newest = bus.last()
    assert newest is not None
    wait_for("the bus trimmed past it", lambda: (bus.first() or newest).seq > newest.seq, 90)
    _give_back(platform, task, root)
    wait_for("taken again", lambda: progress(platform, task).get("not_taken") == "", 15)
    wait_for("the gap counted", lambda: progress(platform, task)["missed"] > 0, 30)
    stores_more(platform, history, "short")
    stop(platform, feed, task)
    indices = [header.index for header, _ in history.headers("short")]
    gaps = sum(newer - older - 1 for older, newer in pairwise(indices))
    assert progress(platform, task)["missed"] == gaps > 0
    assert not list(history.check("short"))


def _take_away(platform: Platform, task: int, root: Path) -> None:
    """Put a file in the directory's place: what a disk that went away looks like to who writes."""
    runner = platform.runner(task)
    runner.suspend()  # or it might make the directory anew in between
    root.rename(root.with_name("away"))
    root.touch()
    runner.resume()


def _give_back(platform: Platform, task: int, root: Path) -> None:
    runner = platform.runner(task)
    runner.suspend()
    root.unlink()
    root.with_name("away").rename(root)
    runner.resume()
