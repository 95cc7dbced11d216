"""A line on a terminal that tells how far a command is; nothing where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Bar:
    WIDTH, EVERY_S = 30, 0.2

    def __init__(self, name: str, total: int, unit: str):
        self.name, self.total, self.unit = name, total, unit
        self._shown_at = 0.0
        self._live = sys.stderr.isatty()

    def watching(self, source: Iterable[T], done: Callable[[], int]) -> Iterator[T]:
        """Yield what the source gives, and show between how many of the total are ``done``."""
        for each in source:
            if self._live and time.monotonic() - self._shown_at > self.EVERY_S:
                self._shown_at = time.monotonic()
                self._show(done())
            yield each
        if self._live:
            self._show(done())
            sys.stderr.write("\n")

    def _show(self, done: int) -> None:
        share = min(done / self.total, 1.0) if self.total else 0.0
        full = round(share * self.WIDTH)
        sys.stderr.write(f"\r{self.name} [{'#' * full}{'.' * (self.WIDTH - full)}] {share:4.0%} {done} {self.unit}")
        sys.stderr.flush()
