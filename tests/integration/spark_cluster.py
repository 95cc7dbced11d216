"""A standalone Spark cluster for a test, from pyspark's own jars."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
from platform_process import free_port, wait_for

from processors import gateway


@contextlib.contextmanager
def running(directory: Path) -> Iterator[str]:
    """Start a master and two workers; yield the master's URL."""
    port, ui = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    started = [
        _start("master.Master", directory, "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(ui)),
        *(
            _start(
                "worker.Worker", directory, "--host", "127.0.0.1", "--cores", "1", "--memory", "1g",
                "--webui-port", "0", "--work-dir", str(directory / f"work-{number}"), url,
            )
            for number in (1, 2)
        ),
    ]  # fmt: skip
    try:
        wait_for("two workers", lambda: _alive(ui) == 2, 60)
        yield url
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(20)


def _start(role: str, directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    home = gateway.spark_home()
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
    environment["JAVA_TOOL_OPTIONS"] = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # also of the executors
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}", *arguments]
    with (directory / "cluster.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, cwd=directory, stdout=log, stderr=log)


def _alive(ui: int) -> int:
    try:
        return int(httpx.get(f"http://127.0.0.1:{ui}/json/").json()["aliveworkers"])
    except httpx.TransportError:
        return 0
