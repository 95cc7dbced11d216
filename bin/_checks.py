"""What bin/test runs inside .venv: every check, a summary, and pytest's closing lines at the end."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from _steps import die_with, say
from _tools import npm

ROOT = Path(__file__).resolve().parent.parent
FRONTEND = ROOT / "frontend"
# Lanes go side by side, for much of what tests do is to wait. Tests that kill and freeze things, which have seconds to
# be noticed, share one: of them one runs at a time.
CLOCKED = [f"tests/integration/test_{name}.py" for name in ("faults", "life", "up", "slots", "scheduled")]
USED = [
    f"tests/integration/test_{name}.py"
    for name in (
        "api",
        "browser",
        "doorways",
        "history",
        "history_api",
        "history_frame",
        "people",
        "registry",
        "uploads",
    )
]
LANES = {
    "tests of what people and programs use": USED,
    "tests of a clock": CLOCKED,
    "other tests": ["tests", *(f"--ignore={path}" for path in (*CLOCKED, *USED))],
}


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
    if options.k or options.paths or more:
        checks = [Check("pytest", pytest)]
        return summary(checks, [run(check) for check in checks])
    checks = [*python_checks(), *front_end_checks()]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(partial(run, at_once=False), checks))
    lanes = [Check(name, [*pytest, "--durations=15", *paths]) for name, paths in LANES.items()]
    with ThreadPoolExecutor(len(lanes)) as pool:  # all but the first speak when they have ended
        results += pool.map(run, lanes, [lane is lanes[0] for lane in lanes])
    return summary([*checks, *lanes], results)


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


def run(check: Check, at_once: bool = True) -> tuple[bool, float, str]:
    """Run a check and pass its output on, at once or at its end; return whether it held, its seconds, its closing line.

    Pytest draws a frame around that; the process may have more to say while it ends.
    """
    began, said = time.monotonic(), [f"\n=== {check.name}\n"]
    if at_once:
        say(said.pop().rstrip())
    last = ""
    with tempfile.TemporaryDirectory(prefix="platform-test-") as state:
        process = subprocess.Popen(
            check.command,
            cwd=check.cwd,
            env=environment(state),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with(os.getpid()),
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("=") or not last.startswith("="):
                last = line.rstrip()
            if at_once:
                print(line, end="", flush=True)
            else:
                said.append(line)
        held = process.wait() == 0
    print("".join(said), end="", flush=True)
    return held, time.monotonic() - began, last


def summary(checks: list[Check], results: list[tuple[bool, float, str]]) -> int:
    say("\n=== summary")
    for check, (held, seconds, _) in zip(checks, results, strict=True):
        say(f"{'ok    ' if held else 'FAILED'} {check.name} ({seconds:.1f} s)")
    for check, (_, _, last) in zip(checks, results, strict=True):
        if "pytest" in check.command:
            say(last)
    return 0 if all(held for held, _, _ in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("bin/test: stopped")
