"""How the connection of a Kafka consumer goes, as it says itself and as the brokers answer."""

from __future__ import annotations

from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from processors.kafka import describe

log = structlog.get_logger()
_AWAY = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE)
ANSWER_S = 1.0


class Link:
    """``state`` is connecting or connected, ``error`` the last thing that went wrong since it was connected."""

    def __init__(self, name: str) -> None:
        self.name, self.state, self.error = name, "connecting", ""

    def answered(self) -> None:
        self.state, self.error = "connected", ""

    def failed(self, error: KafkaError) -> None:
        """Take note of an error; the client goes on trying by itself. Raises ``KafkaException`` where it does not."""
        if error.fatal():
            raise KafkaException(error)
        if error.code() in _AWAY:
            self.state = "connecting"
        self.error = describe(error)
        log.warning("kafka", source=self.name, error=self.error)

    def behind(self, consumer: Consumer, *, ask: bool) -> int | None:
        """Return how many messages wait to be read, as far as is known or as the brokers answer if asked; None if they
        do not."""
        waiting = 0
        try:
            for place in consumer.position(consumer.assignment()):
                if place.offset < 0:
                    continue  # nothing read yet: where that is, its end or its first message will tell
                marks = consumer.get_watermark_offsets(place, timeout=ANSWER_S, cached=not ask)
                if marks is None:
                    return None
                waiting += max(marks[1] - place.offset, 0)
        except KafkaException as error:
            if ask:
                self.state, self.error = "connecting", describe(error.args[0])
            return None
        return waiting

    def told(self) -> list[dict[str, Any]]:
        active = self.state == "connected"
        return [{"name": self.name, "state": self.state, "active": active, "error": self.error}]
