"""Processes that an attempt left behind, found by a mark in their environment, which outlives session and parent."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict

import psutil
import structlog
from django.conf import settings

from tasks_app.models import Task
from tasks_app.states import LIVE

log = structlog.get_logger()

OWNER = "PLATFORM_OWNER"
_SETTLED_S = 10.0  # a process this old has become what it was started for: its environment is read no more
_known: dict[psutil.Process, str] = {}


def environment(owner: str) -> dict[str, str]:
    """Return what marks the processes of an attempt, by its owner's token, as those of this installation."""
    return {OWNER: owner, "STATE_DIR": str(settings.STATE_DIR)}


def marked() -> dict[str, list[psutil.Process]]:
    """Return every living process of this machine that an attempt of this installation started, by owner."""
    global _known
    found: dict[str, list[psutil.Process]] = defaultdict(list)
    settled: dict[psutil.Process, str] = {}
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):  # gone meanwhile, or somebody else's
            process = psutil.Process(pid)
            known = _known.get(process)
            owner = _owner(process) if known is None else known
            if time.time() - process.create_time() > _SETTLED_S:
                settled[process] = owner
            if owner and process.status() != psutil.STATUS_ZOMBIE:
                found[owner].append(process)
    _known = settled
    return found


def _owner(process: psutil.Process) -> str:
    told = process.environ()
    return told.get(OWNER, "") if told.get("STATE_DIR") == str(settings.STATE_DIR) else ""


def kill(owner: str) -> int:
    """Kill what is left of an attempt; return how many processes that were."""
    return _kill(marked().get(owner, []))


def sweep() -> int:
    """Kill what is left of attempts that are over; return how many processes that were.

    The processes are looked for before the tasks: one that was there while its task is not live has no business left.
    """
    there = marked()
    if not there:
        return 0
    owners = set(Task.objects.filter(status__in=LIVE, owner__in=list(there)).values_list("owner", flat=True))
    killed = 0
    for owner in there.keys() - owners:
        killed += _kill(there[owner])
        log.warning("orphans killed", owner=owner, processes=len(there[owner]))
    return killed


def _kill(processes: list[psutil.Process]) -> int:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(processes)
