"""Each way in feeds the live page: real sockets, a real broker, uploaded files; up to what the websocket tells."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka_broker import Broker
from platform_process import ROOT, Platform, running, wait_for
from test_life import SAMPLE, SPEC
from vendor_server import STOCKS, Handler, vendors_at_hand

from tasks_app.client.live import stream
from tasks_app.messages import Numbers

pytestmark = pytest.mark.timeout(300)

SIMULATED = {"calendar": "24/7", "zone": "UTC", "interval_ms": 1_000, "simulated": True}


@pytest.fixture(scope="module")
def broker(common_broker: Broker) -> Broker:
    common_broker.revive()
    return common_broker


@pytest.fixture(scope="module")
def vendors() -> Iterator[type[Handler]]:
    with pytest.MonkeyPatch.context() as patch, vendors_at_hand(patch) as found:
        yield found


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory, broker: Broker, vendors: type[Handler]) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("sources"), KAFKA_SERVERS=broker.servers) as found:
        yield found


class Command:
    """A command of manage.py in a process of its own, and what it says."""

    def __init__(self, platform: Platform, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            env=platform.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout
        self.said = self.process.stdout.readline()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(15)


def port_of(producer: Command) -> int:
    found = re.search(r"listening on 127\.0\.0\.1:(\d+)", producer.said)
    assert found, producer.said
    return int(found[1])


class Seen:
    """A stock_avg task on a feed, and what a websocket client is told of it."""

    def __init__(self, platform: Platform, feed: str) -> None:
        self.platform, self.task = platform, platform.create("stock_avg", feed)
        self.token = platform.token("viewer", f"sees-{self.task}")

    def more(self, count: int) -> list[Numbers]:
        """Return the numbers of ``count`` results that are new from now on."""
        held = self.platform.results.latest(self.task)
        found = asyncio.run(self._follow(count, held.id if held else None))
        indexes = [numbers.index for numbers in found]
        assert indexes == list(range(indexes[0], indexes[0] + count)), "each snapshot's result once, in order"
        return found

    async def _follow(self, count: int, after: str | None) -> list[Numbers]:
        found: list[Numbers] = []
        async with asyncio.timeout(120):
            async for item in stream(self.platform.url, self.token, self.task, after=after):
                found.append(item.numbers)
                if len(found) == count:
                    break
        return found


def stop(platform: Platform, task: int) -> dict[str, Any]:
    platform.ask(task, "stop")
    return platform.reaches(task, "Stopped", 10)


def test_a_producer_feeds_the_live_page_over_tcp_and_may_come_back(fed: Platform) -> None:
    arguments = ["produce", "--simulate", "50", "--every", "1"]
    with Command(fed, *arguments, "--port", "0", "--header") as producer:
        port = port_of(producer)
        fed.make_feed("socket", "tcp", {"port": port}, **SIMULATED)
        feed = fed.create("tcp", "socket", port=port)
        seen = Seen(fed, "socket")
        wait_for("rows", lambda: seen.more(1)[0].real > 40, 30)  # some stocks halt
        first = seen.more(5)
    wait_for("the break told", lambda: fed.task(feed)["progress"]["sources"][0]["state"] == "connecting")
    with Command(fed, *arguments, "--port", str(port), "--header"):
        wait_for("connected again", lambda: fed.task(feed)["progress"]["sources"][0]["opened"] == 2)
        # the seconds without a connection have their snapshots too, all of them carried rows
        wait_for("rows again", lambda: seen.more(1)[0].real > 40, 30)
        second = seen.more(5)
    fed.ask(seen.task, "stop")
    assert stop(fed, feed)["progress"]["received"] >= sum(numbers.real for numbers in first + second)


def test_a_feed_that_listens_takes_what_another_feed_published(fed: Platform) -> None:
    """A feed of the platform, produced again, read by a plain socket client: seven columns a line."""
    fed.make_feed("origin", "simulator", {"codes": 20, "every_s": 1.0}, **SIMULATED)
    origin = fed.create("simulator", "origin", codes=20, every_s=1.0)
    wait_for("snapshots", lambda: fed.task(origin)["progress"].get("snapshots"))
    with Command(fed, "produce", "--feed", "origin", "--port", "0") as producer:
        import socket

        with socket.create_connection(("127.0.0.1", port_of(producer)), 20) as connection:
            lines = connection.makefile("r")
            rows = [lines.readline().rstrip("\n").split(",") for _ in range(60)]
    assert {len(row) for row in rows} == {7}
    assert {row[1][:3] for row in rows} == {"SIM"}
    stop(fed, origin)


def test_a_topic_feeds_the_live_page_through_a_brokers_death_and_results_go_out(fed: Platform, broker: Broker) -> None:
    from processors.feeds.market import Market, MarketShape
    from processors.feeds.simulate import GridClock, SimulatedRows

    topic, results = broker.topic("live"), broker.topic("live-results")
    fed.make_feed("topic", "kafka", {"topic": topic}, **SIMULATED)
    feed = fed.create("kafka", "topic", topic=topic, format="json", start="earliest")
    stopping, producer = threading.Event(), broker.producer()

    def produce() -> None:
        rows = SimulatedRows(Market(MarketShape(30, 1.0, 1)))
        for end in GridClock(1_000, 0, stopping).ends():
            for row in rows.take(end).to_pylist():
                producer.produce(topic, json.dumps(row))
            producer.poll(0)

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        seen = Seen(fed, "topic")
        before = seen.more(5)
        broker.kill()
        wait_for("the break told", lambda: fed.task(feed)["progress"]["sources"][0]["state"] == "connecting")
        broker.start()
        assert seen.more(6)[0].index > before[-1].index
        with Command(fed, "publish", "--task", str(seen.task), "--topic", results, "--all") as publishing:
            assert "publishing task-" in publishing.said
            told = [json.loads(message.value()) for message in broker.read(results, 10)]
    finally:
        stopping.set()
        thread.join(60)
    held = {item.id: item.numbers for item in fed.items(seen.task)}
    assert len({item["id"] for item in told}) == len(told)
    assert all(held[item["id"]] == item["numbers"] for item in told)
    indexes = [item["numbers"]["index"] for item in told]
    assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))
    fed.ask(seen.task, "stop")
    assert stop(fed, feed)["progress"]["rejected"] == {}


def test_a_folder_feeds_the_live_page_as_files_come(fed: Platform, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(SAMPLE)
    folder = tmp_path / "drop"
    folder.mkdir()
    fed.make_feed("folder", "folder", {"path": str(folder)}, **SPEC)
    feed = fed.create("folder", "folder", path=str(folder), pace=20)
    pq.write_table(table.slice(0, 3000), folder / "1.parquet")
    seen = Seen(fed, "folder")
    assert len(seen.more(20)) == 20
    pq.write_table(table.slice(3000, 3000), folder / "2.parquet")
    (folder / "3.csv").write_text("nothing,of,use\n1,2,3\n")
    wait_for("both files read", lambda: fed.task(feed)["progress"].get("received") == 6000)
    wait_for("the bad one told", lambda: fed.task(feed)["progress"]["rejected"].get("unusable_file") == 1)
    for each in (seen.task, feed):
        stop(fed, each)


def test_vendors_feed_the_live_page_and_one_stands_in_for_the_other(fed: Platform, vendors: type[Handler]) -> None:
    asked = {"sources": ["tushare", "akshare"], "expected": STOCKS, "calls_per_min": 10_000, "timeout_s": 2.0}
    spec = {"calendar": "24/7", "zone": "UTC", "interval_ms": 1_000, "volume_mode": "cumulative"}
    fed.make_feed("vendors", "vendor", asked, **spec)
    feed = fed.create("vendor", "vendors", **asked)

    def active() -> str:
        sources = fed.http.get("/api/feeds/vendors/health").json()["sources"]
        return next((each["name"] for each in sources if each["active"]), "")

    wait_for("the first source", lambda: active() == "tushare")
    seen = Seen(fed, "vendors")
    assert seen.more(5)[-1].stocks == STOCKS - 1, "one is suspended"
    vendors.tushare.mood = "truncated"
    wait_for("the other one", lambda: active() == "akshare", 20)
    assert len(seen.more(5)) == 5
    fed.ask(seen.task, "stop")
    [failed, _] = fed.http.get("/api/feeds/vendors/health").json()["sources"]
    assert "truncated" in failed["error"]
    assert stop(fed, feed)["progress"]["rejected"] == {}
