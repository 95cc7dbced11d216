"""The life of a task as data: every legal move. docs/lifecycle.md draws it, and a test compares the two."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    INITIAL = "Initial"
    STARTED = "Started"
    RUNNING = "Running"
    FINISHED = "Finished"
    STOPPED = "Stopped"
    TERMINATED = "Terminated"


class Ending(StrEnum):
    """How an attempt ended, more precisely than its status."""

    NONE = ""
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"  # an error of its own
    LOST = "lost"  # its runner or worker died
    SHUTDOWN = "shutdown"  # its worker was shut down in order


LIVE = frozenset({Status.STARTED, Status.RUNNING})
ENDED = frozenset({Status.FINISHED, Status.STOPPED, Status.TERMINATED})

MOVES: frozenset[tuple[Status, Status]] = frozenset(
    {
        (Status.INITIAL, Status.STARTED),  # a worker took it
        (Status.INITIAL, Status.STOPPED),  # stopped before a worker took it
        (Status.INITIAL, Status.TERMINATED),  # it can't be started
        (Status.STARTED, Status.RUNNING),  # the first batch or query began
        (Status.STARTED, Status.STOPPED),
        (Status.STARTED, Status.TERMINATED),
        (Status.STARTED, Status.FINISHED),  # a source that ended before anything came
        (Status.RUNNING, Status.FINISHED),
        (Status.RUNNING, Status.STOPPED),
        (Status.RUNNING, Status.TERMINATED),
        (Status.FINISHED, Status.INITIAL),  # a new attempt
        (Status.STOPPED, Status.INITIAL),
        (Status.TERMINATED, Status.INITIAL),
    }
)


def actions(status: str, *, queued: bool, stopping: bool) -> list[str]:
    """Return what may be asked for in a state; ``queued`` means that an Initial task has been asked to start."""
    state = Status(status)
    if state is Status.INITIAL and not queued:
        return ["start"]
    if state in ENDED:
        return ["retry"]
    return [] if stopping else ["stop"]
