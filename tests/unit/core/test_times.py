"""When schedules are due: zones, weekdays, daylight saving, holidays, half days, lunch. The clock is an input."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest

from tasks_app.times import Clock, Session, UnknownCalendar, due, next_due

WORKDAYS = (0, 1, 2, 3, 4)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def texts(moments: list[datetime]) -> list[str]:
    return [moment.strftime("%m-%d %H:%M") for moment in moments]


def test_a_time_of_day_is_due_on_its_weekdays_in_its_zone() -> None:
    rule = Clock(time(9, 15), WORKDAYS, "Asia/Shanghai")
    week = due(rule, at("2021-12-03T00:00"), at("2021-12-07T00:00"))  # Friday to Tuesday
    assert texts(week) == ["12-03 01:15", "12-06 01:15"]


def test_the_interval_is_open_at_its_begin_and_closed_at_its_end() -> None:
    rule, moment = Clock(time(12), WORKDAYS, "UTC"), at("2021-12-03T12:00")
    assert due(rule, moment - timedelta(seconds=1), moment) == [moment]
    assert due(rule, moment, moment + timedelta(hours=1)) == []
    assert due(rule, moment, moment - timedelta(hours=1)) == [], "a clock that was set back"


def test_daylight_saving_moves_the_moment_and_never_doubles_or_drops_it() -> None:
    everyday = tuple(range(7))
    skipped = Clock(time(2, 30), everyday, "America/New_York")
    assert texts(due(skipped, at("2021-03-13T00:00"), at("2021-03-16T00:00"))) == [
        "03-13 07:30",
        "03-14 07:30",  # there is no 2:30 this day: it is 3:30
        "03-15 06:30",
    ]
    repeated = Clock(time(1, 30), everyday, "America/New_York")
    assert texts(due(repeated, at("2021-11-06T00:00"), at("2021-11-09T00:00"))) == [
        "11-06 05:30",
        "11-07 05:30",  # 1:30 comes twice this day: the first
        "11-08 06:30",
    ]
    opening = Session("XNYS", "open", 0)
    assert texts(due(opening, at("2021-03-12T00:00"), at("2021-03-16T00:00"))) == ["03-12 14:30", "03-15 13:30"]


def test_a_session_has_open_lunch_resume_and_close_and_takes_an_offset() -> None:
    day = at("2021-12-01T00:00"), at("2021-12-02T00:00")
    found = {name: texts(due(Session("XSHG", name, 0), *day)) for name in ("open", "lunch", "resume", "close")}  # type: ignore[arg-type]
    assert found == {
        "open": ["12-01 01:30"],
        "lunch": ["12-01 03:30"],
        "resume": ["12-01 05:00"],
        "close": ["12-01 07:00"],
    }
    assert texts(due(Session("XSHG", "open", -10), *day)) == ["12-01 01:20"]
    assert texts(due(Session("XSHG", "close", 5), *day)) == ["12-01 07:05"]


def test_there_is_nothing_on_holidays_and_no_lunch_where_there_is_none() -> None:
    golden_week = at("2021-09-30T12:00"), at("2021-10-08T00:00")
    assert due(Session("XSHG", "open", 0), *golden_week) == []
    assert next_due(Session("XSHG", "open", 0), golden_week[0]) == at("2021-10-08T01:30")
    assert next_due(Session("XNYS", "lunch", 0), at("2021-12-01T00:00")) is None


def test_a_half_day_closes_early() -> None:
    close = Session("XNYS", "close", 0)
    assert texts(due(close, at("2021-11-24T00:00"), at("2021-11-27T00:00"))) == ["11-24 21:00", "11-26 18:00"]


def test_an_offset_reaches_over_the_year() -> None:
    late = Session("XNYS", "close", 12 * 60)
    assert texts(due(late, at("2021-12-31T22:00"), at("2022-01-01T22:00"))) == ["01-01 09:00"]


def test_a_calendar_that_is_none_is_named() -> None:
    with pytest.raises(UnknownCalendar, match="'XMARS' is no exchange calendar"):
        due(Session("XMARS", "open", 0), at("2021-12-01T00:00"), at("2021-12-02T00:00"))
