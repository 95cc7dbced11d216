"""The same numbers on a Spark cluster of its own master and workers as on one machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from platform_process import Platform, free_port, wait_for
from test_life import SPEC, numbers, recording

from processors import gateway

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """Start a standalone master and two workers from pyspark's own jars; yield the master's URL."""
    port, ui = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    started = [
        _start("master.Master", tmp_path, "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(ui)),
        *(
            _start(
                "worker.Worker", tmp_path, "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0",
                "--work-dir", str(tmp_path / f"work-{number}"), url,
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
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}", *arguments]
    with (directory / "cluster.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, cwd=directory, stdout=log, stderr=log)


def _alive(ui: int) -> int:
    try:
        return int(httpx.get(f"http://127.0.0.1:{ui}/json/").json()["aliveworkers"])
    except httpx.TransportError:
        return 0


def test_a_cluster_gives_the_numbers_of_one_machine(own_platform: Platform, master: str, tmp_path: Path) -> None:
    platform, path = own_platform, recording(tmp_path / "recording.parquet", minutes=4)
    found = {}
    for name in ("alone", "cluster"):
        if name == "cluster":
            platform.kill("worker")
            platform.env["SPARK_MASTER"] = master
            platform.start_worker()
        platform.make_feed(name, "replay", {"path": str(path), "pace": 0.0}, **SPEC)
        task = platform.create("cluster_regression", name)
        platform.reaches(task, "Running", 120)
        feed = platform.create("replay", name, path=str(path), pace=0.0)
        platform.reaches(feed, "Finished", 120)
        last = platform.task(feed)["progress"]["snapshots"] - 1
        platform.predicts(task, above=last - 1)
        found[name] = numbers(platform, task)
        platform.ask(task, "stop")
        platform.reaches(task, "Stopped", 10)
    assert len(found["cluster"]) > 70
    assert found["cluster"] == found["alone"]
