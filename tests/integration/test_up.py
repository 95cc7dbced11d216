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

from tasks_app import demo, lifecycle, registry, services
from tasks_app.models import Feed, Task
from tasks_app.states import Ending, Status

ROOT = Path(__file__).resolve().parents[2]
UP = str(ROOT / "bin" / "up")
GIVEN = ("REDIS_URL", "DATABASE_URL", "MONGODB_URL", "STATE_DIR", "PLATFORM_STATE")


def marked(below: Path) -> list[str]:
    """Return the command lines of the processes whose state directory lies below a path."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PLATFORM_STATE", "").startswith(str(below)):
                found.append(" ".join(process.cmdline())[:100])
        except (psutil.Error, OSError):
            continue
    return found


def environment(**more: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in GIVEN}, **more}


class Up:
    """One bin/up on a state directory; starts again with ``start``."""

    def __init__(self, state: Path) -> None:
        self.state, self.output = state.resolve(), state.parent / "output"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it, wait for its welcome, return what it has said."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [UP, "--state", str(self.state), "--port", str(free_port())],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
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

    third = up.start()
    assert "attempt 3" in third
    up.end(signal.SIGTERM)
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


@pytest.mark.parametrize("arguments", [("--every", "2"), ("--zone", "UTC"), ("--simulate", "1")])
def test_options_that_do_not_fit(arguments: tuple[str, ...]) -> None:
    assert refused(*arguments).startswith(f"bin/up: {arguments[0]}")


# ---- the demo's rows


@pytest.fixture
def processors(db: None) -> None:
    registry.reload()


def ended(task: Task, to: Status, ending: Ending) -> None:
    task.refresh_from_db()
    for status, facts in ((Status.STARTED, {"owner": "worker:token"}), (to, {"ending": ending, "reason": "so"})):
        task = lifecycle.transition(task, status, actor="test", **facts)


@pytest.mark.usefixtures("processors")
class TestDemo:
    def test_starts_a_feed_and_a_model_once(self) -> None:
        demo.start(demo.Wish())
        said = demo.start(demo.Wish())
        assert [task.processor.name for task in Task.objects.order_by("id")] == ["replay", "cluster_regression"]
        assert all(line.endswith("goes on") for line in said)
        assert [task.processor.name for task in demo.expected_to_run()] == ["cluster_regression"]

    def test_starts_nothing_when_not_wanted(self) -> None:
        assert demo.start(demo.Wish(no_demo=True)) == []
        assert not Task.objects.exists() and not Feed.objects.exists()

    def test_leaves_what_a_user_stopped(self) -> None:
        demo.start(demo.Wish())
        for task in Task.objects.all():
            services.stop(task)
        demo.start(demo.Wish())
        assert {task.status for task in Task.objects.all()} == {Status.STOPPED}
        assert demo.expected_to_run() == []

    def test_leaves_what_was_interrupted_to_the_janitor(self) -> None:
        demo.start(demo.Wish())
        for task in Task.objects.all():
            ended(task, Status.TERMINATED, Ending.SHUTDOWN)
        demo.start(demo.Wish())
        assert {task.attempt for task in Task.objects.all()} == {1}
        assert len(demo.expected_to_run()) == 1

    def test_tries_again_what_failed(self) -> None:
        demo.start(demo.Wish())
        ended(Task.objects.get(kind="stream"), Status.TERMINATED, Ending.FAILED)
        assert "tried again" in demo.start(demo.Wish())[1]
        assert Task.objects.get(kind="stream").attempt == 2

    def test_infers_what_is_not_given_and_says_so(self) -> None:
        path = str(ROOT / "sample" / "ashare_3s_30_20211201.parquet")
        said = demo.start(demo.Wish(replay=path, interval=6))
        feed = Feed.objects.get()
        assert (feed.zone, feed.calendar, feed.interval_ms, feed.volume_unit) == (
            "Asia/Shanghai",
            "XSHG",
            6_000,
            "lots",
        )
        assert any("calendar XSHG" in line for line in said) and not any("interval_ms" in line for line in said)

    @pytest.mark.parametrize("wish", [{"zone": "Mars/Olympus"}, {"calendar": "XNONE"}])
    def test_refuses_a_zone_or_calendar_that_does_not_exist(self, wish: dict[str, str]) -> None:
        with pytest.raises(demo.Unusable, match="give"):
            demo.start(demo.Wish(replay=str(ROOT / "sample" / "ashare_3s_30_20211201.parquet"), **wish))

    def test_simulates_a_market_that_says_so(self) -> None:
        demo.start(demo.Wish(simulate=50, every=0.5))
        feed = Feed.objects.get()
        assert (feed.name, feed.simulated, feed.interval_ms) == ("simulated-50-every-0_5s", True, 500)
        assert Task.objects.get(kind="feed").params["codes"] == 50
