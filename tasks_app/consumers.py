"""The websocket doorway: ``/ws/live`` by docs/protocol.md."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import redis
import structlog
from asgiref.sync import sync_to_async
from channels.auth import get_user
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone

from tasks_app.live import HUB, Client, StockView, encode

log = structlog.get_logger()

CUT_AFTER_S = 15.0
CHECK_EVERY_S = 60.0
NOT_LOGGED_IN = 4401


class SameOrigin:
    """Refuse a websocket whose Origin is missing or another site's: cookies alone would let any page connect."""

    def __init__(self, inner: Any):
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", []))
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if not origin or urlsplit(origin).netloc != host:
            log.warning("websocket refused", origin=origin or "missing", host=host)
            await send({"type": "websocket.close", "code": 4403})
            return
        await self.inner(scope, receive, send)


class BadMessage(Exception):
    """A message that can't be followed; the text says what was expected."""


class LiveConsumer(AsyncWebsocketConsumer):
    client: Client | None = None

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(code=NOT_LOGGED_IN)
            return
        session = self.scope.get("session")
        self.client = Client(session.session_key if session else None)
        HUB.join(self.client)
        self._helpers = [asyncio.create_task(self._send_all()), asyncio.create_task(self._check_right())]
        await self.send(encode({"type": "hello", "user": user.get_username(), "now": timezone.now().isoformat()}))

    async def disconnect(self, code: int) -> None:
        if self.client:
            HUB.leave(self.client)
            for helper in self._helpers:
                helper.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.client is None:
            return
        try:
            await self._follow(self.client, _parse(text_data))
        except BadMessage as error:
            await self.send(encode({"type": "error", "detail": str(error)}))
        except redis.RedisError:
            await self.send(encode({"type": "error", "detail": "Redis does not answer; try again in a moment"}))

    async def _follow(self, client: Client, message: dict[str, Any]) -> None:
        kind, topic = message.get("type"), message.get("topic")
        if kind == "ping":
            await self.send(encode({"type": "pong"}))
        elif kind == "unsubscribe":
            HUB.unfollow(client, f"results:{_number(message, 'task')}" if topic == "results" else str(topic))
        elif kind != "subscribe":
            raise BadMessage(f"type {kind!r}: expected subscribe, unsubscribe or ping")
        elif topic == "tasks":
            await HUB.follow_tasks(client)
        elif topic == "results":
            await HUB.follow_results(client, _number(message, "task"), _item_id(message.get("after")))
        elif topic == "stocks":
            cluster = None if message.get("cluster") is None else _number(message, "cluster")
            view = StockView(_number(message, "task"), cluster, str(message.get("query") or ""))
            await HUB.follow_stocks(client, view)
        else:
            raise BadMessage(f"topic {topic!r}: expected tasks, results or stocks")

    async def _send_all(self) -> None:
        """Send what waits; cut a client that has not read for 15 s."""
        assert self.client is not None
        while not self.client.closing:
            for text in await self.client.take():
                try:
                    await asyncio.wait_for(self.send(text), CUT_AFTER_S)
                except TimeoutError:
                    log.warning("websocket cut, it did not read", seconds=CUT_AFTER_S)
                    self.client.closing = True
                    break
        await self.close(code=NOT_LOGGED_IN)

    async def _check_right(self) -> None:
        """Ask again each minute whether the user may still look."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            user = await get_user(self.scope)
            exists = await sync_to_async(self.scope["session"].exists)(self.scope["session"].session_key)
            if not (user.is_authenticated and user.is_active and exists):
                await self.close(code=NOT_LOGGED_IN)
                return


def _parse(text: str | None) -> dict[str, Any]:
    try:
        message = json.loads(text or "")
    except json.JSONDecodeError as error:
        raise BadMessage(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise BadMessage("expected a JSON object")
    return message


def _number(message: dict[str, Any], name: str) -> int:
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadMessage(f"{name} is {value!r}: expected a whole number")
    return value


def _item_id(value: Any) -> str | None:
    if value is None:
        return None
    first, _, second = str(value).partition("-")
    if not (first.isdigit() and second.isdigit()):
        raise BadMessage(f"after is {value!r}: expected an id such as 1700000000000-0")
    return str(value)
