"""The websocket doorway: ``/ws/live`` by docs/protocol.md."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
import structlog
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.sessions import SessionMiddlewareStack
from django.utils import timezone
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasks_app import instruments, roles, tokens
from tasks_app.live import HUB, Client, StockView, encode
from tasks_app.messages import (
    CLIENT,
    ClientMessage,
    Ping,
    SubscribeResults,
    SubscribeStocks,
    SubscribeTasks,
    Unsubscribe,
    sort_of,
)

log = structlog.get_logger()

CUT_AFTER_S = 15.0
CHECK_EVERY_S = 60.0
NOT_LOGGED_IN = 4401


class Admission:
    """Let in who shows a one-time ticket, or a page of this very site with its session.

    A websocket whose Origin is missing or another site's gets no further: cookies alone would let any page connect.
    """

    def __init__(self, inner: Any):
        self.by_ticket, self.by_session = inner, SessionMiddlewareStack(inner)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        ticket = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket")
        if ticket:
            credential = await sync_to_async(_redeem, thread_sensitive=False)(ticket[0])
            await self.by_ticket({**scope, "credential": credential}, receive, send)
            return
        headers = dict(scope.get("headers", []))
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if not origin or urlsplit(origin).netloc != host:
            log.warning("websocket refused", origin=origin or "missing", host=host)
            await send({"type": "websocket.close", "code": 4403})
            return
        await self.by_session(scope, receive, send)


def _redeem(ticket: str) -> str:
    try:
        return tokens.redeem_ticket(ticket) or ""
    except redis.RedisError:
        return ""  # closed like any bad ticket: the client asks for another one


def _credential(scope: dict[str, Any]) -> str:
    found = scope.get("credential")
    return found if found is not None else f"session:{scope['session'].session_key or ''}"


class BadMessage(Exception):
    """A message that can't be followed; the text says what was expected."""


class LiveConsumer(AsyncWebsocketConsumer):
    client: Client | None = None

    async def connect(self) -> None:
        await self.accept()
        credential = _credential(self.scope)
        user = await _who_may_look(credential)
        if user is None:
            await self.close(code=NOT_LOGGED_IN)
            return
        self.client = Client(credential)
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

    async def _follow(self, client: Client, message: ClientMessage) -> None:
        match message:
            case Ping():
                await self.send(encode({"type": "pong"}))
            case Unsubscribe(topic="results", task=task):
                HUB.unfollow(client, f"results:{task}")
            case Unsubscribe(topic=topic):
                HUB.unfollow(client, topic)
            case SubscribeTasks():
                await HUB.follow_tasks(client)
            case SubscribeResults(task=task, after=after):
                await HUB.follow_results(client, task, after)
            case SubscribeStocks(task=task, cluster=cluster, query=query):
                named = await sync_to_async(instruments.codes_named)(task, query.strip()) if query.strip() else []
                await HUB.follow_stocks(client, StockView(task, cluster, query, named))

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
        HUB.leave(self.client)  # at once: the closing words, too, may wait for who does not read
        await self.close(code=NOT_LOGGED_IN)

    async def _check_right(self) -> None:
        """Ask again each minute whether the user may still look."""
        assert self.client is not None
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            if await _who_may_look(self.client.credential) is None:
                await self.close(code=NOT_LOGGED_IN)
                return


@sync_to_async
def _who_may_look(credential: str) -> Any:
    """Return the user behind a session or token, None for one that has ended or may not look."""
    user = tokens.holder(credential)
    return user if user is not None and roles.may(user, roles.May.LOOK) else None


def _parse(text: str | None) -> ClientMessage:
    try:
        return CLIENT.validate_json(text or "", strict=True)
    except ValidationError as error:
        raise BadMessage("; ".join(map(_explain, error.errors()))) from error


def _explain(error: ErrorDetails) -> str:
    if error["type"] == "json_invalid":
        return f"not JSON: {error['msg']}"
    if error["type"].startswith("union_tag"):
        return f"{sort_of(error['input'])!r}: expected {error['ctx']['expected_tags']}"
    place = ".".join(map(str, error["loc"][1:]))
    return f"{place} is {repr(error['input'])[:200]}: {error['msg']}"
