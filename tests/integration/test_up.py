"""bin/up as people run it: proves itself, goes on after a kill, leaves nothing behind, refuses in one sentence."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from platform_process import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
UP = str(ROOT / "bin" / "up")
GIVEN = ("REDIS_URL", "DATABASE_URL", "MONGODB_URL", "STATE_DIR", "PLATFORM_STATE")


def marked(below: Path) -> list[str]:
    """Return the command lines of the processes whose state directory lies below a path."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PLATFORM_STATE", "").startswith(str(below)):
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


def attempts(state: Path) -> set[str]:
    """Return the attempts that the runners on a state directory host."""
    environments = (process.info["environ"] or {} for process in psutil.process_iter(["environ"]))
    mine = (each for each in environments if each.get("PLATFORM_STATE") == str(state))
    return {each["PLATFORM_TASK"].rpartition(".")[2] for each in mine if "PLATFORM_TASK" in each}


def environment(**more: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in GIVEN}, **more}


class Up:
    """One bin/up on a state directory; starts again with ``begin`` or ``start``."""

    def __init__(self, state: Path) -> None:
        self.state, self.output = state.resolve(), state.parent / "output"
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [UP, "--state", str(self.state), "--port", str(free_port())],
                env=environment(),
                cwd=self.state.parent,  # not where the project lies
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def start(self) -> str:
        """Start it, wait for its welcome, return what it has said."""
        self.begin()
        wait_for("the welcome", lambda: "The platform is at" in self.said() or self.process.poll() is not None, 100)
        assert self.process.poll() is None, self.said()
        return self.said()

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def end(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    found = Up(tmp_path / "state")
    yield found
    if found.process and found.process.poll() is None:
        found.end(signal.SIGKILL)


def refused(*arguments: str, **variables: str) -> str:
    """Run bin/up to its end and return the one sentence that it ends with."""
    done = subprocess.run([UP, *arguments], env=environment(**variables), capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


# ---- the whole platform


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_smoke_proves_a_prediction_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [UP, "--smoke"], env=environment(TMPDIR=str(tmp_path)), capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"prediction of .* attempt 1, for \d+ clusters came through the websocket", done.stdout)
    assert re.search(r"first prediction +\d+\.\d", done.stdout)
    assert marked(tmp_path) == []
    assert not list(tmp_path.glob("platform-smoke-*"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_goes_on_after_a_kill_and_an_interrupt_with_nothing_left_behind(up: Up) -> None:
    first = up.start()
    assert "shown only this once" in first
    assert len(marked(up.state)) > 5  # redis, web, worker, janitor, two runners, a JVM …
    up.end(signal.SIGKILL)
    wait_for("every process is gone", lambda: not marked(up.state), 5)

    second = up.start()
    assert "attempt 2" in second and "shown only this once" not in second
    up.end(signal.SIGINT)
    assert marked(up.state) == []

    up.begin()
    wait_for("attempt 3", lambda: "3" in attempts(up.state))
    up.end(signal.SIGTERM)  # in the midst of its start
    assert marked(up.state) == []


# ---- what can't work


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("--state", str(tmp_path), "--port", str(port))
    assert said == f"bin/up: Port {port} can't be used (Address already in use): give another one with --port."


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    said = refused("--state", str(tmp_path), "--replay", str(tmp_path / "none.csv"))
    assert said.endswith("none.csv can't be read (No such file or directory): give a CSV or Parquet file.")


def test_a_file_that_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "letter.csv"
    path.write_text("Dear all,\nno prices here.\n")
    said = refused("--state", str(tmp_path / "state"), "--port", str(free_port()), "--replay", str(path))
    assert said.startswith(f"bin/up: {path}") and "expected" in said
    assert marked(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "why"),
    [("nonsense", "must specify one of the following schemes"), ("redis://127.0.0.1:1/0", "does not answer")],
)
def test_a_redis_that_is_none(tmp_path: Path, url: str, why: str) -> None:
    said = refused("--state", str(tmp_path / "state"), "--port", str(free_port()), "--no-demo", REDIS_URL=url)
    assert "REDIS_URL" in said and why in said


def test_a_state_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused("--state", str(tmp_path / "file"), "--port", str(free_port()))
    assert said.endswith("give another with --state.")


@pytest.mark.parametrize(
    "arguments", [("--every", "2"), ("--zone", "UTC"), ("--columns", "price=p"), ("--pace", "2"), ("--simulate", "1")]
)
def test_options_that_do_not_fit(arguments: tuple[str, ...]) -> None:
    assert refused(*arguments).startswith(f"bin/up: {arguments[0]}")
