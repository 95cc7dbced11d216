"""Made-up time that follows an exchange's calendar: opening auction, sessions, lunch; what is closed is skipped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from threading import Event

from processors.feeds.sessions import Sessions

AUCTION_MS = (15 * 60_000, 5 * 60_000)  # before the opening: from, to


@dataclass(frozen=True)
class Step:
    """An interval's end (ms UTC). ``new_days`` are the numbers of the trading days that begin with it; with the first
    step also of all before, since the first day."""

    end: int
    trading: bool
    new_days: range


class DayClock:
    """Ends of intervals from the day ``begins`` on, ``pace`` event seconds per second; from the wall clock it takes
    nothing but how long a second is."""

    def __init__(self, sessions: Sessions, interval_ms: int, begins: date, pace: float, stopping: Event) -> None:
        self.sessions, self.interval_ms, self.stopping = sessions, interval_ms, stopping
        self._wait_s = interval_ms / 1000 / pace
        self._begin = int(datetime(begins.year, begins.month, begins.day, tzinfo=sessions.zone).timestamp() * 1000)

    def steps(self, after: int) -> Iterator[Step]:
        """Yield the steps behind an event time, each when it is due, until stopping or the calendar's end."""
        known, begun, day = 0, 0, ""
        due = time.monotonic()
        for end, session, trading in self.ends():
            if session[:10] != day:
                begun, day = begun + 1, session[:10]
            if end <= after:
                continue
            due += self._wait_s
            if self.stopping.wait(max(due - time.monotonic(), 0)):
                return
            yield Step(end, trading, range(known, begun))
            known = begun

    def ends(self) -> Iterator[tuple[int, str, bool]]:
        """Yield (end, session, whether it trades) of the auctions' and sessions' intervals, from the first day on."""
        end = self._grid(self._begin)
        while True:
            end += self.interval_ms
            session, trading = self.sessions.at(end)
            if not trading:
                opens = self.sessions.next_open(end)
                if opens is None:
                    return
                lunch = session.endswith("/lunch")
                if lunch or end > opens - AUCTION_MS[1]:
                    end = self._grid(opens)
                    continue
                if end <= opens - AUCTION_MS[0]:
                    end = self._grid(opens - AUCTION_MS[0])
                    continue
            yield end, session, trading

    def _grid(self, time_ms: int) -> int:
        return time_ms // self.interval_ms * self.interval_ms
