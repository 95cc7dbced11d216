"""What a web process tells its clients of tasks: never older than what it has told before, and no change lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio
from feed_support import Valkey

from processors.bus import connect
from tasks_app import live
from tasks_app.results import Results


def task(number: int, status: str) -> dict[str, Any]:
    return {"id": number, "status": status, "queue": None}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server.url
    server.kill()


async def test_a_client_that_joins_is_told_what_the_reader_knows_better(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, client = live.Hub(), live.Client("session")

    def slowly_read() -> list[dict[str, Any]]:
        hub._tasks = {7: task(7, "Stopped")}  # told to the reader after the database was read
        return [task(7, "Running"), task(8, "Running")]

    monkeypatch.setattr(live, "_all_tasks", slowly_read)
    await hub.follow_tasks(client)
    [snapshot] = map(json.loads, await client.take())
    assert [each["status"] for each in snapshot["tasks"]] == ["Stopped", "Running"]


async def test_a_change_between_the_first_clients_answer_and_the_readers_first_look_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.REDIS_URL = url
    monkeypatch.setattr(live, "_one_task", lambda number: {number: task(number, "Stopped")})
    Results(connect(url)).announce(7)
    hub, client = live.Hub(), live.Client("session")
    client.topics.add("tasks")
    hub.join(client)
    async with asyncio.timeout(10):
        [update] = map(json.loads, await client.take())
    assert update["task"] == task(7, "Stopped")
    hub.leave(client)


async def test_who_joins_while_the_last_reader_closes_its_connection_is_told_too(
    url: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.REDIS_URL = url
    monkeypatch.setattr(live, "_one_task", lambda number: {number: task(number, "Stopped")})
    closing, joined, close = asyncio.Event(), asyncio.Event(), redis.asyncio.Redis.aclose

    async def slowly_close(connection: redis.asyncio.Redis) -> None:
        closing.set()
        await joined.wait()
        await close(connection)

    monkeypatch.setattr(redis.asyncio.Redis, "aclose", slowly_close)
    hub, last, new = live.Hub(), live.Client("session"), live.Client("session")
    new.topics.add("tasks")
    async with asyncio.timeout(10):
        hub.join(last)
        hub.leave(last)
        await closing.wait()
        hub.join(new)
        joined.set()
        Results(connect(url)).announce(9)
        told: set[int] = set()
        while 9 not in told:
            told |= {json.loads(text)["task"]["id"] for text in await new.take()}
    hub.leave(new)
