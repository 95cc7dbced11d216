"""What keeps a vendor well disposed: no more calls than its plan allows, and a rest after failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

MINUTE_S = 60.0
FAILURES = 3
FIRST_REST_S, LONGEST_REST_S = 30.0, 600.0


class Budget:
    """At most ``calls`` in any minute, also across a restart: the times of the last ones are kept in a file."""

    def __init__(self, calls: int, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.calls, self._path, self._clock = calls, path, clock
        self._made: list[float] = self._kept()

    def _kept(self) -> list[float]:
        try:
            return [float(each) for each in json.loads(self._path.read_text())]
        except (FileNotFoundError, ValueError):
            return []

    @property
    def left(self) -> int:
        now = self._clock()
        self._made = [at for at in self._made if now - MINUTE_S < at <= now]
        return max(self.calls - len(self._made), 0)

    @property
    def free_in_s(self) -> float:
        """Return for how many seconds no call is left, 0 if one is."""
        return 0.0 if self.left else max(self._made[-self.calls] + MINUTE_S - self._clock(), 0.01)

    def take(self) -> bool:
        """Count a call that is about to be made; False if none is left in this minute."""
        if not self.left:
            return False
        self._made.append(self._clock())
        self._path.write_text(json.dumps(self._made))
        return True


class Breaker:
    """Opens after ``FAILURES`` in a row, and at once where the vendor asks for a pause; lets one try through after a
    rest that doubles until something succeeds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._rest_s = FIRST_REST_S
        self._until = 0.0

    @property
    def rests_s(self) -> float:
        """Return for how many seconds nothing is to be tried, 0 if something may be."""
        return max(self._until - self._clock(), 0.0)

    def succeeded(self) -> None:
        self._failures, self._rest_s = 0, FIRST_REST_S

    def failed(self, pause_s: float | None = None) -> None:
        self._failures += 1
        if pause_s is not None:
            self._until = self._clock() + pause_s
        elif self._failures >= FAILURES:
            self._until = self._clock() + self._rest_s
            self._rest_s = min(self._rest_s * 2, LONGEST_REST_S)
