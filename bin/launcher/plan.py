"""Which processes the platform has, and how to tell that each is ready."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

import redis.asyncio
from redis.exceptions import RedisError

from launcher.keeper import MARK, Program
from launcher.options import HOST, ROOT, Refused

LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes on Linux, 103 on macOS
MANAGE = [sys.executable, str(ROOT / "manage.py")]


def environment(state: Path, redis_url: str) -> dict[str, str]:
    """Return what every process of a state directory is given."""
    kept = {key: value for key, value in os.environ.items() if key != "PLATFORM_SETUP_SECONDS"}
    return {
        **kept,
        MARK: str(state),
        "STATE_DIR": str(state),
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "platform_site.settings",
        "PYTHONUNBUFFERED": "1",
    }


def socket_path(state: Path) -> Path:
    """Return where Redis listens: in the state directory, or in a private one if that path is too long."""
    path = state / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    # Not where TMPDIR points to: that may be as long.
    return Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp")) / "redis.sock"


def redis_server(state: Path, socket: Path) -> Program:
    """Return a Redis of our own: no TCP port, and what it holds survives a restart."""
    server = os.environ.get("PLATFORM_REDIS_SERVER")
    if not server:
        raise Refused("There is no Redis server to start: run bin/setup, or set REDIS_URL to a server.")
    (state / "redis").mkdir(exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(state / "redis"),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        # A rewrite forks and writes all anew: at a whole market's rate it came every 20 s, and a snapshot then took 100
        # ms longer to get in. Ticks don't compress.
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": "1gb",
        "rdbcompression": "no",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    command = [server, *(part for key, value in options.items() for part in (f"--{key}", value))]
    return Program("redis", command, ready=lambda: redis_answers(f"unix://{socket}"))


async def redis_answers(url: str) -> bool:
    """Say whether a Redis answers; raise Refused for what is no URL of one. It is not shown: it may hold a password."""
    try:
        client = redis.asyncio.Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)
    except ValueError as error:
        raise Refused(f"REDIS_URL can't be used ({error}): correct it, or unset it.") from error
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


def is_prepared(state: Path) -> bool:
    """Say whether our own database was migrated, and its processors checked, with the code as it is now."""
    stamp = state / "prepared"
    return (
        not os.environ.get("DATABASE_URL")
        and (state / "platform.sqlite3").is_file()
        and stamp.is_file()
        and stamp.read_text() == _code_hash()
    )


def note_prepared(state: Path) -> None:
    (state / "prepared").write_text(_code_hash())


def _code_hash() -> str:
    found = hashlib.sha256(sys.version.encode())
    registry = Path(os.environ.get("PROCESSORS_FILE") or ROOT / "processors.toml")
    sources = [*(ROOT / "tasks_app" / "migrations").glob("*.py"), *(ROOT / "processors").rglob("*.py")]
    for path in [registry, ROOT / "requirements.txt", *sorted(sources)]:
        found.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def web(port: int) -> Program:
    command = [sys.executable, "-m", "uvicorn", "platform_site.asgi:application", "--host", HOST, "--port", str(port)]
    # deflate costs more than it saves; open websockets must not hold up the end.
    command += ["--ws-per-message-deflate", "false", "--lifespan", "off", "--no-access-log", "--log-level", "warning"]
    command += ["--timeout-graceful-shutdown", "1"]
    return Program("web", command, ready=lambda: asyncio.to_thread(_web_answers, port))


def _web_answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/api/session", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def worker() -> Program:
    command = [sys.executable, "-m", "celery", "-q", "-A", "platform_site.celery", "worker", "-P", "threads"]
    command += ["-c", os.environ.get("SLOTS", "8"), "-Q", "feed,stream,batch,control", "-l", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--disable-prefetch"]
    return Program("worker", command)


def janitor() -> Program:
    return Program("janitor", [*MANAGE, "janitor"])
