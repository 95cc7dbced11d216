"""Results as they come, over the websocket: after a break it goes on behind the last one that it yielded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tasks_app.client.calls import Problem, checked
from tasks_app.messages import SERVER, Error, Item, ResultsSnapshot, ResultsUpdate, SubscribeResults

SESSION_ENDED = 4401
_MAX_MESSAGE = 2**26
_SLOWEST_S = 15.0


class Ended(Exception):
    """The token has ended, or was revoked: no more results come to it."""


async def stream(url: str, token: str, task: int, *, after: str | None = None) -> AsyncIterator[Item]:
    """Yield the results of a task after an id (without: what is held, then each new one), each once and in order.

    Connections that break are made again with a growing pause. When the id is no longer held, or the task began anew,
    what is held comes from its start. Raises Ended, or Problem for a token that is not good.
    """
    failures = 0
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20.0) as http:
        while True:
            try:
                async with connect(await _address(http, url), max_size=_MAX_MESSAGE, proxy=None) as socket:
                    async for item in _follow(socket, task, after):
                        after, failures = item.id, 0
                        yield item
            except ConnectionClosed as closed:
                if closed.rcvd and closed.rcvd.code == SESSION_ENDED:
                    raise Ended("the token has ended or was revoked") from closed
            except Problem as problem:
                if problem.status < 500:
                    raise
            except (httpx.TransportError, InvalidHandshake, OSError, TimeoutError):
                pass  # it is down or restarting: the pause below, then once more
            await asyncio.sleep(min(_SLOWEST_S, 0.2 * 2**failures) * random.uniform(0.5, 1.0))
            failures = min(failures + 1, 10)


async def _address(http: httpx.AsyncClient, url: str) -> str:
    ticket = checked(await http.post("/api/tickets")).json()["ticket"]
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/ws/live", f"ticket={ticket}", ""))


async def _follow(socket: ClientConnection, task: int, after: str | None) -> AsyncIterator[Item]:
    """Yield what one connection tells; where an update does not follow the last, ask again from there."""
    await _subscribe(socket, task, after)
    asked = True
    while True:
        message = SERVER.validate_json(await socket.recv(), extra="allow")  # a newer platform tells more
        if isinstance(message, Error):
            raise Problem(422, message.detail)
        if isinstance(message, ResultsSnapshot) and message.task == task:
            asked = False
            for item in message.items:
                after = item.id
                yield item
        elif isinstance(message, ResultsUpdate) and message.task == task and not asked:
            if message.prev == after or after is None:
                after = message.item.id
                yield message.item
            elif _number(message.item.id) > _number(after):
                asked = True
                await _subscribe(socket, task, after)


async def _subscribe(socket: ClientConnection, task: int, after: str | None) -> None:
    wanted = SubscribeResults(type="subscribe", topic="results", task=task, after=after)
    await socket.send(wanted.model_dump_json())


def _number(item: str) -> tuple[int, int]:
    first, _, second = item.partition("-")
    return int(first), int(second)
