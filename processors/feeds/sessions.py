"""Which trading session an event time belongs to, by the exchange's calendar."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

if TYPE_CHECKING:
    import pandas as pd

log = structlog.get_logger()
_DAY_MS = 86_400_000


class Sessions:
    """Names sessions like ``2021-12-01/am``: pre, am, lunch, pm, post, or day where there is no break.

    A session is (open, close]: what happens at the closing moment belongs to it, the opening auction at exactly the
    opening does not. A day without trading is ``…/closed``; ``24/7`` is one session without end. Only the years asked
    for are built, for calendars are slow to build, and each once, however many threads ask.
    """

    def __init__(self, calendar: str, zone: str) -> None:
        self.calendar, self.zone = calendar, ZoneInfo(zone)
        self._years: dict[int, _Year | None] = {}
        self._building = threading.Lock()

    def at(self, time_ms: int) -> tuple[str, bool]:
        """Return (session, whether it trades)."""
        if self.calendar == "24/7":
            return "24/7", True
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        year = self._year(moment.year)
        today = moment.astimezone(self.zone).date().isoformat()
        return year.at(time_ms, today) if year else (f"{today}/unknown", False)

    def trading_days(self, time_ms: np.ndarray) -> np.ndarray:
        """Return the trading day that each time belongs to, as days since 1970: it begins half way between the close
        before it and its open, for what counts by the day (volumes so far) begins anew somewhere there. Local days
        where no calendar tells."""
        years = time_ms.astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970
        out = np.empty(len(time_ms), dtype=np.int64)
        for number in np.unique(years):
            of_year = years == number
            year = self._year(int(number))
            out[of_year] = year.days(time_ms[of_year]) if year else self._local_days(time_ms[of_year])
        return out

    def _local_days(self, time_ms: np.ndarray) -> np.ndarray:
        moments = pa.array(time_ms).cast(pa.timestamp("ms", self.zone.key))
        return pc.local_timestamp(moments).cast(pa.int64()).to_numpy() // _DAY_MS

    def next_open(self, time_ms: int) -> int | None:
        """Return when trading begins next after a time (ms UTC), None for a market that never closes or if no calendar
        tells."""
        if self.calendar == "24/7":
            return None
        first = datetime.fromtimestamp(time_ms / 1000, UTC).year
        for number in (first, first + 1):
            year = self._year(number)
            found = year.next_open(time_ms) if year else None
            if found is not None:
                return found
        return None

    def _year(self, year: int) -> _Year | None:
        if year not in self._years:
            with self._building:
                if year not in self._years:
                    self._years[year] = self._build(year)
        return self._years[year]

    def _build(self, year: int) -> _Year | None:
        import exchange_calendars  # takes a second or two to import, with pandas
        import pandas as pd

        for margin in (10, 0):  # a calendar may end with this year
            start = pd.Timestamp(year, 1, 1) - pd.Timedelta(days=margin)
            end = pd.Timestamp(year, 12, 31) + pd.Timedelta(days=margin)
            try:
                return _Year(exchange_calendars.get_calendar(self.calendar, start=start, end=end))
            except ValueError as error:
                reason = str(error)
        log.warning("exchange calendar does not cover year", calendar=self.calendar, year=year, reason=reason)
        return None


class _Year:
    def __init__(self, calendar) -> None:  # type: ignore[no-untyped-def]
        schedule = calendar.schedule
        self.labels = [label.date().isoformat() for label in schedule.index]
        self.open, self.pause, self.resume, self.close = (
            _ms(schedule[name]) for name in ("open", "break_start", "break_end", "close")
        )
        self._days = _ms(schedule.index.tz_localize("UTC").to_series()) // _DAY_MS
        self._begins = (self.close[:-1] + self.open[1:]) // 2

    def days(self, time_ms: np.ndarray) -> np.ndarray:
        return self._days[np.searchsorted(self._begins, time_ms, side="right")]

    def next_open(self, time_ms: int) -> int | None:
        begins = np.concatenate([self.open, self.resume[self.resume > 0]])
        later = begins[begins > time_ms]
        return int(later.min()) if len(later) else None

    def at(self, time_ms: int, today: str) -> tuple[str, bool]:
        number = int(np.searchsorted(self.close, time_ms, side="left"))  # the first session that closes at or after
        if number < len(self.labels) and time_ms > self.open[number]:
            part, trading = self._part(number, time_ms)
            return f"{self.labels[number]}/{part}", trading
        if number < len(self.labels) and self.labels[number] == today:
            return f"{today}/pre", False
        if number > 0 and self.labels[number - 1] == today:
            return f"{today}/post", False
        return f"{today}/closed", False

    def _part(self, number: int, time_ms: int) -> tuple[str, bool]:
        if self.pause[number] < 0:
            return "day", True
        if time_ms <= self.pause[number]:
            return "am", True
        return ("pm", True) if time_ms > self.resume[number] else ("lunch", False)


def _ms(times: pd.Series) -> np.ndarray:
    """Return int64 ms UTC, -1 for none."""
    import pandas as pd

    return times.fillna(pd.Timestamp(-1, unit="ms", tz="UTC")).dt.as_unit("ms").astype("int64").to_numpy()
