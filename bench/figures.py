"""How a benchmark tells its figures: a table for people, a line of JSON per figure for programs."""

from __future__ import annotations

import json
import sys
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
    write = sys.stdout.write
    for figure in figures:
        if as_json:
            content = {"figure": figure.name, "value": figure.value, "unit": figure.unit, "to_reach": figure.to_reach}
            write(json.dumps(content | ({"of": figure.of} if figure.of else {})) + "\n")
        else:
            write(f"{figure.name:<32} {figure.value:>14,.6g} {figure.unit:<8} {figure.to_reach or '':>10}\n")
    sys.stdout.flush()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
