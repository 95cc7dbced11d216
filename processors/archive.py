"""Makes the JVM's class archive: ``python -m processors.archive PATH``. With it a bare query's first batch
came after 6.6 s instead of 11 to 12 s on two cores.

A short streaming query loads what every task loads; when the JVM ends in order it writes those classes down, parsed and
verified (application class-data sharing). A runtime that can't do that leaves no file, and tasks start without.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming import StreamingQuery

from processors import gateway, spark
from processors.contract import Context

_LIMIT_S = 120


class Ticking(DataSource):
    """A source that has a batch whenever it is asked, without rows: the way of ``processors.source`` without Redis."""

    @classmethod
    def name(cls) -> str:
        return "ticking"

    def schema(self) -> str:
        return "seq long"

    def streamReader(self, schema: Any) -> DataSourceStreamReader:
        return TickingReader()


class TickingReader(DataSourceStreamReader):
    def initialOffset(self) -> dict:
        return {"seq": 0}

    def latestOffset(self, start: dict, limit: Any) -> dict:
        return {"seq": start["seq"] + 1}

    def partitions(self, start: dict, end: dict) -> Sequence[InputPartition]:
        return [InputPartition(0), InputPartition(1)]

    def read(self, partition: InputPartition) -> Iterator[tuple]:
        return iter(())


def make(path: Path) -> None:
    """Write the archive at a path; leave nothing there when the runtime can't."""
    os.environ["PLATFORM_JAVA_TRAINING"] = "1"  # the JVM must outlive its parent by the seconds that writing takes
    os.environ.pop("PLATFORM_JVM_ARCHIVE", None)
    context = Context(0, 0, "", "", path.parent)
    jvm = gateway.start(context.memory_mb, [f"-XX:ArchiveClassesAtExit={path}"])
    session = spark.session("archive", context, jvm)
    session.dataSource.register(Ticking)
    query = spark.write_nowhere(session.readStream.format("ticking").load(), "archive")
    until = time.monotonic() + _LIMIT_S
    while not _ran(query, batches=10) and time.monotonic() < until:
        time.sleep(0.1)
    query.stop()
    session.stop()
    assert jvm.process.stdin is not None
    jvm.process.stdin.close()
    jvm.process.wait(_LIMIT_S)


def _ran(query: StreamingQuery, batches: int) -> bool:
    told = query.lastProgress
    return told is not None and told["batchId"] >= batches


if __name__ == "__main__":
    make(Path(sys.argv[1]))
