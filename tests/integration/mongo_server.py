"""A server that speaks MongoDB's wire protocol, in memory, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import jars
import psutil
import pymongo
from platform_process import free_port, wait_for
from pymongo.errors import PyMongoError

PACKAGE = ("de.bwaldvogel", "mongo-java-server", "1.47.0")


@dataclass(frozen=True)
class Server:
    """``url`` goes up to the database's name."""

    url: str
    process: psutil.Process


@contextlib.contextmanager
def server(heap_mb: int = 512) -> Iterator[Server]:
    """Yield a running server; it and what it holds are gone afterwards."""
    port = free_port()
    command = [
        jars.java(),
        f"-Xmx{heap_mb}m",
        "-cp",
        jars.classpath(*PACKAGE),
        "de.bwaldvogel.mongo.InMemoryMongoServer",
    ]
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = Server(f"mongodb://127.0.0.1:{port}/", psutil.Process(process.pid))
    try:
        wait_for("mongodb", lambda: answers(found.url), 30)
        yield found
    finally:
        process.kill()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        with pymongo.MongoClient(url, serverSelectionTimeoutMS=500) as client:
            return bool(client.admin.command("ping")["ok"])
    except PyMongoError:
        return False
