"""A feed out of a Kafka topic: what it has read counts as read only once its snapshot is on the bus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from pydantic import Field

from processors.contract import Context, FeedProcessor, FeedSpec
from processors.contract import Params as BaseParams
from processors.feeds import parse
from processors.feeds.engine import Engine, Handed, run_feed
from processors.feeds.fields import UNIFORM
from processors.feeds.link import Link
from processors.feeds.merge import Batch, Merge
from processors.feeds.messages import Format, decoder
from processors.feeds.offsets import Commits, DeadLetters
from processors.feeds.tally import SourceError
from processors.feeds.validate import FUTURE_MS
from processors.kafka import connection, describe

BATCH = 20_000  # messages that are decoded in one go, at most
BATCH_S = 0.05
IDLE_S = 0.1
ASK_S = 1.0  # how long a question to the brokers may take
HELD_BATCHES = 50  # of a partition that runs ahead of the others, before no more of it is read
TIME_HEADER = "snapshot_time"  # ms UTC: every row up to it is in this message or one before


class KafkaParams(BaseParams):
    """Which topic, and what its messages are. Where the brokers are is a setting (``KAFKA_SERVERS``)."""

    topic: str = Field(title="Topic", min_length=1, max_length=249)
    format: Format = Field("json", title="Format", description="A tick per message, or a snapshot per message.")
    columns: str = Field(UNIFORM, title="Columns", description="Of ticks as CSV.")
    start: Literal["latest", "earliest"] = Field(
        "latest", title="Start", description="Which messages to begin with, the first time and afresh."
    )
    dead_letters: str = Field(
        "", title="Dead letters", max_length=249, description="Topic that takes the messages that say nothing."
    )


class KafkaFeed(FeedProcessor):
    """Takes ticks from all partitions of a topic, each message once: a message counts as read when its snapshot is on
    the bus (committed for the group ``live-stock.<feed>``), and what is read again after a crash is late and dropped.

    Partitions of a backlog are read side by side, by event time. Messages that say nothing are counted by reason and
    sent to the topic for dead letters, if one is named; of messages with a tick each also those that are no valid tick.
    """

    title = "Kafka topic"
    description = "Ticks or snapshots out of a Kafka topic. Brokers and secrets come from the settings."
    Params = KafkaParams

    def run(self, params: KafkaParams, spec: FeedSpec, context: Context) -> None:
        """Publish until stopped. Raises ``SourceError`` for a topic that does not exist or columns that lack a field,
        ``KafkaSettingsError`` for missing settings."""
        engine = Engine(spec, context, name=f"topic {params.topic}")
        reader = Reader(params, engine)
        try:
            run_feed(engine, lambda _: reader.handed())
        finally:
            reader.close()


class Reader:
    """Reads the topic's partitions. They are assigned by hand: one task reads a feed, and after its death the next one
    need not wait until the group has noticed."""

    def __init__(self, params: KafkaParams, engine: Engine) -> None:
        self.params, self.engine, self.tally = params, engine, engine.tally
        self.zone = engine.spec.zone
        self._decode = decoder(params.format, params.columns.split(","), engine.name)
        self._per_tick = params.format in ("csv", "json")
        self._link = Link(engine.name)
        self._consumer = Consumer(
            {
                **connection(),
                "group.id": f"live-stock.{engine.spec.name}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 16_384,
                "fetch.wait.max.ms": 100,  # a question waits behind a fetch on the same connection
                "max.poll.interval.ms": 86_400_000,
                "error_cb": self._link.failed,
            }
        )
        self._letters = DeadLetters(params.dead_letters) if params.dead_letters else None
        self._merge: Merge[Message] = Merge([])
        self._paused: set[int] = set()
        self._next: dict[int, int] = {}  # partition → offset behind what was handed
        self._commits = Commits(self._consumer, params.topic)
        self._asked_at = 0.0
        self._pending = True

    def handed(self) -> Iterator[Handed]:
        while not self._assigned():
            self._tell()
            yield Handed(pending=True)
            if self.engine.context.stopping.wait(IDLE_S):
                return
        while not self.engine.context.stopping.is_set():
            messages = self._poll()
            self._sort(messages)
            released = self._merge.released()
            for number, batch in enumerate(released, 1):
                yield self._hand(batch, more=number < len(released))
            self._hold_back()
            self._commits.send(self._letters)
            self._tell()
            if not released:
                yield Handed(pending=self._expects_more())

    # ---- where to begin

    def _assigned(self) -> bool:
        """Begin to read; False while no broker answers."""
        topic = self.params.topic
        try:
            found = self._consumer.list_topics(topic, timeout=ASK_S).topics[topic]
            if found.error is not None:
                self._refuse_unknown(found.error)
                return False
            mine = [TopicPartition(topic, number) for number in sorted(found.partitions)]
            places = [self._place(each) for each in self._consumer.committed(mine, timeout=ASK_S)]
        except KafkaException as error:
            self._link.error = self._link.error or describe(error.args[0])
            self._consumer.poll(0)  # which tells more, a refused password for one
            return False
        self._merge = Merge([each.partition for each in places])
        self._consumer.assign(places)
        self._link.answered()
        return True

    def _refuse_unknown(self, error: KafkaError) -> None:
        self._link.error = describe(error)
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise SourceError(f"topic {self.params.topic} does not exist; expected one that the brokers know")

    def _place(self, committed: TopicPartition) -> TopicPartition:
        """Return where to read a partition from. What the brokers have deleted unread is counted."""
        if committed.offset < 0 or self.engine.context.fresh:
            first = OFFSET_BEGINNING if self.params.start == "earliest" else OFFSET_END
            return TopicPartition(committed.topic, committed.partition, first)
        low, _ = self._consumer.get_watermark_offsets(committed, timeout=ASK_S)
        self.engine.facts["messages_lost"] = self.engine.facts.get("messages_lost", 0) + max(low - committed.offset, 0)
        return committed

    # ---- reading

    def _poll(self) -> list[Message]:
        """Return what is there, waiting a moment for the first message."""
        messages: list[Message] = []
        message = self._consumer.poll(IDLE_S)
        until = time.monotonic() + BATCH_S
        while message is not None:
            messages.append(message)
            if len(messages) == BATCH or (len(messages) % 64 == 0 and time.monotonic() > until):
                break
            message = self._consumer.poll(0)
        return messages

    def _sort(self, messages: list[Message]) -> None:
        """Decode the messages of each partition and take note of its end."""
        parts: dict[int, list[Message]] = {}
        for message in messages:
            error, partition = message.error(), message.partition() or 0
            if error is None:
                parts.setdefault(partition, []).append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._take(partition, parts.pop(partition, []))
                self._merge.ends(partition)
                self._link.answered()
            else:
                self._link.failed(error)
        for partition, read in parts.items():
            self._take(partition, read)

    def _take(self, partition: int, read: list[Message]) -> None:
        """Decode what was read of a partition. A message that says nothing is counted at once."""
        if not read:
            return
        self._link.answered()
        decoded = self._decode([message.value() or b"" for message in read])
        for number, reason in decoded.wrong:
            self._reject(read[number], reason)
        behind = (read[-1].offset() or 0) + 1
        taken = [read[number] for number in decoded.taken]
        for place, rows in enumerate(decoded.rows):
            times = parse.times(parse.flat(rows.column("time")), self.zone)
            whole = not self._per_tick and len(self._merge.partitions) == 1
            self._merge.add(
                Batch(
                    partition,
                    rows,
                    times,
                    taken if self._per_tick else [],
                    behind if place == len(decoded.rows) - 1 else None,
                    complete_ms(taken[place]) if whole else None,
                )
            )
        if not decoded.rows:
            self._merge.add(Batch(partition, None, np.empty(0, dtype=np.int64), [], behind))

    def _hold_back(self) -> None:
        """Read no more of a partition that is far ahead of the others, until they have caught up."""
        for partition in self._merge.partitions:
            place = [TopicPartition(self.params.topic, partition)]
            held = self._merge.held(partition)
            if held > HELD_BATCHES and partition not in self._paused:
                self._consumer.pause(place)
                self._paused.add(partition)
            elif held < HELD_BATCHES // 2 and partition in self._paused:
                self._consumer.resume(place)
                self._paused.discard(partition)

    # ---- handing on

    def _hand(self, batch: Batch[Message], *, more: bool) -> Handed:
        """Return what the engine is given; with ``more`` it closes nothing before it has the other partitions' rows."""
        if batch.next_offset is not None:
            self._next[batch.partition] = batch.next_offset
        places = dict(self._next)
        return Handed(
            batch.rows,
            complete_ms=batch.complete_ms,
            safe=lambda: self._commits.may(places),
            refused=(lambda reason, rows: self._refused(batch.origins, reason, rows)) if self._letters else None,
            pending=more or batch.rows is None,
        )

    def _reject(self, message: Message, reason: str) -> None:
        self.tally.refuse(reason, (message.value() or b"")[:300].decode("latin-1"))
        self._bury(message, reason)

    def _refused(self, taken: list[Message], reason: str, numbers: np.ndarray) -> None:
        for number in numbers if taken else ():
            self._bury(taken[number], reason)

    def _bury(self, message: Message, reason: str) -> None:
        if self._letters is not None:
            self._letters.add(message, reason)

    # ---- how it goes

    def _expects_more(self) -> bool:
        """Whether something may be on its way: the brokers are asked, for a broken connection is as silent as a market
        that is closed."""
        if time.monotonic() - self._asked_at > ASK_S:
            self._asked_at = time.monotonic()
            self._pending = not self._merge.at_end or self._link.behind(self._consumer, ask=True) != 0
        return self._pending

    def _tell(self) -> None:
        self.engine.facts["messages_behind"] = self._link.behind(self._consumer, ask=False) or 0
        self.engine.facts["sources"] = self._link.told()

    def close(self) -> None:
        self._commits.send(self._letters, now=True)
        self._consumer.close()


def complete_ms(message: Message) -> int | None:
    """Return up to which event time a snapshot's message says that all is given, None if it does not say, or says what
    cannot be: time would never come back from there."""
    value = dict(message.headers() or {}).get(TIME_HEADER)
    if value is None or not value.isdigit() or len(value) > 15:
        return None
    return int(value) if int(value) < time.time() * 1000 + FUTURE_MS else None
