"""The engine under every stream task: a fold of the processor's ``step`` over a feed's snapshots.

Spark plans one micro-batch per snapshot, ahead of it; its executors wait for the snapshot, decode and map its slices
(``source.py``). Here, on the driver, the columns of a snapshot are put together in order, folded into the state, and
the result is published under the snapshot's number. The checkpoint of the state is all that recovery needs: an attempt
loads it, starts a query after its number, and folds on. Redis refuses a second result under the same number, so
nothing is doubled.
"""

from __future__ import annotations

import gc
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import redis
import structlog
from py4j.protocol import Py4JError
from pydantic import ValidationError
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from processors import checkpoint, spark
from processors.bus import Bus, connect, wall_ms
from processors.contract import Context, FeedSpec, Header, Params, Result, StreamProcessor
from processors.inbox import Inbox
from processors.loading import code_hash, live_names
from processors.sinks import Sinks
from processors.slices import Delivery, grant, joined, unpack
from processors.source import Plan, SnapshotSource

log = structlog.get_logger()

_CREDITS = 2  # snapshots that may be under way in Spark while the driver folds another
_SAVE_EVERY_S = _HEAP_EVERY_S = 5.0
_WAIT_S = 0.25

Published = Literal["written", "held", "fenced"]


class Publish(Protocol):
    def __call__(self, header: Header, result: Result, meta: dict[str, Any]) -> Published: ...


class Fenced(Exception):
    """Another attempt owns the task; this one must end without a trace."""


@dataclass
class Outlets:
    """Where a stream task's results go and its live changes come from.

    ``publish`` writes one result and answers ``held`` where it is already there; ``changes`` returns the live
    parameters set since the last call; ``applied`` is told at which snapshot a change took effect.
    """

    publish: Publish
    changes: Callable[[], dict[str, Any]] = dict
    applied: Callable[[dict[str, Any], Header], None] = lambda changes, header: None


class Fold:
    """State, parameters and position of one stream task. No Spark, no Redis: a unit test or an evaluation over
    history runs the same fold."""

    def __init__(self, processor: StreamProcessor, params: Params, spec: FeedSpec):
        self.processor, self.params, self.spec = processor, params, spec
        self.state: Any = processor.init(params, spec)
        self.seq, self.index, self.missed = 0, -1, 0

    def change(self, changes: dict[str, Any]) -> None:
        """Set live parameters between two snapshots; raise ValidationError for a value that does not fit."""
        self.params = type(self.params).model_validate({**self.params.model_dump(), **changes})
        self.state = self.processor.change(self.state, self.params)

    def step(self, header: Header, deliveries: list[Delivery]) -> Result:
        """Fold one snapshot; ``deliveries`` are its slices in order."""
        if self.index >= 0:
            self.missed += max(header.index - self.index - 1, 0)
        codes, columns = joined(deliveries)
        self.state, result = self.processor.step(self.state, header, codes, columns, self.params)
        self.seq, self.index = header.seq, header.index
        return result

    # ---- what a checkpoint holds

    def meta(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "index": self.index,
            "missed": self.missed,
            "params": self.params.model_dump(mode="json"),
            "fits": fingerprint(self.processor, self.params, self.spec),
        }

    def restore(self, state: dict[str, Any], meta: dict[str, Any]) -> None:
        """Go on from a checkpoint; raise CheckpointError when code, feed or fixed parameters are no longer the same."""
        if meta["fits"] != fingerprint(self.processor, self.params, self.spec):
            raise checkpoint.CheckpointError("code, feed or parameters changed since it was written")
        wanted = self.params
        self.state, self.seq, self.index, self.missed = state, meta["seq"], meta["index"], meta["missed"]
        self.params = type(wanted).model_validate(meta["params"])
        if self.params != wanted:  # only live ones can differ
            self.change(wanted.model_dump())


def fingerprint(processor: StreamProcessor, params: Params, spec: FeedSpec) -> str:
    """Return a hash of all that must stay the same for a checkpoint to fit: code, feed and fixed parameters."""
    fixed = params.model_dump(mode="json", exclude=set(live_names(type(processor))))
    feed = {key: value for key, value in asdict(spec).items() if key in ("name", "interval_ms", "slices")}
    content = json.dumps([code_hash(type(processor)), fixed, feed], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


class Engine:
    """Runs a Fold on Spark until the context says stop. Everything happens on the thread that calls ``run``."""

    def __init__(
        self, path: str, processor: StreamProcessor, params: Params, spec: FeedSpec, context: Context, outlets: Outlets
    ):
        self.path, self.processor, self.spec = path, processor, spec
        self.context, self.outlets = context, outlets
        self.fold = Fold(processor, params, spec)
        keep = [context.keep()] if context.keep else []
        self.sinks = Sinks([*processor.sinks(params, spec, context), *keep], context, self._still_here)
        self._durable_seq = 0  # of the newest snapshot that need not be read again
        self.client = connect(context.redis_url)
        self.bus = Bus(self.client, spec.name)
        self._rows = self._batches = 0
        self._heap_at = 0.0
        self._told_at = 0.0
        self._saved_at = time.monotonic()
        self._saver = checkpoint.Saver(context.state_dir / "state.npz", self._saved)

    def run(self, session: SparkSession, start_at: Callable[[Bus], int]) -> None:
        """Fold until stopped. ``start_at`` chooses the number to start after when there is no checkpoint to go on from.

        Raises Fenced when another attempt has taken over; any other exception is the task's end as Terminated.
        """
        # Spark's Python workers start while the source is looked up, planned and followed.
        warmed = (session, self.path, self.spec.slices)
        threading.Thread(target=spark.warm_workers, args=warmed, name="warming", daemon=True).start()
        session.dataSource.register(SnapshotSource)
        log.info("spark is ready")
        self._resume(start_at)
        while not self.context.stopping.is_set():
            try:
                self._follow(session)
            except redis.RedisError as error:
                self._wait_for_redis(error)
            except (Py4JError, OSError) as error:
                spark.check_jvm(error)
                raise
        self._close()

    # ---- one query, as long as Redis answers

    def _follow(self, session: SparkSession) -> None:
        inbox = spark.inbox(session)
        query = self._start_query(session, inbox)
        gc.freeze()  # a whole collection would look through all that was imported, 100 ms in the middle of a fold
        log.info("query started", after_seq=self.fold.seq)
        self.context.running()
        try:
            grant(self.client, inbox.key, _CREDITS)
            self._fold_deliveries(query, inbox)
        finally:
            _stop(query)
            inbox.close()
            self._drop_credits(inbox.key)

    def _start_query(self, session: SparkSession, inbox: Inbox) -> StreamingQuery:
        plan = Plan(
            redis_url=self.context.redis_url,
            feed=self.spec.name,
            slices=self.spec.slices,
            driver=inbox.address,
            key=inbox.key,
            start=self.fold.seq,
            processor=self.path,
            params=self.fold.params.model_dump_json(),
            window=self.processor.window(self.fold.params),
        )
        frame = session.readStream.format("snapshots").option("plan", json.dumps(asdict(plan))).load()
        return spark.write_nowhere(frame, f"task_{self.context.task}_{inbox.key[:8]}")

    def _fold_deliveries(self, query: StreamingQuery, inbox: Inbox) -> None:
        waiting: dict[int, dict[int, Delivery]] = {}
        while not self.context.stopping.is_set():
            self._tell_position()
            message = inbox.take(_WAIT_S)
            if message is None:
                self._check(query)
                if self.sinks:
                    self._save_when_due()
                continue
            delivery = unpack(message)
            seq = delivery.header.seq
            if seq <= self.fold.seq:
                continue  # a task that Spark ran twice
            slices = waiting.setdefault(seq, {})
            slices[delivery.number] = delivery
            if len(slices) == delivery.header.slices:
                del waiting[seq]
                self._take(delivery.header, [slices[number] for number in sorted(slices)])
                grant(self.client, inbox.key, 1)

    def _check(self, query: StreamingQuery) -> None:
        """Raise what ended the query, a Redis error as such: it is waited out, anything else ends the task."""
        if query.isActive:
            return
        error = query.exception()
        self.client.ping()
        text = str(error)
        if "redis.exceptions" in text:
            raise redis.ConnectionError(text[:500])
        spark.check_workers(text)
        raise error or RuntimeError("the streaming query ended by itself")

    def _take(self, header: Header, deliveries: list[Delivery]) -> None:
        if any(part.gone for part in deliveries):
            return  # trimmed from the bus before it could be read: the next snapshot's index shows the gap
        changes = self.outlets.changes()
        if changes:
            self._change(changes, header)
        began_ms, began = wall_ms(), time.perf_counter()
        result = self.fold.step(header, deliveries)
        step_ms = round((time.perf_counter() - began) * 1000, 3)
        times = {"begun_ms": min(part.begun_ms for part in deliveries), "mapped_ms": began_ms, "step_ms": step_ms}
        self._batches += 1
        self._rows += sum(len(part.codes) for part in deliveries if part.codes is not None)
        self.sinks.take(header, deliveries, result)
        self._publish(header, result, times)
        self._save_when_due()

    def _change(self, changes: dict[str, Any], header: Header) -> None:
        try:
            self.fold.change(changes)
        except ValidationError as error:
            log.error("live parameter refused", changes=changes, detail=str(error))
            return
        self.outlets.applied(changes, header)

    def _publish(self, header: Header, result: Result, times: dict[str, float]) -> None:
        """Publish until Redis takes it: the state has moved on, so this result must not be lost."""
        while True:
            meta = self._meta(header, times)
            try:
                answer = self.outlets.publish(header, result, meta)
                break
            except redis.RedisError as error:
                if self.context.stopping.is_set():
                    raise Stopped from error
                time.sleep(_WAIT_S)
        if answer == "fenced":
            raise Fenced
        self.context.progress(
            index=header.index,
            seq=header.seq,
            batches=self._batches,
            rows=self._rows,
            last_batch_at=meta["result_ms"],
            **_shown(meta),
        )

    def _meta(self, header: Header, times: dict[str, float]) -> dict[str, Any]:
        now_ms = wall_ms()
        lag_ms = max(now_ms - header.published_ms, 0)  # the clock may have been set back meanwhile
        return {
            "seq": header.seq,
            "feed": header.feed,
            "attempt": self.context.attempt,
            "handed_ms": header.handed_ms,
            "published_ms": header.published_ms,
            **times,
            "result_ms": now_ms,
            "lag_ms": lag_ms,
            "late": header.pace > 0 and lag_ms > header.interval_ms / header.pace,
            "missed": self.fold.missed,
        }

    # ---- beginning, end, and what lies between

    def _resume(self, start_at: Callable[[Bus], int]) -> None:
        if not self.context.fresh:
            try:
                found = checkpoint.load(self._saver.path)
                if found:
                    self.fold.restore(*found)
                    log.info("resumed from checkpoint", seq=self.fold.seq, index=self.fold.index)
            except checkpoint.CheckpointError as error:
                self.context.progress(notice=f"started fresh: {error}")
                log.warning("started fresh", reason=str(error))
        while self.fold.seq == 0 and not self.context.stopping.is_set():
            try:
                self.fold.seq = start_at(self.bus)
                self._save()  # an attempt that dies before the next save begins where this one began
            except redis.RedisError as error:
                self._wait_for_redis(error)
        self._durable_seq = self.fold.seq
        self.context.progress(seq=self.fold.seq)

    def _tell_position(self) -> None:
        """Tell the feed how far this reader is, a few times a second at most."""
        now = time.monotonic()
        if now - self._told_at > _WAIT_S:
            self._told_at = now
            self._tell_heap(now)
            self.bus.follow(str(self.context.task), self._durable_seq if self.sinks else self.fold.seq)

    def _still_here(self) -> None:
        """Tell the feed that this reader lives, while its sinks take nothing."""
        try:
            self._tell_position()
        except redis.RedisError:
            pass  # the loop that follows the bus will meet it

    def _tell_heap(self, now: float) -> None:
        if now - self._heap_at > _HEAP_EVERY_S:
            self._heap_at = now
            self.context.progress(heap_mb=spark.heap_mb())

    def _save_when_due(self) -> None:
        due = self.sinks.due() if self.sinks else time.monotonic() - self._saved_at > _SAVE_EVERY_S
        if due:
            self._save()

    def _save(self) -> None:
        """Save the state; what the sinks were given has gone on before."""
        if not self.sinks.flush():
            return
        self._saved_at, self._durable_seq = time.monotonic(), self.fold.seq
        self._saver.offer(self.fold.state, self.fold.meta())

    def _saved(self, error: Exception | None) -> None:
        """Tell how the last checkpoint went; runs on the saver's thread."""
        if error is not None:
            log.error("checkpoint not written", error=str(error))
            self.context.progress(unsaved=str(error))
        else:
            self.context.progress(unsaved="", saved_at=wall_ms())

    def _wait_for_redis(self, error: redis.RedisError) -> None:
        log.warning("redis does not answer, waiting", error=str(error)[:300])
        while not self.context.stopping.wait(_WAIT_S):
            try:
                self.client.ping()
                return
            except redis.RedisError:
                continue

    def _close(self) -> None:
        if self.fold.index >= 0:
            self._save()
        self._saver.close(timeout_s=0.8)

    def _drop_credits(self, key: str) -> None:
        try:
            self.client.delete(f"work:{key}:credit")
        except redis.RedisError:
            pass  # they expire by themselves


class Stopped(Exception):
    """The task was told to stop while a result could not be published; the checkpoint stays before it."""


def _shown(meta: dict[str, Any]) -> dict[str, Any]:
    return {key: meta[key] for key in ("lag_ms", "late", "missed", "step_ms")}


def _stop(query: StreamingQuery) -> None:
    try:
        query.stop()
    except Exception as error:  # a JVM that hangs or is gone: the supervisor ends the process
        log.warning("query did not stop in time", error=str(error)[:200])
