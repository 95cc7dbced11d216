"""The only place where a Spark session is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

from processors.contract import Context
from processors.scratch import scratch_path

ROOT = Path(__file__).resolve().parent.parent

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
_SMALL_DRIVER = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss2m -XX:-UsePerfData",
    "spark.sql.ui.retainedExecutions": "2",
    "spark.ui.retainedJobs": "2",
    "spark.ui.retainedStages": "2",
    "spark.ui.retainedTasks": "10",
    "spark.cleaner.periodicGC.interval": "10min",
    "spark.log.level": "WARN",
}


def session(name: str, context: Context) -> SparkSession:
    """Return the runner's Spark session, made on first use. Call it on the thread that lives as long as the runner:
    the JVM ends with the thread that started it.

    ``SPARK_MASTER`` chooses the master (``local[2]`` by default). Settings show in ``ps``: none may hold a secret.
    """
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    # Spark's Python workers import the project's own modules, wherever the runner was started from.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    )
    master = os.environ.get("SPARK_MASTER", "local[2]")
    builder = SparkSession.builder.appName(f"{name} task {context.task}.{context.attempt}").master(master)
    settings = {**_SMALL_DRIVER, **_THIN_BATCHES, "spark.driver.memory": f"{context.memory_mb}m"}
    settings["spark.local.dir"] = settings["spark.sql.warehouse.dir"] = scratch_dir()
    if not master.startswith("local"):
        # Executors on other machines call back: let Spark find the address.
        for key in ("spark.driver.bindAddress", "spark.driver.host"):
            settings.pop(key)
        settings["spark.executorEnv.PYTHONPATH"] = os.environ["PYTHONPATH"]
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


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


def scratch_dir() -> str:
    """Return a directory of this process for what needs not survive it; the supervisor removes it."""
    path = scratch_path(os.getpid())
    path.mkdir(parents=True, exist_ok=True)
    return str(path)
