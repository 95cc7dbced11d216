"""Everything that can die, freeze, fill up or go away, done to the real thing while a market is followed.

One platform, one feed and one model on it live through all of it. After each fault the state was true within 5 s, no
process is left behind, no attempt ran twice, and no snapshot lacks its result, or the gap is told.
"""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from platform_process import ROOT, Platform, running, wait_for
from test_life import simulate

from processors.bus import Bus
from tasks_app.results import Item

pytestmark = pytest.mark.timeout(300)


@dataclass
class Life:
    """A simulated feed and a model that follows it."""

    platform: Platform
    feed: int
    task: int

    def now(self, task: int | None = None) -> dict[str, Any]:
        return self.platform.task(task or self.task)

    def index(self) -> int:
        item = self.platform.results.latest(self.task)
        return item.numbers["index"] if item else -1

    def goes_on(self, more: int = 3, timeout_s: float = 90.0) -> None:
        """Wait for more results; both tasks run."""
        wanted = self.index() + more
        wait_for(f"result {wanted}", lambda: self.index() >= wanted, timeout_s)
        assert [self.now(each)["status"] for each in (self.feed, self.task)] == ["Running"] * 2

    def nothing_is_left_out(self, since: int) -> None:
        found = [item.numbers["index"] for item in self.platform.items(self.task)]
        found = [index for index in found if index >= since]
        assert found == list(range(since, found[-1] + 1)), "each snapshot has its result, once"

    def processes(self, task: int, attempt: int) -> list[psutil.Process]:
        return self.platform.members(f"{task}.{attempt}")

    def ended(self, task: int, attempt: int) -> dict[str, Any] | None:
        """Return the event that tells an attempt's end."""
        ends = (e for e in self.platform.events(task) if e["attempt"] == attempt and e["to"] == "Terminated")
        return next(ends, None)

    def is_told_and_gone_on_with(self, task: int, attempt: int) -> str:
        """Wait until an attempt's end is told and its processes are gone, then until the next runs; return why."""
        end = wait_for(f"the end of attempt {attempt} of task {task} told", lambda: self.ended(task, attempt), 5)
        wait_for("its processes gone", lambda: not self.processes(task, attempt), 5)
        self.platform.reaches(task, "Running", attempt=attempt + 1)
        moves = [(e["attempt"], e["to"]) for e in self.platform.events(task) if e["kind"] == "move"]
        assert len(moves) == len(set(moves)), "no move was made twice"
        return end["reason"]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("faults"), RESUME_LIMIT="100") as found:
        yield found


@pytest.fixture(scope="module")
def begun(platform: Platform) -> Life:
    feed = simulate(platform, "market")
    task = platform.create("cluster_regression", "market")
    platform.predicts(task, above=5)
    return Life(platform, feed, task)


@pytest.fixture
def life(begun: Life) -> Life:
    for each in (begun.feed, begun.task):
        begun.platform.reaches(each, "Running", attempt=begun.now(each)["attempt"])
    begun.goes_on(2)
    return begun


def daemon(life: Life, attempt: int) -> psutil.Process:
    return next(each for each in life.processes(life.task, attempt) if "processors.worker_daemon" in each.cmdline())


# ---- the runner and what belongs to it


@pytest.mark.parametrize(
    ("victim", "how", "reason"),
    [
        ("runner", signal.SIGKILL, "killed by SIGKILL"),
        ("runner", signal.SIGSTOP, "did not answer"),
        ("jvm", signal.SIGKILL, "the JVM died"),
    ],
)
def test_a_part_of_an_attempt_dies_or_freezes(life: Life, victim: str, how: signal.Signals, reason: str) -> None:
    since, attempt = life.index(), life.now()["attempt"]
    getattr(life.platform, victim)(life.task).send_signal(how)
    assert reason in life.is_told_and_gone_on_with(life.task, attempt)
    life.goes_on()
    life.nothing_is_left_out(since)


def test_a_feed_that_dies_goes_on_without_a_gap(life: Life) -> None:
    since, attempt = life.index(), life.now(life.feed)["attempt"]
    life.platform.runner(life.feed).kill()
    life.is_told_and_gone_on_with(life.feed, attempt)
    life.goes_on()
    life.nothing_is_left_out(since)


def test_sparks_python_daemon_and_its_workers_die(life: Life) -> None:
    since, attempt = life.index(), life.now()["attempt"]
    process = daemon(life, attempt)
    for each in [process, *process.children(recursive=True)]:
        each.kill()
    assert life.is_told_and_gone_on_with(life.task, attempt) == "a Python worker of Spark died"
    life.goes_on()
    life.nothing_is_left_out(since)


def test_a_query_that_stands_still_is_shown_as_stalled_and_lives(life: Life) -> None:
    since, attempt = life.index(), life.now()["attempt"]
    jvm = life.platform.jvm(life.task)
    jvm.suspend()
    try:
        wait_for("stalled", lambda: life.now()["stalled"], 12)
        assert life.now()["status"] == "Running" and life.now()["progress"]["behind"] > 3
    finally:
        jvm.resume()
    wait_for("no longer stalled", lambda: not life.now()["stalled"], 10)
    life.goes_on()
    assert life.now()["attempt"] == attempt
    life.nothing_is_left_out(since)


# ---- the platform's own processes


def test_a_killed_worker_leaves_no_orphan_not_even_a_frozen_one(life: Life) -> None:
    since = life.index()
    attempts = {task: life.now(task)["attempt"] for task in (life.feed, life.task)}
    life.platform.runner(life.task).suspend()  # it will not read the end of its pipe
    life.platform.kill("worker")
    life.platform.start_worker()
    for task, attempt in attempts.items():
        assert life.is_told_and_gone_on_with(task, attempt) == "its worker died"
    life.goes_on()
    life.nothing_is_left_out(since)


def test_a_frozen_worker_is_no_second_host_when_it_comes_back(life: Life) -> None:
    since = life.index()
    attempts = {task: life.now(task)["attempt"] for task in (life.feed, life.task)}
    worker = psutil.Process(life.platform.processes["worker"].pid)
    worker.suspend()
    try:
        for task, attempt in attempts.items():
            wait_for("buried", lambda task=task, attempt=attempt: life.ended(task, attempt), 5)
            wait_for("its runner gone", lambda task=task, attempt=attempt: not life.processes(task, attempt), 1)
    finally:
        worker.resume()
    for task, attempt in attempts.items():
        life.is_told_and_gone_on_with(task, attempt)
    life.goes_on()
    life.nothing_is_left_out(since)


def test_a_worker_that_is_shut_down_says_so_and_the_next_goes_on_with_what_redis_lost_too(life: Life) -> None:
    since = life.index()
    attempts = {task: life.now(task)["attempt"] for task in (life.feed, life.task)}
    life.platform.kill("worker", signal.SIGTERM)
    lost = simulate(life.platform, "lost")
    assert life.platform.results.client.delete("celery:feed") == 1
    life.platform.start_worker()
    for task, attempt in attempts.items():
        assert life.is_told_and_gone_on_with(task, attempt) == "its worker was shut down"
    life.platform.reaches(lost, "Running")
    life.platform.ask(lost, "stop")
    life.goes_on()
    life.nothing_is_left_out(since)


def test_without_a_janitor_tasks_go_on_and_a_new_one_takes_up_what_was_lost(life: Life) -> None:
    since, attempt = life.index(), life.now(life.feed)["attempt"]
    life.platform.kill("janitor")
    life.goes_on()
    life.platform.runner(life.feed).kill()
    wait_for("the end told", lambda: life.now(life.feed)["status"] == "Terminated", 5)
    life.platform.start_janitor()
    life.is_told_and_gone_on_with(life.feed, attempt)
    life.goes_on()
    life.nothing_is_left_out(since)


def test_two_janitors_do_one_janitors_work(life: Life) -> None:
    since, attempt = life.index(), life.now(life.feed)["attempt"]
    life.platform.start_janitor("janitor 2")
    try:
        life.platform.runner(life.feed).kill()
        life.is_told_and_gone_on_with(life.feed, attempt)
        life.goes_on()
    finally:
        life.platform.kill("janitor 2")
    assert life.now(life.feed)["attempt"] == attempt + 1
    life.nothing_is_left_out(since)


def test_a_killed_web_process_stops_nothing(life: Life) -> None:
    since, attempt = life.index(), life.now()["attempt"]
    life.platform.kill("web")
    wanted = since + 4
    wait_for("results without the web", lambda: life.index() >= wanted, 30)
    life.platform.start_web()
    assert life.now()["attempt"] == attempt
    life.nothing_is_left_out(since)


# ---- Redis


@pytest.mark.parametrize("seconds", [3, 30])
def test_redis_away_for_a_while_loses_nothing(life: Life, seconds: int) -> None:
    since, attempt = life.index(), life.now()["attempt"]
    life.platform.kill("redis", signal.SIGTERM)
    time.sleep(seconds)  # the outage itself
    life.platform.start_redis()
    life.goes_on(more=3 + seconds)
    assert life.now()["attempt"] == attempt
    life.nothing_is_left_out(since)


def counted(item: Item) -> int:
    return item.numbers["counts"]["scored"]


def test_redis_restarted_empty_costs_no_learning_and_the_gap_is_told(life: Life) -> None:
    before, attempt = life.platform.predicts(life.task).numbers, life.now()["attempt"]
    missed = life.now()["progress"].get("missed", 0)  # it may not have told yet
    life.platform.kill("redis")
    shutil.rmtree(life.platform.state / "redis")
    life.platform.start_redis()
    # A forecast that was open over the gap has no truth; the next ones are scored on top of what had been.
    scored = before["counts"]["scored"]
    wait_for("scores", lambda: (item := life.platform.results.latest(life.task)) and scored < counted(item))
    assert life.now()["attempt"] == attempt and life.now()["status"] == "Running"
    found = [item.numbers["index"] for item in life.platform.items(life.task)]
    gaps = [newer for older, newer in pairwise(found) if newer != older + 1]
    assert len(gaps) <= 1, "one gap, behind a result that was on its way when Redis went"
    first = gaps[0] if gaps else found[0]
    life.nothing_is_left_out(first)
    lost = life.now()["progress"]["missed"] - missed
    assert 0 <= lost <= first - before["index"], "what could not be read any more is counted"


def test_a_message_delivered_twice_starts_one_attempt(life: Life) -> None:
    attempt = life.now()["attempt"]
    again = (
        "import django; django.setup(); from tasks_app import jobs; from tasks_app.models import Task;"
        f"[jobs.send(Task.objects.get(pk={life.task})) for _ in range(3)]"
    )
    subprocess.run([sys.executable, "-c", again], env=life.platform.env, cwd=ROOT, check=True)
    wait_for("the messages taken", lambda: not life.platform.results.queued(["stream"]), 10)
    life.goes_on()
    assert life.now()["attempt"] == attempt and len({p.pid for p in life.platform.members(f"{life.task}.")}) > 1
    assert [p for p in life.platform.members(f"{life.task}.") if "tasks_app.runner" in p.cmdline()] == [
        life.platform.runner(life.task)
    ]


# ---- database, disk, clock


def test_a_database_locked_for_ten_seconds_holds_up_nothing_but_itself(life: Life) -> None:
    since, attempt = life.index(), life.now()["attempt"]
    with locked(life.platform.state / "platform.sqlite3"):
        until = time.monotonic() + 10
        wait_for("results go on", lambda: life.index() > since + 3, 8)
        life.platform.runner(life.feed).kill()
        time.sleep(max(0.0, until - time.monotonic()))  # the lock itself
    life.is_told_and_gone_on_with(life.feed, life.now(life.feed)["attempt"])
    life.goes_on()
    assert life.now()["attempt"] == attempt
    life.nothing_is_left_out(since)


class locked:
    """Hold a write lock on a SQLite file, from a process of its own."""

    def __init__(self, path: Path):
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30);"
            "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read(); c.execute('ROLLBACK')"
        )
        command = [sys.executable, "-c", code, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> None:
        assert self.process.stdout and self.process.stdout.readline() == "held\n"

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=10)


def test_a_full_disk_is_told_and_stops_no_task(life: Life) -> None:
    since, attempt = life.index(), life.now()["attempt"]
    runner = life.platform.runner(life.task)
    checkpoint = life.platform.state / "tasks" / str(life.task) / "state.npz"
    _, most = resource.prlimit(runner.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (0, most))
    wait_for("told", lambda: life.now()["progress"].get("unsaved"), 20)
    life.goes_on()
    resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (most, most))
    held = checkpoint.stat().st_mtime_ns
    wait_for("a checkpoint again", lambda: checkpoint.stat().st_mtime_ns > held, 20)
    wait_for("no longer told", lambda: not life.now()["progress"]["unsaved"], 5)
    assert life.now()["attempt"] == attempt
    life.nothing_is_left_out(since)


def test_a_clock_set_back_by_an_hour_leaves_numbers_rising(life: Life) -> None:
    """What an hour-fast clock leaves behind is put on the bus; then the feed goes on by the right one."""
    life.platform.ask(life.feed, "stop")
    life.platform.reaches(life.feed, "Stopped", 5)
    bus = Bus(life.platform.results.client, "market", clock=lambda: time.time_ns() // 1_000_000 + 3_600_000)
    last = bus.last()
    assert last is not None
    slices = [part for number in range(last.slices) for part in bus.read(number, [last.seq]) if part is not None]
    ahead = bus.append(replace(last, index=last.index + 1, time=last.time + last.interval_ms), slices)
    assert ahead.seq > last.seq + 3_000_000
    life.platform.ask(life.feed, "retry")
    wait_for("results go on", lambda: life.index() > ahead.index + 4, 60)
    ids = [int(item.id.partition("-")[0]) for item in life.platform.items(life.task)]
    assert ids == sorted(ids) and ids[-1] > ahead.seq
    life.nothing_is_left_out(ahead.index - 1)
    assert life.platform.results.latest(life.task).meta["lag_ms"] >= 0  # type: ignore[union-attr]
