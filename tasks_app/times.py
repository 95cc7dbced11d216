"""When a schedule is due: by the clock of a zone and weekday, or by an exchange's session. The present is an input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

Moment = Literal["open", "lunch", "resume", "close"]
MOMENTS: tuple[Moment, ...] = ("open", "lunch", "resume", "close")
OFFSET_LIMIT_MIN = 12 * 60
_COLUMNS = {"open": "open", "lunch": "break_start", "resume": "break_end", "close": "close"}
_LOOK_AHEAD = timedelta(days=21)  # longer than any exchange's holidays


@dataclass(frozen=True)
class Clock:
    """At a time of day, on some weekdays (0 is Monday), in a zone."""

    at: time
    weekdays: tuple[int, ...]
    zone: str


@dataclass(frozen=True)
class Session:
    """Some minutes before (negative) or after a moment of an exchange's trading day."""

    calendar: str
    moment: Moment
    offset_min: int


Rule = Clock | Session


class UnknownCalendar(Exception):
    """There is no exchange calendar of this name, or it does not cover the time asked for."""


def due(rule: Rule, after: datetime, until: datetime) -> list[datetime]:
    """Return every moment in (after, until] at which the rule is due, in UTC, oldest first."""
    found = _by_clock(rule, after, until) if isinstance(rule, Clock) else _by_session(rule, after, until)
    return sorted(moment for moment in found if after < moment <= until)


def next_due(rule: Rule, after: datetime) -> datetime | None:
    """Return the first moment after another at which the rule is due, None if there is none in three weeks."""
    return next(iter(due(rule, after, after + _LOOK_AHEAD)), None)


def _by_clock(rule: Clock, after: datetime, until: datetime) -> Iterator[datetime]:
    """A time that daylight saving skips is due an hour later by the clock; one that it repeats, the first time."""
    zone = ZoneInfo(rule.zone)
    for day in _days(after.astimezone(zone).date(), until.astimezone(zone).date()):
        if day.weekday() in rule.weekdays:
            yield datetime.combine(day, rule.at, zone).astimezone(UTC)


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _by_session(rule: Session, after: datetime, until: datetime) -> Iterator[datetime]:
    offset = timedelta(minutes=rule.offset_min)
    for year in range((after - offset).year, (until - offset).year + 1):
        for moment in _moments(rule.calendar, year, rule.moment):
            yield moment + offset


@lru_cache(maxsize=64)
def _moments(calendar: str, year: int, moment: Moment) -> tuple[datetime, ...]:
    """Return the moments of a year's trading days in UTC; none on a day without lunch, for lunch."""
    column = _calendar(calendar, year).schedule[_COLUMNS[moment]].dropna()
    return tuple(each.to_pydatetime() for each in column if each.year == year)


def _calendar(name: str, year: int) -> Any:
    import exchange_calendars  # takes a second or two to import

    reason = ""
    for start, end in ((date(year - 1, 12, 22), date(year + 1, 1, 10)), (date(year, 1, 1), date(year, 12, 31))):
        try:  # a calendar may end with this year
            return exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
        except exchange_calendars.errors.InvalidCalendarName as error:
            raise UnknownCalendar(f"{name!r} is no exchange calendar: expected one such as XSHG or XNYS") from error
        except ValueError as error:
            reason = str(error)
    raise UnknownCalendar(f"calendar {name} does not cover {year}: {reason}")


def check_zone(name: str) -> None:
    """Raise ValueError for what is no IANA time zone."""
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone: expected an IANA name such as Asia/Shanghai")


def check_calendar(name: str, now: datetime) -> None:
    """Raise UnknownCalendar for what is no exchange calendar of this year."""
    _calendar(name, now.year)
