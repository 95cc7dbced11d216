"""Results, progress and news of tasks in Redis. With ``processors.bus`` the only module that speaks to Redis.

======================  ============================================================================================
``result:<task>``       stream of results, id ``<seq>-0`` of the snapshot: fields ``numbers`` and ``meta`` (JSON)
``stocks:<task>``       stream of per-stock columns under the same ids: field ``b`` (Arrow IPC)
``owner:<task>``        token of the attempt that may write
``progress:<task>``     what the running attempt tells of itself (JSON)
``workers``             hash of each worker's newest sign of life: ``<count> <slots>``
``celery:<kind>``       Celery's own: the queue of a kind, looked into for what was lost
``events``              news for the web processes: a task changed, a task told progress
``orders``              orders for the workers: stop, change a live parameter
``ticket:<hash>``       session or token behind a one-time ticket for the websocket
======================  ============================================================================================
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pyarrow as pa
import redis

from processors.bus import connect, decode, encode
from processors.contract import Header, Result

KEEP_AFTER_END_S = 24 * 3600
NEWS_LENGTH = 2_000

Published = Literal["written", "held", "fenced"]

# Writes an entry, if the attempt still owns the task and the entry is not there yet.
# KEYS: stream, owner. ARGV: token, id, ~ or = (roughly or exactly), how many to keep, then fields and values.
_PUBLISH = """
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 'fenced' end
if not owner then redis.call('SET', KEYS[2], ARGV[1]) end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last[1] then
  local held = tonumber(string.match(last[1][1], '^%d+'))
  if held >= tonumber(string.match(ARGV[2], '^%d+')) then return 'held' end
end
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], ARGV[4], ARGV[2], unpack(ARGV, 5))
return 'written'
"""


@dataclass(frozen=True)
class Item:
    """One result as it stands in Redis."""

    id: str
    numbers: dict[str, Any]
    meta: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "numbers": self.numbers, "meta": self.meta}


class Results:
    """Results and news through one Redis client. Each method raises ``redis.RedisError`` when Redis does not answer."""

    def __init__(self, client: redis.Redis, max_bytes: int = 32 * 2**20):
        self.client, self.max_bytes = client, max_bytes
        self._publish = client.register_script(_PUBLISH)

    # ---- written by the attempt that owns the task

    def publish(self, task: int, token: str, header: Header, result: Result, meta: dict[str, Any]) -> Published:
        """Write one result; return ``written``, ``held`` (there already) or ``fenced`` (another attempt owns it).

        The numbers can be read first, the columns per stock, which take longer to write, right after. Safe to repeat
        after an error: what is there already stays.
        """
        numbers = json.dumps(result.numbers, separators=(",", ":"), allow_nan=False)
        keep = min(max(600, self.max_bytes // (len(numbers) + 400)), 20_000)
        fields = ["numbers", numbers, "meta", json.dumps(meta)]
        answer = self._write(f"result:{task}", task, token, header, ["~", keep], fields)
        if result.stocks and answer != "fenced":
            stocks = encode(pa.RecordBatch.from_pydict(result.stocks))
            keep = min(max(2, self.max_bytes // len(stocks)), 600)
            self._write(f"stocks:{task}", task, token, header, ["=", keep], ["b", stocks])
        return answer

    def _write(self, stream: str, task: int, token: str, header: Header, keep: list, fields: list) -> Published:
        arguments = [token, f"{header.seq}-0", *keep, *fields]
        return self._publish(keys=[stream, f"owner:{task}"], args=arguments).decode()

    def own(self, task: int, token: str, *, fresh: bool) -> None:
        """Make an attempt the task's owner; a fresh one begins with an empty result stream."""
        with self.client.pipeline(transaction=True) as pipe:
            pipe.set(f"owner:{task}", token)
            pipe.delete(f"progress:{task}")
            if fresh:
                pipe.delete(f"result:{task}", f"stocks:{task}")
            else:
                pipe.persist(f"result:{task}").persist(f"stocks:{task}")
            pipe.execute()

    def retire(self, task: int, token: str) -> None:
        """Let an ended attempt's results expire after a day."""
        if self.client.get(f"owner:{task}") != token.encode():
            return
        for key in (f"result:{task}", f"stocks:{task}", f"owner:{task}", f"progress:{task}"):
            self.client.expire(key, KEEP_AFTER_END_S)

    def tell_progress(self, task: int, progress: dict[str, Any]) -> None:
        text = json.dumps(progress)
        self.client.set(f"progress:{task}", text, ex=KEEP_AFTER_END_S)
        self.client.xadd("events", {"kind": "progress", "task": task, "progress": text}, maxlen=NEWS_LENGTH)

    # ---- reading

    def latest(self, task: int) -> Item | None:
        found = self.client.xrevrange(f"result:{task}", count=1)
        return _item(found[0]) if found else None

    def range(self, task: int, *, after: str | None = None, limit: int = 600) -> list[Item]:
        """Return up to ``limit`` results after an id, oldest first; without an id the newest ones."""
        if after is None:
            return [_item(entry) for entry in reversed(self.client.xrevrange(f"result:{task}", count=limit))]
        return [_item(entry) for entry in self.client.xrange(f"result:{task}", min=f"({after}", count=limit)]

    def wait(self, task: int, after: str, *, block_ms: int, limit: int = 100) -> list[Item]:
        """Return up to ``limit`` results after an id, waiting up to ``block_ms`` for the first."""
        answer = self.client.xread({f"result:{task}": after}, count=limit, block=block_ms)
        return [_item(entry) for entry in answer[0][1]] if answer else []

    def holds(self, task: int, item_id: str) -> bool:
        """Say whether a result is still there."""
        return bool(self.client.xrange(f"result:{task}", min=item_id, max=item_id, count=1))

    def stocks(self, task: int) -> tuple[str, pa.RecordBatch] | None:
        """Return the id and the per-stock columns of the newest result that has some."""
        found = self.client.xrevrange(f"stocks:{task}", count=1)
        return (found[0][0].decode(), decode(found[0][1][b"b"])) if found else None

    def progress(self, task: int) -> dict[str, Any] | None:
        text = self.client.get(f"progress:{task}")
        return json.loads(text) if text else None

    # ---- news and orders

    def announce(self, task: int) -> None:
        self.client.xadd("events", {"kind": "task", "task": task}, maxlen=NEWS_LENGTH)

    def order(self, task: int, order: dict[str, Any]) -> None:
        """Send an order to whichever worker hosts the task."""
        self.client.xadd("orders", {"task": task, "order": json.dumps(order)}, maxlen=NEWS_LENGTH)

    def orders(self, after: str, *, block_ms: int) -> list[tuple[str, int, dict[str, Any]]]:
        """Return (id, task, order) of what was ordered after an id (``$``: from now on), waiting for it."""
        answer = self.client.xread({"orders": after}, block=block_ms)
        entries = answer[0][1] if answer else []
        return [(key.decode(), int(fields[b"task"]), json.loads(fields[b"order"])) for key, fields in entries]

    def last_order(self) -> str:
        """Return the id of the newest order."""
        found = self.client.xrevrange("orders", count=1)
        return found[0][0].decode() if found else "0-0"

    # ---- workers and what waits for them

    def sign_of_life(self, worker: str, count: int, slots: int) -> None:
        """Say that a worker lives, by a count that rises: an expiry would hang on the clock, which may be set."""
        self.client.hset("workers", worker, f"{count} {slots}")

    def signs(self) -> dict[str, str]:
        """Return each worker's newest sign of life."""
        return {worker.decode(): sign.decode() for worker, sign in self.client.hgetall("workers").items()}

    def forget_worker(self, worker: str) -> None:
        self.client.hdel("workers", worker)

    def slots(self) -> int:
        """Return how many tasks the workers can host side by side."""
        return sum(int(sign.split()[1]) for sign in self.signs().values())

    def queued(self, kinds: Iterable[str]) -> set[tuple[int, int]]:
        """Return (task, attempt) of every message that waits for a worker."""
        found = set()
        for kind in kinds:
            for text in self.client.lrange(f"celery:{kind}", 0, -1):
                _, given, _ = json.loads(base64.b64decode(json.loads(text)["body"]))
                found.add((given["task_id"], given["attempt"]))
        return found

    # ---- tickets

    def put_ticket(self, ticket_hash: str, credential: str, seconds: int) -> None:
        self.client.set(f"ticket:{ticket_hash}", credential, ex=seconds)

    def take_ticket(self, ticket_hash: str) -> str | None:
        """Return what stands behind a ticket and forget it, in one step."""
        found = self.client.getdel(f"ticket:{ticket_hash}")
        return found.decode() if found else None


def _item(entry: tuple[bytes, dict[bytes, bytes]]) -> Item:
    key, fields = entry
    return Item(key.decode(), json.loads(fields[b"numbers"]), json.loads(fields[b"meta"]))


@cache
def default() -> Results:
    """Return the process's own Results, by the settings."""
    from django.conf import settings

    return Results(connect(settings.REDIS_URL), settings.RESULT_BYTES)


def announce_task(task: int) -> None:
    """Tell who watches that a task changed; without Redis nobody can be told, and the database is the truth."""
    try:
        default().announce(task)
    except redis.RedisError:
        return


def announce_end(credential: str) -> None:
    """Tell every web process to close the sockets of a session or token that has ended."""
    try:
        default().client.xadd("events", {"kind": "ended", "credential": credential}, maxlen=NEWS_LENGTH)
    except redis.RedisError:
        return
