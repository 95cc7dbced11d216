"""Starts Spark's JVM as Spark's own launcher would, but first of all: standard library only.

A runner calls ``start`` before it imports anything heavy, so that Python's imports and the JVM's start share the time;
``hand_over`` then tells pyspark where the JVM listens. What this leaves out of pyspark's way (two shell scripts, a JVM
that computes the command line, a look ten times a second whether the other JVM is there) took half a second.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from processors import scratch
from processors.environment import COMPUTING

ROOT = Path(__file__).resolve().parent.parent
_MAIN = "org.apache.spark.api.python.PythonGatewayServer"
_LOOK_EVERY_S = 0.01

# Of org.apache.spark.launcher.JavaModuleOptions; a test compares the command with that of Spark's launcher.
_OPENED = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)
MODULE_OPTIONS = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    "--add-modules=jdk.incubator.vector",
    *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled",
    "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    "-Dderby.connection.requireAuthentication=false",
)
# A small, short-lived heap, and no second compiler: on two cores it would take its time from the batches.
SMALL_JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss2m",
    "-XX:-UsePerfData",
    f"-Dlog4j2.configurationFile={ROOT}/processors/jvm/log4j2.properties",
)


class JvmDidNotStart(Exception):
    """The JVM ended before it told where it listens; the log above has its own words."""


@dataclass(frozen=True)
class Jvm:
    """A JVM on its way up; ``told`` is where it will write its port and secret."""

    process: subprocess.Popen[bytes]
    told: Path


def start(memory_mb: int, more: Sequence[str] = (), *, mllib: bool = False) -> Jvm:
    """Start the JVM and return at once. Call it on the thread that lives as long as the JVM is to.

    With MLlib on its class path a session costs twice the processor time (docs/decisions/0001).
    """
    choose_python()
    told = Path(tempfile.mkdtemp(prefix="jvm-", dir=scratch.on_disk())) / "connection"
    environment = {
        **{name: value for name, value in os.environ.items() if name not in COMPUTING},
        "PLATFORM_MMAP_THRESHOLD": COMPUTING["MALLOC_MMAP_THRESHOLD_"],
        "PLATFORM_TRIM_THRESHOLD": COMPUTING["MALLOC_TRIM_THRESHOLD_"],
        "CLASSPATH": class_path(mllib=mllib),
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONNECT_MODE": "0",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONHASHSEED": "0",
        "_PYSPARK_DRIVER_CONN_INFO_PATH": str(told),
    }
    process = subprocess.Popen(
        [java(), *command(memory_mb, [temporary_option(), *archive_option(), *more]), _MAIN],
        stdin=subprocess.PIPE,  # the JVM ends when it closes
        env=environment,
        preexec_fn=_ignore_interrupts,
    )
    return Jvm(process, told)


def hand_over(jvm: Jvm) -> None:
    """Wait until the JVM listens, and let pyspark use it for its session."""
    while not jvm.told.is_file():
        if jvm.process.poll() is not None:
            raise JvmDidNotStart(f"Java ended with exit code {jvm.process.returncode} while it started")
        time.sleep(_LOOK_EVERY_S)
    content = jvm.told.read_bytes()
    port, length = struct.unpack_from(">ii", content)
    os.environ["PYSPARK_GATEWAY_PORT"] = str(port)
    os.environ["PYSPARK_GATEWAY_SECRET"] = content[8 : 8 + length].decode()
    jvm.told.unlink()
    jvm.told.parent.rmdir()


def command(memory_mb: int, more: Sequence[str] = ()) -> list[str]:
    """Return the arguments of java up to the class, but for the class path."""
    return [f"-Xmx{memory_mb}m", *SMALL_JVM, *more, *MODULE_OPTIONS]


def class_path(*, mllib: bool) -> str:
    """Return Spark's classes, MLlib at the end: a class archive serves whatever begins with its own class path."""
    jars = sorted((spark_home() / "jars").glob("*.jar"), key=_place)
    chosen = [jar for jar in jars if mllib or not _is_mllib(jar)]
    return os.pathsep.join(map(str, [spark_home() / "conf", *chosen]))


def _place(jar: Path) -> tuple[bool, bool, str]:
    return not jar.name.startswith("slf4j-api-"), _is_mllib(jar), jar.name


def _is_mllib(jar: Path) -> bool:
    return jar.name.startswith("spark-mllib_")


def archive_option() -> list[str]:
    """Return what lets a JVM start from the class archive, if there is one."""
    archive = os.environ.get("PLATFORM_JVM_ARCHIVE", "")
    return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"] if os.path.isfile(archive) else []


def temporary_option() -> str:
    """Return what puts the JVM's temporary files where they go with the process: a killed one leaves them behind."""
    return f"-Djava.io.tmpdir={scratch.on_disk()}"


def master() -> str:
    """Return the Spark master by ``SPARK_MASTER``: this machine's cores unless told otherwise."""
    return os.environ.get("SPARK_MASTER", "local[2]")


def is_local() -> bool:
    """Say whether Spark runs in a JVM of ours alone, which we then start ourselves."""
    return master().startswith("local")


def spark_home() -> Path:
    """Return where pyspark is installed, without importing it."""
    found = find_spec("pyspark")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def java() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def choose_python() -> None:
    """Let Spark's Python processes be this interpreter and import the project's own modules, and pyspark as
    installed (processors/jvm/bin/python): out of Spark's zip a process takes 2 s and more to start, much more on a busy
    machine, and after 10 s Spark takes it for dead.

    The JVM takes the driver's Python for one thing only: to look among the installed packages for data sources, two
    seconds for nothing. Where there is no such program it does not look.
    """
    os.environ["PLATFORM_PYTHON"] = sys.executable
    os.environ["PYSPARK_DRIVER_PYTHON"] = "no-packaged-data-sources"
    os.environ["PYSPARK_PYTHON"] = str(ROOT / "processors" / "jvm" / "bin" / "python")
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = os.pathsep.join([str(ROOT), *(path for path in given if path != str(ROOT))])
    os.environ["PYTHONPATH"] = os.environ["PLATFORM_PYTHONPATH"] = path


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runner to act on
