"""A client like the browser: logs in over HTTP, follows a task over the websocket, waits for a prediction."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from launcher.options import HOST

RECONNECT_S = 0.3


class NoPrediction(Exception):
    """None came, or none can come any more; the message says why."""


@dataclass(frozen=True)
class Seen:
    """The first new prediction: of which task and attempt, how many clusters, and where from."""

    task: int
    title: str
    attempt: int
    clusters: int
    lag_ms: float


class Browser:
    """One logged-in client of the web process on a port."""

    def __init__(self, port: int):
        self.origin = f"http://{HOST}:{port}"
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._cookies)
        )
        self._session = ""

    def log_in(self, name: str, password: str) -> None:
        """Log in as a person would."""
        self._call("/api/session")
        body = json.dumps({"username": name, "password": password}).encode()
        self._call("/api/session", body)
        self._session = self._cookie("sessionid")

    def use_session(self, key: str) -> None:
        """Use a session that the platform made for the launcher itself."""
        self._session = key

    def page(self) -> str:
        return self._call("/")

    def _call(self, path: str, body: bytes | None = None) -> str:
        headers = {"Content-Type": "application/json", "X-CSRFToken": self._cookie("csrftoken"), "Origin": self.origin}
        request = urllib.request.Request(self.origin + path, data=body, headers=headers)
        with self._opener.open(request, timeout=20) as answer:
            return str(answer.read().decode())

    def _cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == name), "")

    def _socket(self) -> connect:
        address = f"ws://{urllib.parse.urlsplit(self.origin).netloc}/ws/live"
        cookie = {"Cookie": f"sessionid={self._session}"}
        return connect(address, origin=self.origin, additional_headers=cookie, max_size=None, proxy=None)  # type: ignore[arg-type]

    async def first_prediction(self, wanted: list[int], *, since_ms: float, watch: Watch) -> Seen:
        """Wait for a result of one of the tasks, made after ``since_ms``, in which a cluster has a predicted price.

        Raises NoPrediction when every task has failed or was stopped.
        """
        while True:
            try:
                async with self._socket() as socket:
                    return await self._follow(socket, wanted, since_ms, watch)
            except (OSError, WebSocketException):
                await asyncio.sleep(RECONNECT_S)  # the web process was restarted; the caller sets the limit

    async def _follow(self, socket: ClientConnection, wanted: list[int], since_ms: float, watch: Watch) -> Seen:
        await socket.send(json.dumps({"type": "subscribe", "topic": "tasks"}))
        for task in wanted:
            await socket.send(json.dumps({"type": "subscribe", "topic": "results", "task": task, "after": None}))
        async for text in socket:
            message = json.loads(text)
            watch.hear(message)
            watch.refuse_if_hopeless(wanted)
            for item in _items(message):
                clusters = predicted(item)
                if clusters and item["meta"]["result_ms"] >= since_ms and message["task"] in wanted:
                    facts = watch.tasks.get(message["task"], {})
                    lag_ms = item["meta"].get("lag_ms") or 0.0
                    return Seen(message["task"], facts.get("title", ""), facts.get("attempt", 1), clusters, lag_ms)
        raise OSError("the websocket was closed")


class Watch:
    """What is known of the tasks while a prediction is waited for."""

    def __init__(self) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.running_at: dict[int, float] = {}

    def hear(self, message: dict[str, Any]) -> None:
        if message.get("topic") != "tasks":
            return
        for task in message.get("tasks") or [message["task"]]:
            self.tasks[task["id"]] = task
            if task["status"] == "Running":
                self.running_at.setdefault(task["id"], time.monotonic())

    def refuse_if_hopeless(self, wanted: list[int]) -> None:
        known = [self.tasks[number] for number in wanted if number in self.tasks]
        if len(known) < len(wanted):
            return
        failed = [task for task in known if task["status"] in ("Stopped", "Finished") or _broken(task)]
        if len(failed) == len(known):
            raise NoPrediction("; ".join(_describe(task) for task in failed))

    def describe(self, wanted: list[int]) -> str:
        return ", ".join(_describe(task) for number, task in sorted(self.tasks.items()) if _waits_on(task, wanted))


def _waits_on(task: dict[str, Any], wanted: list[int]) -> bool:
    return task["id"] in wanted or (task["kind"] == "feed" and task["status"] not in ("Stopped", "Finished"))


def _broken(task: dict[str, Any]) -> bool:
    """Say whether a task ended by an error of its own; what was lost is started again."""
    return task["status"] == "Terminated" and bool(task["error"])


def _describe(task: dict[str, Any]) -> str:
    reason = f" ({task['reason']})" if task.get("reason") else ""
    return f"{task['title']} #{task['id']} is {task['status']}{reason}"


def _items(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message.get("topic") != "results":
        return []
    return message["items"] if message["type"] == "snapshot" else [message["item"]]


def predicted(item: dict[str, Any]) -> int:
    """Return how many clusters of a result have a predicted price."""
    return sum(cluster.get("predicted_price") is not None for cluster in item["numbers"].get("clusters", []))
