"""A server that speaks MongoDB's wire protocol, in memory, for tests and benchmarks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jars
import psutil
import pymongo
from platform_process import free_port, wait_for
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from pymongo.errors import PyMongoError

_WIRE_VERSION = 9  # of MongoDB 4.4
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # of use to a test; a benchmark has none of them
PACKAGE = ("de.bwaldvogel", "mongo-java-server", "1.47.0")


@dataclass(frozen=True)
class Server:
    """``url`` goes up to the database's name."""

    url: str
    process: psutil.Process


@contextlib.contextmanager
def server(heap_mb: int = 512, java_options: Sequence[str] = QUICK_START) -> Iterator[Server]:
    """Yield a running server; it and what it holds are gone afterwards."""
    port = free_port()
    gateway_port, process = launch_gateway(
        classpath=jars.classpath(*PACKAGE),
        jarpath=str(next(jars.JARS.glob("py4j-*.jar"))),
        javaopts=[f"-Xmx{heap_mb}m", *java_options],
        java_path=jars.java(),
        die_on_exit=True,
        return_proc=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=gateway_port))
    _bind(gateway.jvm.de.bwaldvogel.mongo, port)
    gateway.close()
    found = Server(f"mongodb://127.0.0.1:{port}/", psutil.Process(process.pid))
    try:
        wait_for("mongodb", lambda: answers(found.url), 30)
        yield found
    finally:
        process.kill()
        process.wait(10)


def _bind(mongo: Any, port: int) -> None:
    """Start the server in its JVM: its own main() knows one port only. It says that it is of MongoDB 4.2, which today's
    pymongo refuses; what this project uses of the protocol is older."""
    version = mongo.ServerVersion.MONGO_5_0
    wire = version.getClass().getDeclaredField("wireVersion")
    wire.setAccessible(True)
    wire.setInt(version, _WIRE_VERSION)
    backend = mongo.backend.memory.MemoryBackend()
    backend.version(version)
    mongo.MongoServer(backend).bind("127.0.0.1", port)


def answers(url: str) -> bool:
    try:
        with pymongo.MongoClient(url, serverSelectionTimeoutMS=2_000) as client:
            return bool(client.admin.command("ping")["ok"])
    except PyMongoError:
        return False
