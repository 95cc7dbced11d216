"""Trading sessions by the exchange's calendar."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from processors.feeds.sessions import Sessions


def ms(utc: str) -> int:
    return int(np.datetime64(utc, "ms").astype(np.int64))


@pytest.mark.parametrize(
    ("local", "session", "trading"),
    [
        ("2021-12-01T09:25", "2021-12-01/pre", False),
        ("2021-12-01T09:30", "2021-12-01/pre", False),
        ("2021-12-01T09:30:03", "2021-12-01/am", True),
        ("2021-12-01T11:30", "2021-12-01/am", True),
        ("2021-12-01T11:30:03", "2021-12-01/lunch", False),
        ("2021-12-01T13:00", "2021-12-01/lunch", False),
        ("2021-12-01T13:00:03", "2021-12-01/pm", True),
        ("2021-12-01T15:00", "2021-12-01/pm", True),
        ("2021-12-01T15:00:03", "2021-12-01/post", False),
        ("2021-12-02T00:30", "2021-12-02/pre", False),
        ("2021-12-04T10:00", "2021-12-04/closed", False),
        ("2021-10-01T10:00", "2021-10-01/closed", False),
        ("2021-12-31T23:00", "2021-12-31/post", False),
        ("2022-01-01T10:00", "2022-01-01/closed", False),
        ("2090-01-05T10:00", "2090-01-05/unknown", False),
    ],
)
def test_shanghai(local: str, session: str, trading: bool) -> None:
    assert SHANGHAI.at(ms(local) - 8 * 3_600_000) == (session, trading)


@pytest.mark.parametrize(
    ("utc", "session", "trading"),
    [
        ("2021-12-01T14:30", "2021-12-01/pre", False),
        ("2021-12-01T14:30:01", "2021-12-01/day", True),
        ("2021-12-01T21:00", "2021-12-01/day", True),
        ("2021-12-02T00:00", "2021-12-01/post", False),
        ("2021-11-26T18:30", "2021-11-26/post", False),  # the day after Thanksgiving closes at 13:00
        ("2021-07-01T13:31", "2021-07-01/day", True),  # summer time
    ],
)
def test_new_york(utc: str, session: str, trading: bool) -> None:
    assert NEW_YORK.at(ms(utc)) == (session, trading)


def test_a_market_that_never_closes() -> None:
    assert Sessions("24/7", "UTC").at(ms("2021-12-04T03:00")) == ("24/7", True)


def test_only_the_years_asked_for_are_built() -> None:
    sessions = Sessions("XSHG", "Asia/Shanghai")
    sessions.at(ms("2021-12-01T03:00"))
    assert list(sessions._years) == [2021]


SHANGHAI = Sessions("XSHG", "Asia/Shanghai")
NEW_YORK = Sessions("XNYS", "America/New_York")


def test_a_calendar_is_built_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []

    def build(self: Sessions, year: int) -> None:
        built.append(year)
        time.sleep(0.1)

    monkeypatch.setattr(Sessions, "_build", build)
    sessions = Sessions("XSHG", "Asia/Shanghai")
    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(sessions.at, [1_638_322_200_000] * 6))
    assert built == [2021] and told == [("2021-12-01/unknown", False)] * 6


@pytest.mark.parametrize(
    ("calendar", "zone", "times", "same"),
    [
        ("CMES", "America/Chicago", ("2021-12-01 23:59", "2021-12-02 00:01"), True),  # a night of futures
        ("CMES", "America/Chicago", ("2021-12-01 15:59", "2021-12-01 17:01"), False),
        ("XASX", "UTC", ("2021-12-01 23:59", "2021-12-02 00:01"), True),
        ("XSHG", "Asia/Shanghai", ("2021-12-31 15:01", "2022-01-04 09:15"), False),
        ("XSHG", "Asia/Shanghai", ("2021-12-01 09:15", "2021-12-01 15:01"), True),
    ],
)
def test_a_trading_day_is_the_exchanges_wherever_midnight_is(
    calendar: str, zone: str, times: tuple[str, str], same: bool
) -> None:
    moments = np.array([datetime.fromisoformat(each).replace(tzinfo=ZoneInfo(zone)).timestamp() for each in times])
    days = Sessions(calendar, zone).trading_days((moments * 1000).astype(np.int64))
    assert (days[0] == days[1]) == same
