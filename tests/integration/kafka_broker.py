"""A real Kafka broker of a test's own, which may be killed and started again with what it had."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import jars
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from platform_process import free_port

ARTIFACT = ("org.apache.kafka", "kafka_2.13", "4.3.0")
CERTIFICATES = Path(__file__).parents[1] / "fixtures" / "tls"
USER, PASSWORD = "live", "of-a-test"
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://127.0.0.1:{tls},\
CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.pem
ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
log.dirs={folder}/log
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=8388608
"""


class Broker:
    """One node that is broker and controller. ``servers`` needs nothing, ``sasl_servers`` a password, ``tls_servers`` a
    certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.classpath = folder, jars.classpath(*ARTIFACT)
        ports = {name: free_port() for name in ("port", "sasl", "tls", "controller")}
        self.servers, self.sasl_servers, self.tls_servers = (
            f"127.0.0.1:{ports[name]}" for name in ("port", "sasl", "tls")
        )
        self.settings = folder / "server.properties"
        places = {"folder": folder, "certificates": CERTIFICATES}
        self.settings.write_text(_SETTINGS.format(user=USER, password=PASSWORD, **places, **ports))
        self._run("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(self.settings)).wait(60)
        self.start()
        self.admin = AdminClient({"bootstrap.servers": self.servers})

    def _run(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [jars.java(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", self.classpath, main]
        with (self.folder / "broker.log").open("ab") as log:
            return subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self) -> None:
        self.process = self._run("kafka.Kafka", str(self.settings))
        end = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "broker.log").read_text()[-3000:]
            assert time.monotonic() < end, "the broker does not answer"

    def _answers(self) -> bool:
        """An open port is not a ready broker: it has to name itself as controller."""
        try:
            found = AdminClient({"bootstrap.servers": self.servers, "log_level": 0}).list_topics(timeout=1)
        except KafkaException:
            return False
        return bool(found.brokers) and found.controller_id == 1

    def revive(self) -> None:
        """Start it unless it lives."""
        if self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def topic(self, name: str, partitions: int = 1) -> str:
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(20)
        return name

    def producer(self) -> Producer:
        return Producer({"bootstrap.servers": self.servers, "enable.idempotence": True, "linger.ms": 5})

    def committed(self, group: str, topic: str) -> int:
        """Return the offset that a group has committed for the topic's first partition, negative for none."""
        consumer = KafkaConsumer({"bootstrap.servers": self.servers, "group.id": group})
        try:
            return consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].offset
        finally:
            consumer.close()

    def read(self, topic: str, count: int, seconds: float = 30.0) -> list[Message]:
        """Return the committed messages of a topic from its beginning, at least ``count`` of them."""
        consumer = KafkaConsumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": f"test-{time.monotonic_ns()}",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        consumer.subscribe([topic])
        found: list[Message] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append(message)
            elif message is not None and len(found) >= count:
                break
        consumer.close()
        assert len(found) >= count, f"{len(found)} messages on {topic}, expected {count}"
        return found
