"""Event time as the rows themselves agree on it: one wrong clock moves nothing, a whole market's jump is followed."""

from __future__ import annotations

import numpy as np

NEVER = np.iinfo(np.int64).min
LATEST = np.iinfo(np.int64).max
_FEW = 3  # stocks; below it the rows of one stock in a row count each
_REACH = 2  # rows before and after that have a say in where a row stands


class Watermark:
    """The highest event time on which three of five neighbouring rows (of changing stocks) agree.

    Rows of one stock in a row count once, so that one stock with a wrong clock stays one voice. ``now`` is in ms,
    ``NEVER`` before the first row. It never falls: rows sent again do not turn time back. Of the very first rows one
    that lies more than ``far_ms`` behind the others is taken for a wrong one.
    """

    def __init__(self, far_ms: int) -> None:
        self.far_ms = far_ms
        self.now: int = NEVER
        self._seen = np.empty(0, dtype=np.int64)  # times of the last voices that were decided
        self._last_code = -1
        self._known = 0  # stocks, as far as it matters

    def voices(self, code: np.ndarray) -> np.ndarray:
        """Return the mask of rows that count: where the stock changes, or all while hardly any stock is known."""
        if not len(code):
            return np.ones(0, dtype=bool)
        changes = np.append(code[0] != self._last_code, code[1:] != code[:-1])
        return changes if self._known >= _FEW else changes | (self._known_by_row(code) < _FEW)

    def _known_by_row(self, code: np.ndarray) -> np.ndarray:
        """Return how many stocks are known as of each row: their numbers are given in the order they are seen."""
        return np.maximum(np.maximum.accumulate(code) + 1, self._known)

    def advance(self, code: np.ndarray, time: np.ndarray, *, final: bool) -> np.ndarray:
        """Return event time as of each row, shape (m,): of all rows if ``final``, else of those before the last two
        voices, which need to be heard together with what follows them (give those again with the next rows).

        ``code`` are numbers of a ``Codebook``."""
        voice = self.voices(code)
        spoken = time[voice]
        agreed = self._agreed(spoken, final)
        if not len(agreed):
            return np.full(len(time) if final else 0, self.now, dtype=np.int64)
        decided = len(time) if final or len(agreed) == len(spoken) else int(np.flatnonzero(voice)[len(agreed)])
        highest = np.maximum.accumulate(np.maximum(agreed, self.now))
        which = np.cumsum(voice[:decided]) - 1
        before, self.now = self.now, int(highest[-1])
        self._seen = np.append(self._seen, spoken[: len(agreed)])[-_REACH:]
        self._last_code = int(code[decided - 1])
        if self._known < _FEW:
            self._known = int(self._known_by_row(code[:decided])[-1])
        return np.where(which < 0, before, highest[which])

    def _agreed(self, spoken: np.ndarray, final: bool) -> np.ndarray:
        """Return the median of five around each voice. At an end the neighbours are mirrored."""
        context = len(self._seen)
        times = np.append(self._seen, spoken)
        if len(times) <= _REACH:  # too few to agree on anything: the lower one, so that a wrong future moves nothing
            return np.full(len(spoken) if final else 0, times.min(initial=LATEST))
        padded = np.pad(times, (_REACH - context, _REACH if final else 0), mode="reflect")
        if len(padded) <= 2 * _REACH:
            return np.empty(0, dtype=np.int64)
        if np.all(padded[1:] >= padded[:-1]):
            return padded[_REACH:-_REACH]
        around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1)
        agreed = np.partition(around, _REACH, axis=1)[:, _REACH]
        head = slice(0, _REACH - context)
        own = spoken[: len(agreed)][head]
        agreed[head] = np.where(agreed[head] - own > self.far_ms, agreed[head], np.minimum(agreed[head], own))
        return agreed
