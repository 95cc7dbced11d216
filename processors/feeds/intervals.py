"""What the ticks of one interval say together, per stock: pure functions on columns, and the cumulative counters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from processors.contract import QUOTE_FIELDS, Columns
from processors.feeds.tally import Tally

Describe = Callable[[int, int], str]  # code number, time in ms → text of a sample


def take(ticks: Columns, rows: np.ndarray | slice) -> Columns:
    return {name: values[rows] for name, values in ticks.items()}


def by_code(ticks: Columns) -> Columns:
    """Return ticks that are in order of time in order of (code, time, arrival)."""
    code = ticks["code"]
    return ticks if np.all(code[1:] > code[:-1]) else take(ticks, np.argsort(code, kind="stable"))


def without_duplicates(ticks: Columns, tally: Tally, describe: Describe) -> Columns:
    """Drop rows that the next row, in ``by_code``'s order, says again; count them as rejected."""
    older = _followed(ticks)
    for values in ticks.values():
        one, other = values[older], values[older + 1]
        older = older[(one == other) | (np.isnan(one) & np.isnan(other))]
    tally.reject("duplicate", older, lambda row: describe(ticks["code"][row], ticks["time"][row]))
    return _without(ticks, older)


def newest(ticks: Columns, tally: Tally, describe: Describe) -> Columns:
    """Keep the last received of rows with the same (code, time), in ``by_code``'s order; count the others."""
    older = _followed(ticks)
    tally.note("replaced", older, lambda row: describe(ticks["code"][row], ticks["time"][row]))
    return _without(ticks, older)


def _followed(ticks: Columns) -> np.ndarray:
    """Return the numbers of the rows whose next row is of the same code and time."""
    code, time = ticks["code"], ticks["time"]
    return np.flatnonzero((code[1:] == code[:-1]) & (time[1:] == time[:-1]))


def _without(ticks: Columns, rows: np.ndarray) -> Columns:
    if not len(rows):
        return ticks
    kept = np.ones(len(ticks["code"]), dtype=bool)
    kept[rows] = False
    return take(ticks, kept)


def group_starts(code: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.append(True, code[1:] != code[:-1])) if len(code) else np.empty(0, dtype=np.int64)


def fold(ticks: Columns) -> Columns:
    """Return one row per code: last price, time and quotes, summed volume and amount, sign of net signed volume."""
    starts = group_starts(ticks["code"])
    if len(starts) == len(ticks["code"]):
        return {**ticks, "type": np.where(ticks["volume"] > 0, ticks["type"], 0).astype(np.int8)}
    last = np.append(starts[1:], len(ticks["code"])) - 1
    folded = take(ticks, last)
    for name in ("volume", "amount"):
        folded[name] = np.add.reduceat(ticks[name], starts)
    folded["type"] = np.sign(np.add.reduceat(ticks["type"] * ticks["volume"], starts)).astype(np.int8)
    return folded


def no_ticks(quotes: bool) -> Columns:
    kinds = {"code": np.int64, "time": np.int64, "type": np.int8}
    names = ("code", "time", "price", "change", "volume", "amount", "type", *(QUOTE_FIELDS if quotes else ()))
    return {name: np.empty(0, dtype=kinds.get(name, np.float64)) for name in names}


class Counters:
    """Differences of volume and amount that a source gives as running totals, kept per code across intervals.

    A total that falls is a correction or a new start: its row has no volume. Until the total passes its old peak only
    steps up from the fallen value count; the step over the peak counts from the peak, so that a total that dips to 0
    and comes back is no spike. A code's first total has nothing to be compared with and no volume either. On a new
    trading day of a market that closes, totals begin at 0.

    ``days`` gives the day of each time (ms UTC) as a number, None of a market that never closes.
    """

    def __init__(self, days: Callable[[np.ndarray], np.ndarray] | None) -> None:
        self.days = days
        self._day = np.empty(0, dtype=np.int64)  # day of the last row, -1 before the first
        self._last = np.empty((2, 0))
        self._peak = np.empty((2, 0))

    def differences(self, ticks: Columns, codes: int, tally: Tally, describe: Describe) -> Columns:
        """Return ticks, in the order of ``by_code`` and unique, with volume and amount of each step."""
        self._grow(codes)
        code, time, starts = ticks["code"], ticks["time"], group_starts(ticks["code"])
        if not len(code):
            return ticks
        day = np.zeros(len(time), dtype=np.int64) if self.days is None else self.days(time)
        before_day = _shifted(day, starts, self._day[code[starts]])
        fresh = (before_day >= 0) & (day != before_day)
        fell = np.zeros(len(code), dtype=bool)
        ends = np.append(starts[1:], len(code)) - 1
        steps = {}
        for row, name in enumerate(("volume", "amount")):
            total = ticks[name]
            last = _shifted(total, starts, self._last[row, code[starts]])
            top = _peaks(total, code, day, starts, np.where(fresh[starts], 0.0, self._peak[row, code[starts]]))
            last, peak = np.where(fresh, 0.0, last), np.where(fresh, 0.0, top[0])
            drop = total < last * (1 - 1e-9)
            base = np.where(total >= peak, peak, last)
            steps[name] = np.where(drop | (before_day < 0), 0.0, _without_noise(np.maximum(total - base, 0.0), total))
            fell |= drop
            self._last[row, code[ends]], self._peak[row, code[ends]] = total[ends], top[1][ends]
        self._day[code[ends]] = day[ends]
        tally.note("total_fell", np.flatnonzero(fell), lambda row: describe(code[row], time[row]))
        tally.note("first_total", np.flatnonzero(before_day < 0), lambda row: describe(code[row], time[row]))
        return {**ticks, **steps}

    def _grow(self, codes: int) -> None:
        more = codes - len(self._day)
        if more > 0:
            self._day = np.append(self._day, np.full(more, -1))
            self._last = np.hstack([self._last, np.zeros((2, more))])
            self._peak = np.hstack([self._peak, np.zeros((2, more))])


def _without_noise(step: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Round the difference of two totals to what they can tell of it: 14 digits of the larger one."""
    digits = 13 - np.floor(np.log10(np.maximum(np.abs(total), 1e-9)))
    scale = 10.0 ** np.clip(digits, 0, 22)
    return np.round(step * scale) / scale


def _shifted(values: np.ndarray, starts: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return each row's previous value of its code, ``first`` at the beginning of each group."""
    previous = np.roll(values, 1)
    previous[starts] = first
    return previous


def _peaks(
    total: np.ndarray, code: np.ndarray, day: np.ndarray, starts: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the peak of each row's total before and after it, within its code and day."""
    if len(starts) == len(total):
        return first, np.maximum(first, total)
    seeded = total.copy()
    seeded[starts] = np.maximum(first, total[starts])
    import pandas as pd  # half a second that a source with one row per stock and interval does not cost

    after = pd.Series(seeded).groupby([code, day], sort=False).cummax().to_numpy()
    return _shifted(after, starts, first), after
