"""What bin/test runs inside .venv: every check, a summary, and pytest's closing line at the end."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from _steps import die_with, say
from _tools import npm

ROOT = Path(__file__).resolve().parent.parent
FRONTEND = ROOT / "frontend"


@dataclass(frozen=True)
class Check:
    name: str
    command: list[str]
    cwd: Path = ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/test", description="Runs every check. Narrowed, it runs pytest only.")
    parser.add_argument("-k", metavar="NAME", help="only the Python tests whose names match, and nothing else")
    parser.add_argument("paths", nargs="*", help="only the Python tests of these files or directories")
    options, more = parser.parse_known_args()
    pytest = [sys.executable, "-m", "pytest", *(["-k", options.k] if options.k else []), *more, *options.paths]
    checks = [Check("pytest", pytest)]
    if not (options.k or options.paths or more):
        spread = ["-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", "--durations=15"]
        checks = [*python_checks(), *front_end_checks(), Check("tests", [*pytest, *spread])]
    with tempfile.TemporaryDirectory(prefix="platform-test-") as state:
        results = [run(check, environment(state)) for check in checks]
    return summary(checks, results)


def python_checks() -> list[Check]:
    scripts = Path(sys.executable).parent
    return [
        Check("format", [str(scripts / "ruff"), "format", "--check", "."]),
        Check("lint", [str(scripts / "ruff"), "check", "."]),
        Check("types", [str(scripts / "mypy")]),
        Check("import directions", [str(scripts / "lint-imports"), "--no-cache"]),
        Check("migrations", [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]),
    ]


def front_end_checks() -> list[Check]:
    node = os.environ.get("PLATFORM_NODE")
    if not node:
        return []
    run = [*npm(Path(node)), "run", "--silent"]
    return [
        Check(f"front end: {name}", [*run, script], FRONTEND)
        for name, script in (("lint", "lint"), ("types", "typecheck"), ("tests", "test"))
    ]


def environment(state: str) -> dict[str, str]:
    """Tests have a state of their own; what points at a real installation is left out."""
    real = ("REDIS_URL", "DATABASE_URL", "MONGODB_URL", "HISTORY_DIR", "SPARK_MASTER")
    kept = {name: value for name, value in os.environ.items() if name not in real}
    return {**kept, "STATE_DIR": state, "PYTHONUNBUFFERED": "1"}


def run(check: Check, env: dict[str, str]) -> tuple[bool, float, str]:
    """Run a check, passing its output on; return whether it held, its seconds and its last line."""
    say(f"\n=== {check.name}")
    began, last = time.monotonic(), ""
    process = subprocess.Popen(
        check.command,
        cwd=check.cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=die_with(os.getpid()),
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.rstrip() or last
    return process.wait() == 0, time.monotonic() - began, last


def summary(checks: list[Check], results: list[tuple[bool, float, str]]) -> int:
    say("\n=== summary")
    for check, (held, seconds, _) in zip(checks, results, strict=True):
        say(f"{'ok    ' if held else 'FAILED'} {check.name} ({seconds:.1f} s)")
    say(results[-1][2])
    return 0 if all(held for held, _, _ in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("bin/test: stopped")
