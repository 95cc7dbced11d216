"""Snapshots in Redis: append one, wait for the next, read a slice again.

Two streams per feed. ``feed:<name>`` holds the slices as Arrow IPC with LZ4 under the explicit id ``<seq>-<slice>``
(and, of a feed that keeps them, the ticks that a snapshot was made of under the id behind its last slice's),
``feed:<name>:headers`` announces each snapshot by its header under ``<seq>-0``, so that nobody reads a whole snapshot
just to learn that it is there. Both are written in one MULTI and are trimmed together, by bytes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.connection import Encoder, PythonRespSerializer
from redis.retry import Retry

from processors.snapshot import FeedSpec, Header

if TYPE_CHECKING:
    import pyarrow as pa

_WRITE_AT_ONCE = 6_000  # bytes; what is longer is not joined with what stands beside it


def connect(url: str, *, timeout_s: float | None = 5.0) -> redis.Redis:
    """Return a Redis client that does not retry by itself: whoever calls decides whether to wait."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
        # hiredis reads a slice of 1.8 MB in 1 ms instead of 6, but copies what it writes: 5 ms instead of 0.4.
        command_packer=PythonRespSerializer(_WRITE_AT_ONCE, Encoder("utf-8", "strict", False).encode),
    )


def encode(batch: pa.RecordBatch) -> bytes:
    """Return the batch as Arrow IPC with LZ4."""
    import pyarrow as pa  # here and below: Spark's planner follows the bus without ever opening a snapshot

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def decode(data: bytes) -> pa.RecordBatch:
    import pyarrow as pa

    with pa.ipc.open_stream(data) as reader:
        return reader.read_next_batch()


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Bus:
    """One feed's snapshots. ``max_bytes`` bounds what a writer leaves in Redis; the newest snapshot always stays.

    Not thread-safe. Every method raises ``redis.RedisError`` when Redis does not answer.
    """

    def __init__(
        self, client: redis.Redis, feed: str, *, max_bytes: int = 256 * 2**20, clock: Callable[[], int] = wall_ms
    ):
        self.client, self.feed, self.max_bytes, self._clock = client, feed, max_bytes, clock
        self._slices, self._headers = f"feed:{feed}", f"feed:{feed}:headers"
        self._held: deque[tuple[int, int]] | None = None  # (seq, bytes) of what is on the bus; None until known

    # ---- writing: one writer per feed

    def describe(self, spec: FeedSpec, source: str = "") -> None:
        """Publish what the feed's numbers mean, and which recording they come from."""
        self.client.mset({f"{self._slices}:spec": spec.to_json(), f"{self._slices}:source": source})

    def append(self, header: Header, slices: Sequence[pa.RecordBatch], raw: pa.RecordBatch | None = None) -> Header:
        """Publish a snapshot and return its header with ``seq``, ``published_ms`` and ``size_bytes`` filled in.
        ``raw`` are the ticks that it was made of, of a feed that keeps them.

        ``seq`` is the publishing time in ms, forced to rise above what is on the bus. All slices and the header
        appear at once. Safe to call again after an error only when ``last()`` shows that nothing was written.
        """
        if len(slices) != header.slices:
            raise ValueError(f"snapshot of {self.feed} has {len(slices)} slices, its header says {header.slices}")
        held = self._known()
        blobs = [encode(part) for part in (*slices, *([] if raw is None else [raw]))]
        now_ms = self._clock()
        seq = max(now_ms, held[-1][0] + 1) if held else now_ms
        header = replace(header, seq=seq, published_ms=now_ms, size_bytes=sum(map(len, blobs)))
        oldest = self._oldest_to_keep(seq, header.size_bytes)
        with self.client.pipeline(transaction=True) as pipe:
            for number, blob in enumerate(blobs):
                pipe.xadd(self._slices, {"b": blob}, id=f"{seq}-{number}")
            pipe.xadd(self._headers, {"h": header.to_json()}, id=f"{seq}-0")
            if oldest is not None:
                pipe.xtrim(self._slices, minid=f"{oldest}-0", approximate=False)
                pipe.xtrim(self._headers, minid=f"{oldest}-0", approximate=False)
            pipe.execute()
        held.append((seq, header.size_bytes))
        while oldest is not None and held[0][0] < oldest:
            held.popleft()
        return header

    def forget(self) -> None:
        """Forget what this writer knows of the bus; the next ``append`` reads it again (after a Redis restart)."""
        self._held = None

    def _known(self) -> deque[tuple[int, int]]:
        if self._held is None:
            self._held = deque((header.seq, header.size_bytes) for header in self.headers(0))
        return self._held

    def _oldest_to_keep(self, seq: int, size: int) -> int | None:
        """Return the first seq that stays when a snapshot of this size comes in, None if all stay."""
        total, oldest = size + sum(size for _, size in self._held or ()), None
        waiting = iter([*(self._held or ()), (seq, size)])
        current = next(waiting)
        while total > self.max_bytes and current[0] != seq:
            total -= current[1]
            current = next(waiting)
            oldest = current[0]
        return oldest

    # ---- readers make themselves known, so that a feed without a pace can wait for them

    def follow(self, reader: str, seq: int, *, for_ms: int = 5_000) -> None:
        """Say that ``reader`` has dealt with everything up to ``seq``; forgotten after ``for_ms``."""
        self.client.set(f"{self._slices}:reader:{reader}", seq, px=for_ms)

    def slowest_reader(self) -> int | None:
        """Return the lowest seq that a live reader has reached, None without a reader."""
        keys = list(self.client.scan_iter(match=f"{self._slices}:reader:*", count=1000))
        values = self.client.mget(keys) if keys else []
        return min((int(value) for value in values if value is not None), default=None)

    # ---- reading: any number of readers

    def spec(self) -> FeedSpec | None:
        text = self.client.get(f"{self._slices}:spec")
        return FeedSpec.from_json(text) if text else None

    def source(self) -> str:
        """Return which recording the feed plays, as it was described; empty for none."""
        return (self.client.get(f"{self._slices}:source") or b"").decode()

    def first(self) -> Header | None:
        return self._header(self.client.xrange(self._headers, count=1))

    def last(self) -> Header | None:
        return self._header(self.client.xrevrange(self._headers, count=1))

    def headers(self, after: int, *, count: int | None = None) -> list[Header]:
        """Return the headers on the bus with a seq above ``after``, oldest first."""
        found = self.client.xrange(self._headers, min=f"({after}-0", count=count)
        return [Header.from_json(fields[b"h"]) for _, fields in found]

    def before(self, seq: int, *, count: int) -> list[Header]:
        """Return up to ``count`` headers with a seq of at most ``seq``, oldest first."""
        found = self.client.xrevrange(self._headers, max=f"{seq}-0", count=count)
        return [Header.from_json(fields[b"h"]) for _, fields in reversed(found)]

    def wait(self, after: int, *, block_ms: int) -> Header | None:
        """Return the first header above ``after``, waiting up to ``block_ms`` for it; None if none came."""
        answer = self.client.xread({self._headers: f"{after}-0"}, count=1, block=block_ms)
        return Header.from_json(answer[0][1][0][1][b"h"]) if answer else None

    def read(self, number: int, seqs: Sequence[int]) -> list[pa.RecordBatch | None]:
        """Return slice ``number`` of each snapshot, None for one that is no longer on the bus. Behind the last slice's
        number are the ticks, None where the feed does not keep them."""
        with self.client.pipeline(transaction=False) as pipe:
            for seq in seqs:
                pipe.xrange(self._slices, f"{seq}-{number}", f"{seq}-{number}")
            answers = pipe.execute()
        return [decode(found[0][1][b"b"]) if found else None for found in answers]

    @staticmethod
    def _header(found: list) -> Header | None:
        return Header.from_json(found[0][1][b"h"]) if found else None
