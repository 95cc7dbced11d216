"""What a Kafka feed tells the brokers: up to where it is done, and which messages said nothing."""

from __future__ import annotations

import time

import structlog
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from processors.kafka import connection, describe

log = structlog.get_logger()
COMMIT_EVERY_S = 1.0


class Commits:
    """Tells the brokers up to where the topic is dealt with, at most once a second."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._places: dict[int, int] = {}
        self._sent_at = 0.0

    def may(self, places: dict[int, int]) -> None:
        """Take note that everything before these offsets is on the bus."""
        self._places = places

    def send(self, letters: DeadLetters | None, *, now: bool = False) -> None:
        if not self._places or (not now and time.monotonic() - self._sent_at < COMMIT_EVERY_S):
            return
        if letters is not None and not letters.written():
            return  # a dead letter that is not on its topic yet is not dealt with
        self._sent_at = time.monotonic()
        offsets = [TopicPartition(self._topic, number, offset) for number, offset in self._places.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._places = {}
        except KafkaException as error:
            log.warning("offsets not committed", topic=self._topic, error=describe(error.args[0]))


class DeadLetters:
    """A topic for messages that say nothing: as they came, with the reason and their place as headers."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._producer = Producer({**connection(), "enable.idempotence": True, "message.timeout.ms": 0})

    def add(self, message: Message, reason: str) -> None:
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        headers: dict[str, str | bytes | None] = {"reason": reason, "place": place}
        while True:
            try:
                self._producer.produce(self.topic, message.value(), message.key(), headers=headers)
                return
            except BufferError:
                self._producer.poll(0.1)

    def written(self) -> bool:
        return self._producer.flush(0.5) == 0
