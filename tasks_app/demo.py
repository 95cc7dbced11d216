"""What bin/up follows: the recording that comes with the project, somebody's file, or a made-up market.

Whatever is there already stays: what runs goes on, what was interrupted is the janitor's, what a user stopped stays
stopped. Only what ended by an error of its own is tried again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from processors.contract import FeedSpec
from tasks_app import services
from tasks_app.models import EXPECTED_TO_GO_ON, Feed, Processor, Task
from tasks_app.states import Ending

MODEL = "cluster_regression"
DEFAULT_EVERY_S = 5.0


class Unusable(Exception):
    """What was asked for can't be followed; one sentence says why and what to do."""


@dataclass(frozen=True)
class Wish:
    """What to follow. None is what was not given."""

    no_demo: bool = False
    replay: str | None = None
    simulate: int | None = None
    every: float | None = None
    columns: str | None = None
    zone: str | None = None
    calendar: str | None = None
    interval: float | None = None
    pace: float | None = None
    volume_unit: str | None = None
    volume_mode: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wish:
        known: dict[str, Any] = {name: options.get(name) for name in cls.__dataclass_fields__}
        known["no_demo"] = bool(known["no_demo"])
        known["replay"] = str(known["replay"]) if known["replay"] else None
        return cls(**known)


@dataclass(frozen=True)
class Source:
    """Where the ticks come from: a feed, who hosts it, and ``said``, lines for people."""

    spec: FeedSpec
    processor: str
    params: dict[str, Any]
    said: tuple[str, ...] = ()


def start(source: Source | None) -> list[str]:
    """Make sure that the feed exists, that its task and a model on it were started; return lines for people."""
    if source is None:
        return []
    feed = _feed(source)
    started = [_ensure(name, feed, values) for name, values in ((source.processor, source.params), (MODEL, {}))]
    return [*source.said, *started]


def expected_to_run() -> list[Task]:
    """Return the model tasks that run or will be gone on with, and whose feeds do, too."""
    fed = Task.objects.filter(EXPECTED_TO_GO_ON, kind="feed").values("feed")
    return list(Task.objects.filter(EXPECTED_TO_GO_ON, kind="stream", feed__in=fed).select_related("feed"))


def every_s(feed: Feed) -> float:
    """Return the seconds between two snapshots of a feed while its market is open; 0 for as fast as can be."""
    task = Task.objects.filter(EXPECTED_TO_GO_ON, kind="feed", feed=feed).first()
    pace = task.params.get("pace", 1.0) if task else 1.0
    return feed.interval_ms / 1000 / pace if pace else 0.0


# ---- where the ticks come from


def source(wish: Wish) -> Source | None:
    """Return what is wished for, None for nothing; raise Unusable. Needs no database."""
    if wish.no_demo:
        return None
    if wish.simulate is not None:
        return _simulated(wish.simulate, wish.every or DEFAULT_EVERY_S)
    return _recording(wish) if wish.replay else _sample()


def _sample() -> Source:
    from processors.feeds.sample import DEMO_PATH, DEMO_SPEC

    if not (settings.BASE_DIR / DEMO_PATH).is_file():
        raise Unusable(f"The recording {DEMO_PATH} is missing: get it back, or start with --no-demo.")
    return Source(replace(DEMO_SPEC, name="demo"), "replay", {"path": DEMO_PATH, "pace": 1.0, "loop": True})


def _simulated(codes: int, every_s: float) -> Source:
    from processors.contract import slices_for
    from processors.feeds.simulate import simulated_spec

    name = f"simulated-{codes}-every-{every_s:g}s".replace(".", "_")
    spec = simulated_spec(name, every_s, slices=slices_for(codes))
    said = f"feed {spec.name}: {codes} made-up stocks"
    return Source(spec, "simulator", {"codes": codes, "every_s": every_s}, (said,))


def _recording(wish: Wish) -> Source:
    """Infer what the user did not give, and say what was inferred."""
    from processors.feeds.fields import MissingColumn, written
    from processors.feeds.infer import infer
    from processors.feeds.tally import SourceError

    path = Path(wish.replay or "")
    _check(wish)
    given: dict[str, Any] = {
        "zone": wish.zone,
        "calendar": wish.calendar,
        "interval_ms": round(wish.interval * 1000) if wish.interval else None,
        "volume_unit": wish.volume_unit,
        "volume_mode": wish.volume_mode,
    }
    try:
        columns = written(wish.columns) if wish.columns else {}
        fields, said = infer(
            path, mapping=columns, **{name: value for name, value in given.items() if value is not None}
        )
    except SourceError as error:
        hint = ""
        if isinstance(error, MissingColumn):
            hint = f" Or say which column is which: --columns {shlex.quote(error.guess)}"
        raise Unusable(f"{error}.{hint}") from error
    fields = {**fields, "name": fields["name"][:64] or "replay", "title": f"{path.name} (replay)"[:100]}
    lines = tuple(f"{path.name}: {sentence}" for sentence in said)
    pace = 1.0 if wish.pace is None else wish.pace
    params = {"path": str(path), "pace": pace, "loop": True, "columns": columns}
    return Source(FeedSpec(**fields), "replay", params, lines)


def _check(wish: Wish) -> None:
    try:
        ZoneInfo(wish.zone or "UTC")
    except (ValueError, OSError, LookupError) as error:
        raise Unusable(f"--zone {wish.zone} is no time zone: give an IANA name such as Asia/Shanghai.") from error
    if wish.calendar in (None, "24/7"):
        return
    import exchange_calendars

    if wish.calendar not in exchange_calendars.get_calendar_names(include_aliases=True):
        raise Unusable(f"--calendar {wish.calendar} is not known: give one such as XSHG or XNYS, or 24/7.")


# ---- rows and tasks


def _feed(source: Source) -> Feed:
    values = {name: value for name, value in asdict(source.spec).items() if name != "name"}
    host = {"processor": Processor.objects.get(name=source.processor), "params": source.params}
    feed, _ = Feed.objects.update_or_create(name=source.spec.name, defaults={**values, **host})
    return feed


def _ensure(processor: str, feed: Feed, params: dict[str, Any]) -> str:
    """Start a task of a processor on a feed if there never was one; return what was done."""
    there = Task.objects.filter(processor__name=processor, feed=feed)
    going = there.filter(EXPECTED_TO_GO_ON).first()
    if going:
        other = any(going.params.get(name) != value for name, value in params.items())
        told = " as it was started: for the options given now, stop it and start it anew on the page" if other else ""
        return f"{going} on {feed.name} goes on{told}"
    last = there.first()
    if last is None:
        return f"{services.create(processor=processor, feed=feed.name, params=params)} on {feed.name} started"
    if last.ending != Ending.FAILED:
        return f"{last} on {feed.name} stays {last.status}: start it from the page"
    services.retry(last, reason="tried again by bin/up")
    return f"{last} on {feed.name} had failed ({last.reason}): tried again"
