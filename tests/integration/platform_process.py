"""The whole platform in processes of its own, for tests that use it and kill it: nothing in it is faked."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import redis

from processors.bus import connect
from tasks_app.results import Item, Results

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bin"))

from launcher import plan  # noqa: E402
from launcher.keeper import READY_LIMIT_S  # noqa: E402

PASSWORD = "integration-test"
T = TypeVar("T")

_PREPARE = f"""
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tasks_app import registry; registry.reload()
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
users = get_user_model().objects
users.create_superuser("admin", password="{PASSWORD}")
for name, role in (("viewer", "viewer"), ("operator", "operator"), ("manager", "admin")):
    users.create_user(name, password="{PASSWORD}").groups.add(Group.objects.get(name=role))
"""
_OF_THE_DATABASE = {"DATABASE_URL", "PROCESSORS_FILE", "PROCESSOR_PACKAGES"}
_made: list[sqlite3.Connection] = []  # the database of a platform without any of these settings, once there was one
_JANITOR = "import django; django.setup(); from tasks_app import janitor; janitor.run()"


def wait_for(what: str, found: Callable[[], T], timeout_s: float = 90.0) -> T:
    """Return the first true value; fail with what was waited for. A look counts for at most a second: where the whole
    machine stood still for a while, nobody was late."""
    left, looked_at, pause = timeout_s, time.monotonic(), 0.1
    while left > 0:
        value = found()
        if value:
            return value
        time.sleep(pause)  # a look at a task costs the web process 20 ms
        pause = min(pause * 1.25, 0.5)
        now = time.monotonic()
        left, looked_at = left - min(now - looked_at, 1.0), now
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Platform:
    def __init__(self, state: Path, **settings: str):
        self.state, self.port, self._settings = state, free_port(), settings
        self.redis_url = f"unix://{state}/redis.sock"
        self.env = {
            **os.environ,
            "STATE_DIR": str(state),
            "REDIS_URL": self.redis_url,
            "DJANGO_SETTINGS_MODULE": "platform_site.settings",
            "PYTHONPATH": str(ROOT),
            "SLOTS": "8",
            **settings,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{self.port}"

    # ---- processes

    def start(self) -> Platform:
        self.start_redis()
        self._prepare()
        self.start_web()
        self.start_worker()
        self.start_janitor()
        self.http = self.client("admin")
        self.results = Results(connect(self.redis_url))
        return self

    def _prepare(self) -> None:
        """Make the database, or copy the one that was made for the first platform like this."""
        database = self.state / "platform.sqlite3"
        usual = not _OF_THE_DATABASE & self._settings.keys()
        if usual and _made:
            with contextlib.closing(sqlite3.connect(database)) as copy:
                _made[0].backup(copy)
            return
        subprocess.run([sys.executable, "-c", _PREPARE], env=self.env, cwd=ROOT, check=True)
        if usual:
            _made.append(sqlite3.connect(":memory:"))
            with contextlib.closing(sqlite3.connect(database)) as source:
                source.backup(_made[0])

    def start_redis(self) -> None:
        """Start Redis as bin/up does."""
        self._start("redis", *plan.redis_server(self.state, self.state / "redis.sock").command)
        wait_for("redis", self._redis_answers, 10)

    def start_web(self) -> None:
        self._start(
            "web", sys.executable, "-m", "uvicorn", "platform_site.asgi:application", "--port", str(self.port),
            "--ws-per-message-deflate", "false", "--lifespan", "off", "--no-access-log",
        )  # fmt: skip
        wait_for("web", self._web_answers, READY_LIMIT_S)

    def start_worker(self) -> None:
        self._start(
            "worker", sys.executable, "-m", "celery", "-A", "platform_site.celery", "worker", "-P", "threads",
            "-c", self.env["SLOTS"], "-Q", "feed,stream,batch,control", "--without-gossip", "--without-mingle",
            "--without-heartbeat",
        )  # fmt: skip

    def start_janitor(self, name: str = "janitor") -> None:
        self._start(name, sys.executable, "-c", _JANITOR)

    def _start(self, name: str, *command: str) -> None:
        with (self.state / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=self.env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, name: str, with_signal: signal.Signals = signal.SIGKILL) -> None:
        self.processes[name].send_signal(with_signal)
        self.processes[name].wait(30)

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.kill()
                process.wait(10)
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def members(self, task: str = "") -> list[psutil.Process]:
        """Return every living process that was started by this platform, or for one task of it, by environment."""
        found = []
        for process in psutil.process_iter(["status"]):
            with contextlib.suppress(psutil.Error, OSError):
                env = process.environ()
                mine = env.get("STATE_DIR") == str(self.state) and process.info["status"] != psutil.STATUS_ZOMBIE
                if mine and env.get("PLATFORM_TASK", "").startswith(task) and (not task or "PLATFORM_TASK" in env):
                    found.append(process)
        return found

    def runner(self, task: int) -> psutil.Process:
        return next(each for each in self.members(f"{task}.") if "tasks_app.runner" in each.cmdline())

    def jvm(self, task: int) -> psutil.Process:
        return next(each for each in self.members(f"{task}.") if each.name() == "java")

    def _redis_answers(self) -> bool:
        try:
            return bool(connect(self.redis_url).ping())
        except redis.RedisError:
            return False

    def _web_answers(self) -> bool:
        assert self.processes["web"].poll() is None, (self.state / "web.log").read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}/api/session").status_code == 200
        except httpx.HTTPError:
            return False

    def manage(self, *command: str) -> str:
        """Run a command of manage.py and return what it says."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command], env=self.env, cwd=ROOT, check=True, capture_output=True, text=True
        )
        return done.stdout

    # ---- what a user does

    def client(self, user: str) -> httpx.Client:
        """Return an HTTP client that is logged in as a user."""
        client = httpx.Client(base_url=self.url, timeout=20)
        client.get("/api/session")
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        answer = client.post("/api/session", json={"username": user, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        return client

    def token(self, user: str, name: str) -> str:
        """Return a new API token of a user."""
        answer = self.client(user).post("/api/tokens", json={"name": name, "days": 1})
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    def make_feed(self, name: str, processor: str, params: dict[str, Any], **spec: Any) -> None:
        answer = self.http.post("/api/feeds", json={"name": name, "processor": processor, "params": params, **spec})
        assert answer.status_code == 201, answer.text

    def create(self, processor: str, feed: str, **params: Any) -> int:
        answer = self.http.post("/api/tasks", json={"processor": processor, "feed": feed, "params": params})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def task(self, task: int) -> dict[str, Any]:
        return self.http.get(f"/api/tasks/{task}").json()

    def ask(self, task: int, action: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/api/tasks/{task}/{action}", json=body)

    def reaches(self, task: int, status: str, timeout_s: float = 90.0, attempt: int = 1) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.task(task)
            assert found["status"] == status or found["status"] != "Terminated" or found["attempt"] < attempt, found
            return found if found["status"] == status and found["attempt"] >= attempt else None

        return wait_for(f"task {task} {status}", there, timeout_s)

    def events(self, task: int) -> list[dict[str, Any]]:
        return self.http.get(f"/api/tasks/{task}/events", params={"page_size": 500}).json()["results"]

    def items(self, task: int) -> list[Item]:
        return self.results.range(task, limit=20_000)

    def predicts(self, task: int, above: int = 0, timeout_s: float = 90.0) -> Item:
        """Wait for a result with a prediction whose snapshot index is above a number."""

        def there() -> Item | None:
            item = self.results.latest(task)
            known = item and any(cluster["predicted_price"] is not None for cluster in item.numbers["clusters"])
            return item if known and item and item.numbers["index"] > above else None

        return wait_for(f"prediction of task {task}", there, timeout_s)

    def log(self, task: int) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted((self.state / "tasks" / str(task)).glob("*.log")))


@contextlib.contextmanager
def running(state: Path, **settings: str) -> Iterator[Platform]:
    platform = Platform(state, **settings)
    try:
        yield platform.start()
    finally:
        platform.close()
