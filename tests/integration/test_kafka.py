"""Kafka in and out, with a real broker that is killed in the middle: nothing lost, nothing doubled."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feed_support import Running, Valkey, content, published, until
from kafka_broker import CERTIFICATES, PASSWORD, USER, Broker

from processors.bus import Bus, connect
from processors.contract import FeedSpec
from processors.feeds.kafka import KafkaFeed, KafkaParams
from processors.feeds.uniform import COLUMNS, Lines, of_feed
from processors.kafka import KafkaSettingsError, connection
from processors.publish import Publisher, snapshots

pytestmark = pytest.mark.timeout(240)

BEGIN = 1_700_000_000_000
CODES = [f"{number:06}" for number in range(40)]
FAST = FeedSpec("fast", zone="UTC", calendar="24/7", interval_ms=1_000, carry_limit_s=20, grace_ms=300)


@pytest.fixture
def broker(common_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Broker:
    common_broker.revive()
    monkeypatch.setenv("KAFKA_SERVERS", common_broker.servers)
    return common_broker


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


def snapshot(number: int, codes: list[str] = CODES) -> pa.Table:
    """Return the rows of one second, with a price that tells which."""
    size = len(codes)
    return pa.table(
        {
            "time": np.full(size, BEGIN + number * 1_000 - 250),
            "code": codes,
            "price": 10.0 + number + np.arange(size) / 100,
            "volume": np.full(size, 100.0),
            "amount": np.full(size, 1000.0),
            "type": np.ones(size, np.int8),
        }
    )


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


LINES = Lines("UTC")
ENCODE: dict[str, Callable[[pa.Table], list[bytes]]] = {
    "json": lambda table: [json.dumps(row).encode() for row in table.to_pylist()],
    "csv": lambda table: LINES(table).splitlines(),
    "snapshot_csv": lambda table: [LINES.header + LINES(table)],
    "snapshot_arrow": lambda table: [arrow(table)],
    "snapshot_parquet": lambda table: [parquet(table)],
}


def messages(kind: str, numbers: range) -> list[bytes]:
    return [value for number in numbers for value in ENCODE[kind](snapshot(number))]


def send(broker: Broker, topic: str, values: list[bytes], keys: list[str] | None = None) -> None:
    producer = broker.producer()
    for number, value in enumerate(values):
        producer.produce(topic, value, keys[number] if keys else None)
        producer.poll(0)
    assert producer.flush(60) == 0


def follow(valkey: Valkey, topic: str, kind: str = "json", spec: FeedSpec = FAST, **more: Any) -> Running:
    params = KafkaParams(topic=topic, format=kind, **{"start": "earliest", **more})  # type: ignore[arg-type]
    return Running(KafkaFeed(), params, spec, valkey.url)


def rows_on_bus(valkey: Valkey, spec: FeedSpec = FAST) -> list[tuple[str, int, float]]:
    """Return (code, time, price) of every real row on the bus."""
    bus, found = Bus(connect(valkey.url), spec.name), []
    for header in bus.headers(0):
        for number in range(header.slices):
            part = bus.read(number, [header.seq])[0]
            assert part is not None
            found += [(r["code"], r["time"], r["price"]) for r in part.to_pylist() if r["age_s"] == 0]
    return found


def expected(numbers: range) -> list[tuple[str, int, float]]:
    return sorted((r["code"], r["time"], r["price"]) for number in numbers for r in snapshot(number).to_pylist())


def all_there(valkey: Valkey, count: int, seconds: float = 60.0, spec: FeedSpec = FAST) -> None:
    """Wait for so many snapshots: there is one a second."""
    bus = Bus(connect(valkey.url), spec.name)
    until(lambda: (last := bus.last()) and last.index >= count - 1, seconds)


@pytest.mark.parametrize("kind", list(ENCODE))
def test_each_format_feeds_the_bus(broker: Broker, valkey: Valkey, kind: str) -> None:
    topic = broker.topic(f"each-{kind}")
    send(broker, topic, messages(kind, range(20)))
    run = follow(valkey, topic, kind)
    all_there(valkey, 20)
    run.stop()
    assert run.error is None
    assert sorted(rows_on_bus(valkey)) == expected(range(20))
    assert run.facts["rejected"] == {} and run.facts["received"] == 20 * len(CODES)


def test_a_broker_killed_in_mid_stream_loses_and_doubles_nothing(broker: Broker, valkey: Valkey) -> None:
    topic, producer = broker.topic("killed"), broker.producer()
    run = follow(valkey, topic)
    go_on = threading.Event()

    def produce() -> None:
        for number in range(60):
            for value in ENCODE["json"](snapshot(number)):
                producer.produce(topic, value)
                producer.poll(0)
            go_on.wait(0.05)
        producer.flush(120)

    thread = threading.Thread(target=produce)
    thread.start()
    all_there(valkey, 6)
    broker.kill()
    until(lambda: run.facts["sources"][0]["state"] == "connecting", 20)
    broker.start()
    thread.join(120)
    all_there(valkey, 60)
    run.stop()
    assert sorted(rows_on_bus(valkey)) == expected(range(60))
    assert run.facts["rejected"] == {}


def test_a_feed_that_dies_reads_again_only_what_is_not_on_the_bus(broker: Broker, valkey: Valkey) -> None:
    topic = broker.topic("resumed")
    send(broker, topic, messages("json", range(10)))
    first = follow(valkey, topic)
    all_there(valkey, 6)
    first.stop()  # in the middle of an interval, with rows in hand that are on no snapshot yet
    send(broker, topic, messages("json", range(10, 20)))
    second = follow(valkey, topic)
    all_there(valkey, 20)
    until(lambda: broker.committed("live-stock.fast", topic) == 20 * len(CODES), 20)
    second.stop()
    assert sorted(rows_on_bus(valkey)) == expected(range(20))
    third = follow(valkey, topic)
    send(broker, topic, ENCODE["json"](snapshot(20)))
    until(lambda: third.facts.get("received", 0) >= len(CODES), 20)
    assert third.facts["received"] == len(CODES) and third.facts["rejected"] == {}
    third.stop()
    assert sorted(rows_on_bus(valkey)) == expected(range(20))


def test_redis_killed_while_messages_come_loses_and_doubles_nothing(broker: Broker, valkey: Valkey) -> None:
    topic = broker.topic("redis")
    run = follow(valkey, topic)
    send(broker, topic, messages("json", range(16)))
    all_there(valkey, 6)
    valkey.kill()
    send(broker, topic, messages("json", range(16, 26)))
    valkey.start()
    send(broker, topic, messages("json", range(26, 40)))
    all_there(valkey, 40)
    run.stop()
    assert sorted(rows_on_bus(valkey)) == expected(range(40))


def test_a_backlog_in_several_partitions_is_read_side_by_side(broker: Broker, valkey: Valkey) -> None:
    topic, producer = broker.topic("partitions", 3), broker.producer()
    for number in range(200):
        for row, value in enumerate(ENCODE["json"](snapshot(number))):
            producer.produce(topic, value, partition=row % 3)
        producer.poll(0)
    producer.flush(60)
    run = follow(valkey, topic)
    all_there(valkey, 200)
    run.stop()
    assert run.facts["rejected"] == {}
    assert sorted(rows_on_bus(valkey)) == expected(range(200))


WRONG = {
    b"no json": "not_json",
    b"[1, 2]": "not_an_object",
    b'{"code": "000001"}': "missing_field",
    b'{"time": 1700000000000, "code": 600000, "price": 1, "volume": 1, "amount": 1}': "code_not_text",
    b'{"time": 1700000000000, "code": "000001", "price": -1, "volume": 1, "amount": 1}': "price_not_positive",
    b'{"time": 1700000000000, "code": "000001", "price": true, "volume": 1, "amount": 1}': "bad_number",
    b"\xff\xfe": "not_json",
    b"": "not_json",
}


def test_wrong_messages_are_counted_by_reason_and_kept_as_dead_letters(broker: Broker, valkey: Valkey) -> None:
    topic, dead = broker.topic("wrong"), broker.topic("wrong-dead")
    send(broker, topic, [*ENCODE["json"](snapshot(0)), *WRONG, *ENCODE["json"](snapshot(1))])
    run = follow(valkey, topic, dead_letters=dead)
    all_there(valkey, 2)
    letters = broker.read(dead, len(WRONG))
    run.stop()
    assert {m.value() or b"": dict(m.headers() or [])["reason"].decode() for m in letters} == WRONG
    counts: dict[str, int] = {}
    for reason in WRONG.values():
        counts[reason] = counts.get(reason, 0) + 1
    assert run.facts["rejected"] == counts
    assert run.facts["samples"]["not_an_object"] == ["[1, 2]"]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("snapshot_arrow", b"rubbish", "not_arrow"),
        ("snapshot_parquet", b"PAR1", "not_parquet"),
        ("snapshot_csv", b"a,b\n1,2\n", "wrong_columns"),
        ("snapshot_arrow", arrow(pa.table({"time": [1], "code": [600000], "price": [1], "volume": [1], "amount": [1]})),
         "wrong_columns"),
    ],
)  # fmt: skip
def test_a_wrong_snapshot_is_counted_and_the_next_is_read(
    broker: Broker, valkey: Valkey, kind: str, value: bytes, reason: str
) -> None:
    topic = broker.topic(f"bad-{kind}-{reason}-{len(value)}")
    send(broker, topic, [value, *ENCODE[kind](snapshot(0)), *ENCODE[kind](snapshot(1))])
    run = follow(valkey, topic, kind)
    all_there(valkey, 2)
    run.stop()
    assert run.facts["rejected"] == {reason: 1}


def test_without_its_topic_or_settings_it_says_so(
    broker: Broker, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "topic nowhere does not exist" in str(follow(valkey, "nowhere").wait(20).error)
    monkeypatch.delenv("KAFKA_SERVERS")
    assert "KAFKA_SERVERS is not set" in str(follow(valkey, "nowhere").wait(20).error)
    monkeypatch.setenv("KAFKA_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("KAFKA_SECURITY", "SASL_SSL")
    with pytest.raises(KafkaSettingsError, match="KAFKA_USERNAME"):
        connection()
    monkeypatch.setenv("KAFKA_SECURITY", "TLS")
    with pytest.raises(KafkaSettingsError, match="'TLS'"):
        connection()


def test_a_password_lets_in_and_a_wrong_one_does_not(
    broker: Broker, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = broker.topic("secret")
    send(broker, topic, messages("json", range(3)))
    for name, value in (
        ("SERVERS", broker.sasl_servers), ("SECURITY", "SASL_PLAINTEXT"), ("USERNAME", USER), ("PASSWORD", "wrong"),
    ):  # fmt: skip
        monkeypatch.setenv(f"KAFKA_{name}", value)
    run = follow(valkey, topic)
    until(lambda: "uthentication" in run.facts.get("sources", [{"error": ""}])[0]["error"], 20)
    run.stop()
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    run = follow(valkey, topic)
    all_there(valkey, 3)
    run.stop()


def test_tls_checks_the_broker_and_shows_who_asks(
    broker: Broker, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = broker.topic("enciphered")
    send(broker, topic, messages("json", range(3)))
    for name, value in (
        ("SERVERS", broker.tls_servers), ("SECURITY", "SSL"), ("CA_FILE", CERTIFICATES / "stranger.pem"),
        ("CERTIFICATE_FILE", CERTIFICATES / "client.pem"), ("KEY_FILE", CERTIFICATES / "client.key"),
    ):  # fmt: skip
        monkeypatch.setenv(f"KAFKA_{name}", str(value))
    run = follow(valkey, topic)
    until(lambda: "certificate" in run.facts.get("sources", [{"error": ""}])[0]["error"], 20)
    run.stop()
    monkeypatch.setenv("KAFKA_CA_FILE", str(CERTIFICATES / "ca.pem"))
    run = follow(valkey, topic)
    all_there(valkey, 3)
    run.stop()


# ---- out


@pytest.mark.parametrize("kind", list(ENCODE))
def test_what_goes_out_comes_in_again_as_it_was(broker: Broker, valkey: Valkey, kind: str) -> None:
    source = broker.topic(f"source-{kind}")
    send(broker, source, messages("json", range(15)))
    run = follow(valkey, source)
    all_there(valkey, 15)
    run.stop()
    target, stopping = broker.topic(f"target-{kind}"), threading.Event()
    bus = Bus(connect(valkey.url), FAST.name)
    with closing(Publisher(f"feed-fast-{kind}", target, stopping)) as publisher:
        assert publisher.position() is None
        for outgoing in snapshots(of_feed(bus, 0, stopping), kind, "UTC"):  # type: ignore[arg-type]
            publisher.send(outgoing)
            if outgoing.headers["index"] == "14":
                stopping.set()
    again = replace(FAST, name="again")
    run = follow(valkey, target, kind, again)
    all_there(valkey, 15, spec=again)
    run.stop()
    assert sorted(rows_on_bus(valkey, again)) == expected(range(15))
    assert content(published(valkey.url, again)) == content(published(valkey.url, FAST))


def test_publishing_goes_on_where_it_died_and_through_a_brokers_death(broker: Broker, valkey: Valkey) -> None:
    target, stopping = broker.topic("out"), threading.Event()
    source = broker.topic("out-source")
    send(broker, source, messages("json", range(30)))
    run = follow(valkey, source)
    all_there(valkey, 30)
    run.stop()
    bus = Bus(connect(valkey.url), FAST.name)

    first = Publisher("feed-out", target, stopping)
    for outgoing in snapshots(of_feed(bus, 0, stopping), "json", "UTC"):
        first.send(outgoing)
        if outgoing.headers["index"] == "9":
            break
    first._producer.begin_transaction()  # and dies with half of the next snapshot sent
    first._producer.produce(target, b"half")
    first._producer.flush(10)

    first.close()

    restart = threading.Thread(target=broker.start)
    with closing(Publisher("feed-out", target, stopping)) as second:
        after = second.position()
        assert after == bus.headers(0)[9].seq
        for outgoing in snapshots(of_feed(bus, after, stopping), "json", "UTC"):
            if outgoing.headers["index"] == "15":
                broker.kill()
                restart.start()
            second.send(outgoing)
            if outgoing.headers["index"] == "29":
                stopping.set()
    restart.join()
    found = [json.loads(message.value()) for message in broker.read(target, 30 * len(CODES))]
    assert sorted((row["code"], row["time"], row["price"]) for row in found) == expected(range(30))
    assert set(COLUMNS) <= set(found[0])
