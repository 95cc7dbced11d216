"""The only place where a Spark session is made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import structlog
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from processors import gateway, scratch
from processors.contract import Context
from processors.inbox import Inbox

log = structlog.get_logger()

# One thin micro-batch per snapshot: docs/decisions/0001-thin-micro-batches.md has the measurements.
_THIN_BATCHES = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    "spark.sql.streaming.pollingDelay": "1ms",
    "spark.sql.streaming.stopTimeout": "800ms",
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    ),
    "spark.sql.streaming.numRecentProgressUpdates": "2",
    "spark.sql.streaming.minBatchesToRetain": "2",
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.locality.wait": "0",
    "spark.python.daemon.module": "processors.worker_daemon",
    "spark.python.worker.reuse": "true",
    "spark.python.unix.domain.socket.enabled": "true",
}
SMALL_DRIVER = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.ui.retainedExecutions": "2",
    "spark.sql.ui.explainMode": "simple",
    "spark.ui.liveUpdate.period": "-1",
    "spark.ui.retainedJobs": "2",
    "spark.ui.retainedStages": "2",
    "spark.ui.retainedTasks": "10",
    "spark.cleaner.periodicGC.interval": "10min",
    "spark.log.level": "WARN",
}


_SOCKET_DIR_LENGTH = 60  # a socket's path has 104 bytes at most on macOS, of which its name takes 42

# How Spark says that a Python process of its own is gone.
_KILLED = ("Python worker exited unexpectedly", "PYTHON_WORKER_EXITED", "Python worker failed to connect back")


def session(name: str, context: Context, jvm: gateway.Jvm | None = None) -> SparkSession:
    """Return the runner's Spark session, made on first use. Call it on the thread that lives as long as the runner:
    the JVM ends with the thread that started it. ``jvm`` is one that was started for it before.

    ``SPARK_MASTER`` chooses the master (``local[2]`` by default). Settings show in ``ps``: none may hold a secret.
    """
    builder = SparkSession.builder.appName(f"{name} task {context.task}.{context.attempt}").master(gateway.master())
    settings = {**SMALL_DRIVER, **_THIN_BATCHES}
    memory = str(scratch.in_memory())
    settings["spark.local.dir"] = settings["spark.sql.warehouse.dir"] = memory
    if not gateway.is_local():
        _ask_spark_to_launch(settings, context)
    else:
        if len(memory) <= _SOCKET_DIR_LENGTH:
            settings["spark.python.unix.domain.socket.dir"] = memory  # else each killed run leaves some behind
        if SparkContext._gateway is None:
            jvm = jvm or gateway.start(context.memory_mb, mllib=True)
            gateway.hand_over(jvm)
    for key, value in settings.items():
        builder = builder.config(key, value)
    made = builder.getOrCreate()
    if jvm is not None:
        SparkContext._gateway.proc = jvm.process  # type: ignore[union-attr]
    return made


def _ask_spark_to_launch(settings: dict[str, str], context: Context) -> None:
    """A cluster's driver is started by spark-submit, which knows what each kind of cluster needs."""
    gateway.choose_python()
    settings["spark.driver.memory"] = f"{context.memory_mb}m"
    settings["spark.driver.extraJavaOptions"] = " ".join(
        [*gateway.SMALL_JVM, gateway.temporary_option(), *gateway.archive_option()]
    )
    for name in ("PYTHONPATH", "PLATFORM_PYTHON", "PLATFORM_PYTHONPATH"):
        settings[f"spark.executorEnv.{name}"] = os.environ[name]
    for key in ("spark.driver.bindAddress", "spark.driver.host"):
        settings.pop(key)  # executors on other machines call back: let Spark find the address


def warm_workers(session: SparkSession, class_path: str, count: int) -> None:
    """Start so many Python workers and let each import the processor, by a query of no consequence."""

    def import_it(batches: Iterator[Any]) -> Iterator[Any]:
        from processors.loading import load

        load(class_path)
        yield from batches

    try:
        frame = session.range(0, count, 1, count).mapInArrow(import_it, "id long")
        frame.write.format("noop").mode("overwrite").save()
    except Exception as error:  # the first snapshot will tell what is wrong, to those who can act on it
        log.warning("workers not warmed", error=str(error)[:200])


def write_nowhere(frame: DataFrame, name: str) -> StreamingQuery:
    """Start a query whose rows go nowhere, one batch as soon as the one before is done.

    Recovery rests on the tasks' own checkpoints; Spark's is new for each query, in memory where there is room for it,
    and written as rarely as can be: each of its files would cost a forked chmod.
    """
    writer = frame.writeStream.format("noop").queryName(name)
    for key, value in {
        "checkpointLocation": f"file://{scratch.in_memory()}/{name}",
        "asyncProgressTrackingEnabled": "true",
        "_asyncProgressTrackingOverrideSinkSupportCheck": "true",
        "asyncProgressTrackingCheckpointIntervalMs": str(24 * 3600 * 1000),
    }.items():
        writer = writer.option(key, value)
    return writer.start()


def inbox(session: SparkSession) -> Inbox:
    """Return where executors send what they have for the driver: a file here, a port where they are elsewhere."""
    if gateway.is_local():
        return Inbox(scratch.in_memory())
    return Inbox(None, session.conf.get("spark.driver.host") or "")


class WorkerDied(Exception):
    """A Python process of Spark was killed: no error of the task, which can go on with a new attempt."""


def check_workers(text: str) -> None:
    """Raise WorkerDied if that is what Spark's error tells of."""
    if any(sign in text for sign in _KILLED):
        raise WorkerDied("a Python worker of Spark died")


def heap_mb() -> float:
    """Return how much of the JVM's heap is in use."""
    assert SparkContext._jvm is not None
    runtime = SparkContext._jvm.java.lang.Runtime.getRuntime()
    return round((runtime.totalMemory() - runtime.freeMemory()) / 2**20, 1)


class JvmDied(Exception):
    """The JVM is gone; whatever failed then failed because of it."""


def check_jvm(cause: BaseException) -> None:
    """Raise JvmDied from ``cause`` if the JVM has died."""
    gateway = SparkContext._gateway
    process = getattr(gateway, "proc", None)
    try:
        code = process.wait(0.5) if process else None
    except subprocess.TimeoutExpired:
        return
    if code is not None:
        raise JvmDied(f"the JVM died (exit code {code})") from cause
