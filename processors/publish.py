"""Into a Kafka topic: a feed's snapshots or a task's results, each once, whatever dies in between.

What belongs to one snapshot is one transaction, and in it stands, as an offset of a consumer group of our own, how far
the publishing has come: after a death it goes on exactly there. Readers see whole snapshots only, as long as they read
what is committed (librdkafka's and Kafka Streams' default; Java's consumer needs ``isolation.level``).
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.parquet
import structlog
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from processors.contract import Header
from processors.feeds.uniform import Lines, without_nan
from processors.kafka import connection, describe

log = structlog.get_logger()
Format = Literal["json", "csv", "snapshot_csv", "snapshot_arrow", "snapshot_parquet"]
PATIENCE_S = 2.0  # of one call to the brokers
HUNG_S = 10.0  # a call that has not come back by then never will
_PASSING = (  # errors that waiting mends, beside those that transactions call retriable
    "_TIMED_OUT",
    "_TRANSPORT",
    "_ALL_BROKERS_DOWN",
    "UNSTABLE_OFFSET_COMMIT",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
)


@dataclass(frozen=True)
class Outgoing:
    """What one snapshot or result, number ``seq``, has to say: (key, value) per message, and headers of all."""

    seq: int
    messages: Sequence[tuple[bytes, bytes]]
    headers: dict[str, str | bytes | None] = field(default_factory=dict)


class Stopped(Exception):
    """Told to stop before the brokers took the last transaction; the next start publishes it."""


class Publisher:
    """Sends each snapshot as one transaction. ``name`` is that of what is published; two of the same name and topic
    fence each other off. Raises ``KafkaException`` for what waiting does not mend, ``Stopped`` when told to."""

    def __init__(self, name: str, topic: str, stopping: threading.Event) -> None:
        self.name, self.topic, self.stopping = name, topic, stopping
        self._group = Consumer({**connection(), "group.id": f"live-stock.publish.{name}", "enable.auto.commit": False})
        self._producer = self._begin()

    def _begin(self) -> Producer:
        """Return a producer that has fenced off all before it, and aborted what they left open."""
        producer = Producer(
            {
                **connection(),
                "transactional.id": f"live-stock.{self.name}.{self.topic}",
                "linger.ms": 5,
                "compression.type": "lz4",
            }
        )
        self._patiently(lambda: producer.init_transactions(PATIENCE_S))
        return producer

    def position(self) -> int | None:
        """Return the number of the last snapshot that is on the topic, None if nothing was ever published."""
        found: list[TopicPartition] = []
        self._patiently(
            lambda: found.extend(self._group.committed([TopicPartition(self.topic, 0)], timeout=PATIENCE_S))
        )
        return found[0].offset if found[0].offset >= 0 else None

    def close(self) -> None:
        self._group.close()

    def send(self, outgoing: Outgoing) -> None:
        """Publish; returns once the brokers have all of it, or have it not and never will and it was sent anew."""
        while not self._sent(outgoing):
            log.warning("transaction begun anew", topic=self.topic, seq=outgoing.seq)

    def _sent(self, outgoing: Outgoing) -> bool:
        """Try once; False if the transaction had to be given up."""
        try:
            self._producer.begin_transaction()
            for key, value in outgoing.messages:
                self._produce(key, value, outgoing.headers)
            self._send_position(outgoing.seq)
            self._patiently(lambda: self._producer.commit_transaction(PATIENCE_S))
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            log.warning("kafka", topic=self.topic, error=describe(error.args[0]))
            self._patiently(lambda: self._producer.abort_transaction(PATIENCE_S))
            return False
        except TimeoutError:
            self._producer = self._begin()
            return False
        return True

    def _send_position(self, seq: int) -> None:
        """Make the position part of the transaction. Raises ``TimeoutError`` if librdkafka hangs: once the group's
        coordinator was away, it may never come back from this call, whatever time it was given (librdkafka #5456).
        The thread is left to it."""
        producer, position = self._producer, [TopicPartition(self.topic, 0, seq)]
        metadata = self._group.consumer_group_metadata()
        self._patiently(
            lambda: _in_thread(
                lambda: producer.send_offsets_to_transaction(position, metadata, PATIENCE_S), self._check, HUNG_S
            )
        )

    def _produce(self, key: bytes, value: bytes, headers: dict[str, str | bytes | None]) -> None:
        while True:
            try:
                self._producer.produce(self.topic, value, key, headers=headers)
                return
            except BufferError:  # the brokers are slower than we are, or away
                self._producer.poll(0.1)
                self._check()

    def _patiently(self, call: Callable[[], object]) -> None:
        """Call until the brokers have answered; what they did not answer may be called again."""
        while True:
            try:
                call()
                return
            except KafkaException as error:
                if not error.args[0].retriable() and error.args[0].name() not in _PASSING:
                    raise
                log.warning("kafka does not answer, waiting", topic=self.topic, error=describe(error.args[0]))
            self._check()

    def _check(self) -> None:
        if self.stopping.wait(0.05):
            raise Stopped


def _in_thread(call: Callable[[], object], meanwhile: Callable[[], None], seconds: float) -> None:
    """Call in a thread; raises what it raises, what ``meanwhile`` raises, or ``TimeoutError`` after ``seconds``."""
    outcome: Future[object] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="kafka", daemon=True).start()
    end = time.monotonic() + seconds
    while not wait([outcome], 0.2).done:
        meanwhile()
        if time.monotonic() > end:
            raise TimeoutError
    outcome.result()


def snapshots(published: Iterable[tuple[Header, pa.Table]], kind: Format, zone: str) -> Iterable[Outgoing]:
    """Yield what a feed's snapshots say in a format: ticks one by one with their code as key, or whole snapshots."""
    for header, rows in published:
        told: dict[str, str | bytes | None] = {
            "feed": header.feed,
            "seq": str(header.seq),
            "index": str(header.index),
            "snapshot_time": str(header.time),
        }
        lines = Lines(zone, quotes=kind == "snapshot_csv" and "bid" in rows.column_names)
        yield Outgoing(header.seq, _messages(header, rows.drop_columns(["age_s"]), kind, lines), told)


def _messages(header: Header, rows: pa.Table, kind: Format, lines: Lines) -> list[tuple[bytes, bytes]]:
    if kind in ("json", "csv"):
        keys = [code.encode() for code in rows.column("code").to_pylist()]
        values = _objects(rows) if kind == "json" else lines(rows).splitlines()
        return list(zip(keys, values, strict=True))
    key = header.feed.encode()
    if kind == "snapshot_csv":
        return [(key, lines.header + lines(rows))]
    sink = io.BytesIO()
    if kind == "snapshot_parquet":
        pa.parquet.write_table(rows, sink)
    else:
        with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(rows.combine_chunks())
    return [(key, sink.getvalue())]


def _objects(rows: pa.Table) -> list[bytes]:
    table = pa.table({name: without_nan(rows.column(name)) for name in rows.column_names})
    return [json.dumps(row).encode() for row in table.to_pylist()]
