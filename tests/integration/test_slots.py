"""A task waits visibly for a free slot, with the memory that it asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from platform_process import Platform, running, wait_for
from prometheus_client.parser import text_string_to_metric_families
from test_doorways import say, socket, until

pytestmark = pytest.mark.timeout(240)

MARKET = {"codes": 60, "every_s": 0.5}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose worker hosts two tasks side by side, with four feeds."""
    with running(tmp_path_factory.mktemp("narrow"), SLOTS="2") as found:
        spec = {"calendar": "24/7", "zone": "UTC", "interval_ms": 500, "simulated": True}
        for name in ("narrow", "a", "b", "c"):
            found.make_feed(name, "simulator", MARKET, **spec)
        yield found


def places(platform: Platform, *tasks: int) -> list[int | None]:
    found = [platform.task(task)["queue"] for task in tasks]
    return [place and place["position"] for place in found]


def test_tasks_wait_in_line_for_a_slot_and_move_up(narrow: Platform) -> None:
    other, first, second = (narrow.create("simulator", name, **MARKET) for name in ("narrow", "a", "b"))
    narrow.reaches(first, "Running")
    third = narrow.create("simulator", "c", **MARKET)
    assert narrow.task(second)["queue"] == {"position": 1, "taken": 2, "slots": 2}
    assert places(narrow, first, second, third) == [None, 1, 2]
    told = asyncio.run(moves_up(narrow, first, third))
    assert told["queue"]["position"] == 1
    narrow.reaches(second, "Running")
    assert places(narrow, second, third) == [None, 1]
    narrow.ask(third, "stop")
    assert narrow.reaches(third, "Stopped", 5)["reason"] == "stopped before a worker took it"
    assert len(narrow.results.queued(["feed"])) <= 1, "waiting sends nothing again"
    for task in (second, other):
        narrow.ask(task, "stop")
        narrow.reaches(task, "Stopped", 5)


async def moves_up(platform: Platform, first: int, third: int) -> dict:
    """Stop the first task and wait until the websocket tells that the third is next."""
    async with socket(platform, platform.http) as live:
        await say(live, type="subscribe", topic="tasks")
        await until(live, type="snapshot")
        await asyncio.to_thread(platform.ask, first, "stop")
        while True:
            task = (await until(live, type="update", topic="tasks"))["task"]
            if task["id"] == third and task["queue"]["position"] == 1:
                return task


def test_without_a_worker_the_queue_says_so(narrow: Platform) -> None:
    narrow.kill("worker")
    wait_for("no slots", lambda: narrow.results.slots() == 0, 10)
    task = narrow.create("stock_avg", "narrow")
    assert narrow.task(task)["queue"] == {"position": 1, "taken": 0, "slots": 0}
    narrow.ask(task, "stop")
    narrow.start_worker()


def test_memory_is_checked_and_used_and_prometheus_is_told_of_everything(narrow: Platform) -> None:
    feed = narrow.create("simulator", "narrow", **MARKET)
    body = {"processor": "stock_avg", "feed": "narrow", "memory_mb": 512}
    for wrong in (100, 100_000):
        refused = narrow.http.post("/api/tasks", json={**body, "memory_mb": wrong})
        assert refused.status_code == 422 and str(wrong) in refused.json()["errors"]["memory_mb"][0]
    made = narrow.http.post("/api/tasks", json=body).json()
    assert made["memory_mb"] == 512
    task = made["id"]
    narrow.reaches(task, "Running")
    assert "-Xmx512m" in narrow.jvm(task).cmdline()
    told = wait_for("memory told", lambda: narrow.task(task)["progress"].get("heap_mb"), 30)
    assert 10 < told < 512
    progress = narrow.task(task)["progress"]
    assert progress["jvm_mb"] > 50 and progress["python_mb"] > 50
    tells_prometheus(narrow, feed, task)
    for each in (task, feed):
        narrow.ask(each, "stop")
        narrow.reaches(each, "Stopped", 5)
    again = narrow.http.post(f"/api/tasks/{task}/retry", json={"memory_mb": 600}).json()
    assert again["memory_mb"] == 600 and again["attempt"] == 2
    narrow.ask(task, "stop")


def tells_prometheus(narrow: Platform, feed: int, task: int) -> None:
    """Read the metrics while a task follows a feed."""
    narrow.predicts(task, above=narrow.predicts(task).numbers["index"] + 5)
    headers = {"Authorization": f"Bearer {narrow.token('viewer', 'prometheus')}"}

    def settled() -> dict[tuple[str, str], float] | None:
        """60 stocks, twice a second: what was caught up with at the start has to leave the ten seconds first."""
        found = metrics(httpx.get(f"{narrow.url}/metrics", headers=headers))
        rate, lag = (found.get((f"platform_task_{name}", str(task)), -1) for name in ("rows_per_second", "lag_seconds"))
        return found if 60 < rate < 240 and 0 <= lag < 5 else None

    found = wait_for("the pace told", settled, 60)
    assert (
        found["platform_tasks", "Running"] == 1
        and found["platform_slots", ""] == found["platform_slots_taken", ""] == 2
    )
    assert found["platform_task_missed_snapshots_total", str(task)] == 0
    assert found["platform_feed_received_rows_total", str(feed)] > 60
    assert found["platform_redis_up", ""] == 1 and found["platform_redis_used_bytes", ""] > 1e5
    assert found["platform_websocket_clients", ""] == 0


def metrics(answer: httpx.Response) -> dict[tuple[str, str], float]:
    """Return the values of the page of metrics by name, and by task or status where they are one's."""
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, sample.labels.get("task") or sample.labels.get("status") or ""): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.labels.get("kind", "stream") == "stream"
    }
