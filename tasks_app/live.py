"""What one web process tells its websocket clients: one reader of Redis, however many clients there are.

Each message is encoded once. Each client has a small slot per topic in which the newest win; updates carry the id of
the one before, so that a client that lost some asks again from its last id.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import redis
import redis.asyncio
import structlog
from asgiref.sync import sync_to_async
from django.conf import settings

from processors.bus import decode
from tasks_app import metrics
from tasks_app.models import Task
from tasks_app.results import Item, Results, _item, default

log = structlog.get_logger()

BLOCK_MS = 250
SNAPSHOT_ITEMS = 600
STOCK_ROWS = 500
_SLOT = 8
_LOOK_BACK_S = 10  # the first client was told of the tasks before the reader's first look: nothing may fall in between


def encode(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), default=str)


class Client:
    """One websocket's side: what it follows, and what waits to be sent to it."""

    def __init__(self, credential: str):
        self.credential = credential  # the session or token that let it in
        self.topics: set[str] = set()
        self.stocks: StockView | None = None
        self.closing = False
        self._slots: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_SLOT))
        self._ready = asyncio.Event()

    def put(self, topic: str, text: str) -> None:
        self._slots[topic].append(text)
        self._ready.set()

    def put_snapshot(self, topic: str, text: str) -> None:
        """Replace whatever waits on a topic."""
        self._slots[topic].clear()
        self.put(topic, text)

    def waits(self, topic: str) -> bool:
        """Say whether something on a topic was not taken yet."""
        return bool(self._slots.get(topic))

    def close(self) -> None:
        self.closing = True
        self._ready.set()

    async def take(self) -> list[str]:
        """Wait for messages and return all that wait; empty when the client is to be closed."""
        await self._ready.wait()
        self._ready.clear()
        slots, self._slots = self._slots, defaultdict(lambda: deque(maxlen=_SLOT))
        return [text for slot in slots.values() for text in slot]


class StockView:
    """The per-stock rows that one client looks at, and what it has seen of them. ``named`` are the codes whose stocks'
    names contain the query."""

    def __init__(self, task: int, cluster: int | None, query: str, named: Sequence[str] = ()):
        self.task, self.cluster, self.query = task, cluster, query.strip().upper()
        self._named = pa.array(named, pa.string())
        self._seen: dict[str, tuple] = {}

    def forget(self) -> None:
        """Show everything again: what was put last has not been sent."""
        self._seen = {}

    def message(self, item_id: str, batch: pa.RecordBatch) -> dict[str, Any] | None:
        """Return the rows that changed, all of them the first time, None if nothing did."""
        rows = self._chosen(batch)
        shown = batch.take(pa.array(rows[:STOCK_ROWS])).to_pydict()
        table = {row[0]: row for row in zip(*(map(_plain, column) for column in shown.values()), strict=True)}
        full = not self._seen or table.keys() != self._seen.keys()
        changed = [row for code, row in table.items() if full or self._seen[code] != row]
        self._seen = table
        if not changed and not full:
            return None
        columns = {name: [row[place] for row in changed] for place, name in enumerate(shown)}
        return {
            "type": "stocks",
            "task": self.task,
            "id": item_id,
            "full": full,
            "total": len(rows),
            "columns": columns,
        }

    def _chosen(self, batch: pa.RecordBatch) -> np.ndarray:
        chosen = np.ones(batch.num_rows, dtype=bool)
        if self.cluster is not None:
            chosen &= batch.column("cluster").to_numpy() == self.cluster
        if self.query:
            code = batch.column("code")
            matches = pa.compute.match_substring(code, self.query, ignore_case=True)
            matches = pa.compute.or_(matches, pa.compute.is_in(code, self._named))
            chosen &= matches.to_numpy(zero_copy_only=False)
        return np.flatnonzero(chosen)


def _plain(value: Any) -> Any:
    """Return a JSON value; what has no number is null."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


class Hub:
    """The one reader of Redis in a web process. Runs while there are clients."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self._positions: dict[str, str] = {}
        self._tasks: dict[int, dict[str, Any]] = {}
        self._runner: asyncio.Task[None] | None = None

    def join(self, client: Client) -> None:
        self.clients.add(client)
        metrics.WEBSOCKET_CLIENTS.set(len(self.clients))
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())

    def leave(self, client: Client) -> None:
        self.clients.discard(client)
        metrics.WEBSOCKET_CLIENTS.set(len(self.clients))

    # ---- subscriptions

    async def follow_tasks(self, client: Client) -> None:
        client.topics.add("tasks")
        tasks = await sync_to_async(_all_tasks)()
        # What the reader was told meanwhile is newer than what was read here.
        tasks = [self._tasks.setdefault(task["id"], task) for task in tasks]
        client.put_snapshot("tasks", encode({"type": "snapshot", "topic": "tasks", "tasks": tasks}))

    async def follow_results(self, client: Client, task: int, after: str | None) -> None:
        items, restart = await sync_to_async(_since, thread_sensitive=False)(default(), task, after)
        message = {"type": "snapshot", "topic": "results", "task": task, "restart": restart}
        client.put_snapshot(f"results:{task}", encode({**message, "items": [item.as_json() for item in items]}))
        client.topics.add(f"results:{task}")
        self._positions.setdefault(f"result:{task}", items[-1].id if items else after or "0-0")

    async def follow_stocks(self, client: Client, view: StockView) -> None:
        client.stocks = view
        found = await sync_to_async(default().stocks, thread_sensitive=False)(view.task)
        self._positions.setdefault(f"stocks:{view.task}", found[0] if found else "0-0")
        if found:
            self._put_stocks(client, *found)

    def unfollow(self, client: Client, topic: str) -> None:
        client.topics.discard(topic)
        if topic == "stocks":
            client.stocks = None

    # ---- the reader

    async def _run(self) -> None:
        connection = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=5.0)
        try:
            while self.clients:
                try:
                    await self._read(connection)
                except redis.RedisError as error:
                    log.warning("redis does not answer, clients wait", error=str(error)[:200])
                    await asyncio.sleep(1.0)
                except Exception:
                    log.exception("a message could not be passed on")
        finally:
            self._runner = None  # who joins while this one closes its connection gets another reader
            self._positions.clear()
            self._tasks.clear()
            await connection.aclose()

    async def _read(self, connection: redis.asyncio.Redis) -> None:
        if "events" not in self._positions:
            seconds, _ = await connection.time()
            self._positions["events"] = f"{(seconds - _LOOK_BACK_S) * 1000}-0"
        self._drop_unfollowed()
        answer = await connection.xread(dict(self._positions), block=BLOCK_MS, count=200)
        for stream, entries in answer:
            name = stream.decode()
            if name == "events":
                await self._tell_events(entries)
            elif name.startswith("stocks:"):
                self._tell_stocks(name, *entries[-1])
            else:
                self._tell_results(name, entries)
            self._positions[name] = entries[-1][0].decode()

    def _drop_unfollowed(self) -> None:
        wanted = {"events"}
        for client in self.clients:
            wanted |= {f"result:{topic[8:]}" for topic in client.topics if topic.startswith("results:")}
            wanted |= {f"stocks:{client.stocks.task}"} if client.stocks else set()
        for stream in self._positions.keys() - wanted:
            del self._positions[stream]

    def _tell_results(self, stream: str, entries: list) -> None:
        task = int(stream.partition(":")[2])
        topic, before = f"results:{task}", self._positions[stream]
        followers = [client for client in self.clients if topic in client.topics]
        for entry in entries:
            item = _item(entry)
            message = {"type": "update", "topic": "results", "task": task, "prev": before, "item": item.as_json()}
            text, before = encode(message), item.id
            for client in followers:
                client.put(topic, text)

    def _tell_stocks(self, stream: str, item_id: bytes, fields: dict[bytes, bytes]) -> None:
        task = int(stream.partition(":")[2])
        viewers = [client for client in self.clients if client.stocks and client.stocks.task == task]
        if viewers:
            batch = decode(fields[b"b"])
            for client in viewers:
                self._put_stocks(client, item_id.decode(), batch)

    def _put_stocks(self, client: Client, item_id: str, batch: pa.RecordBatch) -> None:
        if client.stocks is None:
            return
        if client.waits("stocks"):  # changes build on one another: none may be dropped
            client.stocks.forget()
        message = client.stocks.message(item_id, batch)
        if message:
            client.put_snapshot("stocks", encode(message))

    async def _tell_events(self, entries: list) -> None:
        for _, fields in entries:
            kind = fields[b"kind"].decode()
            if kind == "ended":
                self._close(fields[b"credential"].decode())
                continue
            task = int(fields[b"task"])
            if kind == "progress" and task in self._tasks:
                progress = json.loads(fields[b"progress"])
                self._tasks[task] |= {"progress": progress, "stalled": bool(progress.get("stalled"))}
            else:
                self._tasks |= await sync_to_async(_one_task)(task)
                await self._tell_queue(task)
            self._tell_task(task)

    def _tell_task(self, task: int) -> None:
        if task in self._tasks:
            text = encode({"type": "update", "topic": "tasks", "task": self._tasks[task]})
            for client in self.clients:
                if "tasks" in client.topics:
                    client.put(f"tasks:{task}", text)  # a slot each: no task's news pushes out another's

    async def _tell_queue(self, cause: int) -> None:
        """A task that moved may have moved others on that wait for a slot: tell those whose place has changed."""
        waiting = [task for task, told in self._tasks.items() if told["queue"] and task != cause]
        for task in waiting:
            fresh = (await sync_to_async(_one_task)(task)).get(task)
            if fresh is not None and fresh != self._tasks[task]:
                self._tasks[task] = fresh
                self._tell_task(task)

    def _close(self, credential: str) -> None:
        for client in self.clients:
            if client.credential == credential:
                client.close()


def _since(found: Results, task: int, after: str | None) -> tuple[list[Item], bool]:
    """Return the results a client lacks, and whether it must forget what it has."""
    if after and found.holds(task, after):
        items = found.range(task, after=after, limit=SNAPSHOT_ITEMS + 1)
        if len(items) <= SNAPSHOT_ITEMS:
            return items, False
    return found.range(task, limit=SNAPSHOT_ITEMS), True


def _all_tasks() -> list[dict[str, Any]]:
    from tasks_app.api.serializers import TaskSerializer

    rows = Task.objects.select_related("processor", "feed", "created_by")[:200]
    return [json.loads(encode(dict(TaskSerializer(row).data))) for row in rows]


def _one_task(task: int) -> dict[int, dict[str, Any]]:
    from tasks_app.api.serializers import TaskSerializer

    row = Task.objects.select_related("processor", "feed", "created_by").filter(pk=task).first()
    return {task: json.loads(encode(dict(TaskSerializer(row).data)))} if row else {}


HUB = Hub()
