"""The JVM starts as Spark's own launcher would start it."""

from __future__ import annotations

import os
import subprocess

import pytest

from processors import gateway


def test_the_command_is_that_of_sparks_launcher() -> None:
    home = gateway.spark_home()
    done = subprocess.run(
        [gateway.java(), "-cp", f"{home}/jars/*", "org.apache.spark.launcher.Main",
         "org.apache.spark.deploy.SparkSubmit", "--conf", "spark.driver.memory=512m", "pyspark-shell"],
        capture_output=True,
        check=True,
        env={**os.environ, "SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.13"},
    )  # fmt: skip
    told = [part.decode() for part in done.stdout.split(b"\0") if part.strip()]
    wanted = told[told.index("-cp") + 2 : told.index("org.apache.spark.deploy.SparkSubmit")]
    ours = [option for option in gateway.command(512) if option not in gateway.SMALL_JVM]
    assert ours == wanted
    classes, theirs = (path.split(os.pathsep) for path in (gateway.class_path(mllib=True), told[told.index("-cp") + 1]))
    assert [classes[0].rstrip("/"), classes[1]] == [theirs[0].rstrip("/"), theirs[1]]
    assert theirs[2:] == [f"{home}/jars/*"] and set(classes[1:]) == {
        str(path) for path in (home / "jars").glob("*.jar")
    }
    quick = gateway.class_path(mllib=False)
    assert os.pathsep.join(classes).startswith(quick) and "spark-mllib_" not in quick


def test_a_jvm_that_ends_at_once_is_told_of() -> None:
    jvm = gateway.start(512, ["-Xms2g"])
    with pytest.raises(gateway.JvmDidNotStart, match="exit code 1"):
        gateway.hand_over(jvm)
