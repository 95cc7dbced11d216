"""How a feed is doing, in one word and the numbers behind it: for the API, the page and Prometheus."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from processors.bus import Bus
from processors.contract import Header
from processors.feeds.sessions import Sessions
from tasks_app import results
from tasks_app.models import Feed, Task
from tasks_app.states import LIVE, Status

State = Literal["off", "starting", "disconnected", "closed", "waiting", "stale", "partial", "good"]
STALE_INTERVALS = 3
STALE_LEAST_S = 10.0
PARTIAL_BELOW = 0.5  # of the expected stocks


@dataclass(frozen=True)
class Health:
    """``state`` in one word, ``why`` in one sentence. ``age_s``: since the newest snapshot was published; ``delay_s``:
    from its end to its publishing. Counts are of the running attempt. A market that is closed is no stale feed."""

    feed: str
    state: State
    why: str
    task: int | None = None
    last_time: int | None = None
    age_s: float | None = None
    delay_s: float | None = None
    session: str = ""
    received: int = 0
    expected: int = 0
    snapshots: int = 0
    rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)
    late: int = 0
    duplicates: int = 0
    gaps: int = 0
    sources: list[dict[str, Any]] = field(default_factory=list)
    budget: dict[str, Any] | None = None
    opens_at: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def of(feed: Feed, *, now_ms: int | None = None) -> Health:
    """Return a feed's health at a time, now unless told. Raises ``redis.RedisError`` when Redis does not answer."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    bus = Bus(results.default().client, feed.name)
    last, recording = bus.last(), bool(bus.source())
    task = feed.tasks.filter(kind="feed", status__in=LIVE).first()
    facts = task.progress if task else {}
    age_s = max(now_ms - last.published_ms, 0) / 1000 if last else None
    opens_at = None if recording else _closed_until(feed, now_ms)
    state, why = _judge(feed, task, last, age_s, recording=recording, closed=opens_at is not None)
    return Health(
        feed=feed.name,
        state=state,
        why=why,
        task=task.pk if task else None,
        last_time=last.time if last else None,
        age_s=age_s,
        delay_s=facts["delay_ms"] / 1000 if "delay_ms" in facts else None,
        session=last.session if last else "",
        received=last.received if last else 0,
        expected=last.expected if last else 0,
        snapshots=facts.get("snapshots", 0),
        rows=facts.get("received", 0),
        opens_at=opens_at or None,
        **{name: facts[name] for name in _AS_TOLD if name in facts},
    )


_AS_TOLD = ("rejected", "noted", "samples", "late", "duplicates", "gaps", "sources", "budget")


def _judge(
    feed: Feed, task: Task | None, last: Header | None, age_s: float | None, *, recording: bool, closed: bool
) -> tuple[State, str]:
    if task is None:
        return "off", "no task of it runs"
    fresh = last is not None and age_s is not None and age_s <= _limit_s(feed, last)
    if closed and not fresh:
        return "closed", "its market is closed"
    sources = task.progress.get("sources", [])
    if sources and not any(source.get("active") for source in sources):
        told = "; ".join(f"{each['name']} is {each['state']} {each['error']}".strip() for each in sources)
        return "disconnected", told
    if task.status != Status.RUNNING or last is None or age_s is None:
        return "starting", "nothing was published yet"
    if last.pace == 0:
        return ("waiting" if age_s > STALE_LEAST_S else "good"), "it is as fast as its readers"
    if not fresh:
        return "stale", f"nothing was published for {age_s:.0f} s, expected every {feed.interval_ms / 1000:g} s"
    if last.trading and last.received < PARTIAL_BELOW * last.expected:
        return "partial", f"{last.received} of {last.expected} stocks are in its newest snapshot"
    return "good", ""


def _limit_s(feed: Feed, last: Header) -> float:
    return max(STALE_INTERVALS * feed.interval_ms / 1000 / (last.pace or 1.0), STALE_LEAST_S)


def _closed_until(feed: Feed, now_ms: int) -> int | None:
    """Return when the market opens again, 0 if nobody knows, None while it is open."""
    if feed.calendar == "24/7" or feed.simulated:
        return None
    sessions = _sessions(feed.calendar, feed.zone)
    return None if sessions.at(now_ms)[1] else (sessions.next_open(now_ms) or 0)


_known: dict[tuple[str, str], Sessions] = {}


def _sessions(calendar: str, zone: str) -> Sessions:
    """Return the one that all requests share: while a calendar is built, none begins to build it again."""
    return _known.setdefault((calendar, zone), Sessions(calendar, zone))
