"""The options of bin/up. Standard library only: bin/up refuses what can't work before it installs anything."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
STATE_MB = 100  # database, Redis' file and the first checkpoints of a small market


class Refused(Exception):
    """One sentence: what is wrong, and what to do."""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/up", description="Starts the platform and keeps it running until Ctrl-C.", allow_abbrev=False
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--no-demo", action="store_true", help="start no demo; what ran before goes on")
    what.add_argument("--replay", metavar="FILE", type=_path, help="follow a recording (CSV, gzip too, or Parquet)")
    what.add_argument("--simulate", metavar="CODES", type=int, help="follow a made-up market of so many stocks")
    parser.add_argument("--every", metavar="SECONDS", type=float, help="interval of --simulate (default 5)")
    file = parser.add_argument_group("of --replay; what is not given is inferred from the file and printed")
    file.add_argument("--zone", help="IANA time zone of the file's times, such as Asia/Shanghai")
    file.add_argument("--columns", metavar="FIELD=COLUMN,…", help="where the file's names are not the usual ones")
    file.add_argument("--calendar", help="exchange calendar, such as XSHG or XNYS, or 24/7")
    file.add_argument("--interval", metavar="SECONDS", type=float, help="seconds between two snapshots")
    file.add_argument(
        "--pace", metavar="TIMES", type=float, help="of real time (default 1); 0: as fast as readers follow"
    )
    file.add_argument("--volume-unit", choices=["shares", "lots"])
    file.add_argument(
        "--volume-mode", choices=["interval", "cumulative"], help="since the row before, or a running total"
    )
    parser.add_argument("--port", type=int, help="port of the web pages on 127.0.0.1 (default 8000)")
    parser.add_argument("--state", metavar="DIR", type=_path, help="where everything is kept (default .state)")
    parser.add_argument(
        "--smoke", action="store_true", help="try it on a fresh temporary state and free ports, then stop; exits 0 or 1"
    )
    return parser.parse_args(arguments)


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def check(options: argparse.Namespace) -> None:
    """Raise Refused for what can be seen to fail before anything is started."""
    if options.every is not None and options.simulate is None:
        raise Refused("--every belongs to --simulate CODES: give both.")
    if options.simulate is not None and not 2 <= options.simulate <= 200_000:
        raise Refused(f"--simulate {options.simulate}: give a number of stocks from 2 to 200000.")
    for name, value in (("--every", options.every), ("--interval", options.interval)):
        if value is not None and not 0.01 <= value <= 3600:
            raise Refused(f"{name} {value:g}: give seconds from 0.01 to 3600.")
    if options.pace is not None and not 0 <= options.pace <= 100_000:
        raise Refused(f"--pace {options.pace:g}: give how many times real time, from 0 to 100000.")
    file_options = ("columns", "zone", "calendar", "interval", "pace", "volume_unit", "volume_mode")
    lonely = [name for name in file_options if getattr(options, name) is not None]
    if lonely and options.replay is None:
        raise Refused(f"--{lonely[0].replace('_', '-')} belongs to --replay FILE: give both.")
    if options.replay:
        _check_file(options.replay)
    if not options.smoke:
        _check_state(state_dir(options))
        check_port(port(options))


def state_dir(options: argparse.Namespace) -> Path:
    return Path(options.state or os.environ.get("STATE_DIR") or ROOT / ".state").resolve()


def port(options: argparse.Namespace) -> int:
    return 8000 if options.port is None else options.port


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise Refused(f"--replay {path} is a directory: give a CSV or Parquet file.")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise Refused(f"--replay {path} can't be read ({error.strerror}): give a CSV or Parquet file.") from error


def _check_state(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise Refused(
            f"The state directory {path} can't be written ({error.strerror}): give another with --state."
        ) from error
    free_mb = shutil.disk_usage(path).free // 2**20
    if free_mb < STATE_MB:
        raise Refused(
            f"There are {free_mb} MB left where the state directory {path} lies: "
            f"make room for {STATE_MB} MB, or give another with --state."
        )


def check_port(number: int) -> None:
    if not 1 <= number <= 65535:
        raise Refused(f"--port {number} is no port: give a number from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except OSError as error:
            raise Refused(f"Port {number} can't be used ({error.strerror}): give another one with --port.") from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
