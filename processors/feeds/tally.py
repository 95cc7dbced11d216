"""Counts of what ingest rejected or changed, with a few samples of each, so that nothing is dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

SAMPLES_PER_REASON = 3


class SourceError(ValueError):
    """The source cannot be read at all. The message names it, what is wrong and what was expected."""


class Tally:
    """``rejected`` counts rows dropped by reason; ``noted`` counts kept rows of which something was set aside."""

    def __init__(self) -> None:
        self.received = 0
        self.rejected: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.samples: dict[str, list[str]] = {}

    def reject(self, reason: str, rows: np.ndarray, describe: Callable[[int], Any]) -> None:
        """Count the rows (an array of row numbers) and keep the first few as text."""
        self._count(self.rejected, reason, rows, describe)

    def refuse(self, reason: str, text: str) -> None:
        """Count something that is no row at all."""
        self.received += 1
        self.reject(reason, np.zeros(1), lambda _: text)

    def note(self, reason: str, rows: np.ndarray, describe: Callable[[int], Any]) -> None:
        """Count rows that are kept, but not as they came."""
        self._count(self.noted, reason, rows, describe)

    def reasons(self) -> str:
        """Say what was rejected and why, the most frequent first, each with a sample."""
        found = self.rejected.most_common()
        return "; ".join(f"{count} {reason}, such as {self.samples[reason][0]}" for reason, count in found) or "none"

    def _count(self, counter: Counter[str], reason: str, rows: np.ndarray, describe: Callable[[int], Any]) -> None:
        if not len(rows):
            return
        counter[reason] += len(rows)
        kept = self.samples.setdefault(reason, [])
        kept.extend(str(describe(int(row)))[:300] for row in rows[: SAMPLES_PER_REASON - len(kept)])
