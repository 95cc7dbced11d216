"""Connections to Kafka: the only place that knows where the brokers are, and with which secrets to enter.

All of it comes from the environment (docs/settings.md), nothing from a task's parameters: who may start a task can
neither read a password nor send it to a server of theirs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

_SETTINGS = {
    "KAFKA_SERVERS": "bootstrap.servers",
    "KAFKA_SECURITY": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_USERNAME": "sasl.username",
    "KAFKA_PASSWORD": "sasl.password",
    "KAFKA_CA_FILE": "ssl.ca.location",
    "KAFKA_CERTIFICATE_FILE": "ssl.certificate.location",
    "KAFKA_KEY_FILE": "ssl.key.location",
    "KAFKA_KEY_PASSWORD": "ssl.key.password",
}
_SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


class KafkaSettingsError(ValueError):
    """A setting of Kafka is missing or wrong. The message names the variable and what was expected."""


def connection() -> dict[str, Any]:
    """Return librdkafka's configuration of a connection. Raises ``KafkaSettingsError``."""
    given = {option: os.environ[name] for name, option in _SETTINGS.items() if os.environ.get(name)}
    if "bootstrap.servers" not in given:
        raise KafkaSettingsError("KAFKA_SERVERS is not set: expected host:port, or several with a comma between")
    security = given.get("security.protocol", "PLAINTEXT").upper()
    if security not in _SECURITY:
        raise KafkaSettingsError(f"KAFKA_SECURITY is {security!r}: expected one of {', '.join(_SECURITY)}")
    if security.startswith("SASL") and not {"sasl.username", "sasl.password"} <= given.keys():
        raise KafkaSettingsError(f"KAFKA_SECURITY is {security}: expected KAFKA_USERNAME and KAFKA_PASSWORD beside it")
    mechanism = {"sasl.mechanism": given.get("sasl.mechanism", "PLAIN")} if security.startswith("SASL") else {}
    return {
        **given,
        **mechanism,
        "security.protocol": security,
        "client.id": "live-stock",
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
    }


def describe(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"
