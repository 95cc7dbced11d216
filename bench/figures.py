"""How a benchmark tells its figures: a table for people, a line of JSON per figure for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure; ``to_reach`` says what is wanted, as text, or None; ``of`` names a file it belongs to."""

    name: str
    value: float
    unit: str
    to_reach: str | None = None
    of: str | None = None


def tell(figures: Sequence[Figure], *, as_json: bool) -> None:
    """Write the figures, and last how fast the machine was just now."""
    write = sys.stdout.write
    for figure in (*figures, Figure("machine_loop_ms", machine_loop_ms(), "ms")):
        if as_json:
            content = {"figure": figure.name, "value": figure.value, "unit": figure.unit, "to_reach": figure.to_reach}
            write(json.dumps(content | ({"of": figure.of} if figure.of else {})) + "\n")
        else:
            write(f"{figure.name:<32} {figure.value:>14,.6g} {figure.unit:<8} {figure.to_reach or '':>10}\n")
    sys.stdout.flush()


def machine_loop_ms() -> float:
    """Return the time of 100,000 additions in Python. On a shared machine it may double from one minute to the next:
    figures compare only where this one is the same."""
    times = []
    for _ in range(15):
        began, total = time.perf_counter(), 0
        for number in range(100_000):
            total += number
        times.append(1000 * (time.perf_counter() - began))
    return percentile(times, 0.5)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
