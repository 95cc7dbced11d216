"""No request's body is taken in whole before it is known to be small enough."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_THROWN_AWAY = 64 * 2**20
App = Callable[[Any, Any, Any], Awaitable[None]]


def bounded(app: App, limit: Callable[[str], int]) -> App:
    """Return the ASGI app behind a bound on bodies, in bytes by path.

    What says that it is larger gets a 413; what turns out to be larger is cut off.
    """

    async def call(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        most = limit(scope["path"])
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > most:
            await _refuse(receive, send, most)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message if taken <= most else {"type": "http.disconnect"}

        await app(scope, counted, send)

    return call


async def _refuse(receive: Receive, send: Send, most: int) -> None:
    """Answer with 413, after what has been sent meanwhile was thrown away: a client that still writes reads nothing."""
    thrown = 0
    while thrown < _THROWN_AWAY and (message := await receive()).get("more_body"):
        thrown += len(message.get("body", b""))
    detail = f"the body is larger than {most // 2**20} MB"
    body = {"type": "about:blank", "title": "Content Too Large", "status": 413, "detail": detail}
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
