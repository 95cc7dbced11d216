"""What bin/up starts as its demo: rows of feeds and tasks, once, and what a person did to them stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks_app import demo, lifecycle, registry, services
from tasks_app.models import Feed, Processor, Task
from tasks_app.states import Ending, Status

pytestmark = pytest.mark.usefixtures("processors")
SAMPLES = Path(__file__).parents[3] / "sample"


@pytest.fixture(scope="module")
def registered(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The registry's processors, checked once: it takes a fresh process and some seconds."""
    with django_db_blocker.unblock():
        registry.reload()
        yield
        Processor.objects.all().delete()


@pytest.fixture
def processors(registered: None, db: None) -> None:
    """Rows of the registry, in a database that forgets what a test does."""


def ended(task: Task, to: Status, ending: Ending) -> None:
    task.refresh_from_db()
    for status, facts in ((Status.STARTED, {"owner": "worker:token"}), (to, {"ending": ending, "reason": "so"})):
        task = lifecycle.transition(task, status, actor="test", **facts)


def test_starts_a_feed_and_a_model_once() -> None:
    demo.start(demo.source(demo.Wish()))
    said = demo.start(demo.source(demo.Wish()))
    assert [task.processor.name for task in Task.objects.order_by("id")] == ["replay", "cluster_regression"]
    assert all(line.endswith("goes on") for line in said)
    assert [task.processor.name for task in demo.expected_to_run()] == ["cluster_regression"]


def test_starts_nothing_when_not_wanted() -> None:
    assert demo.start(demo.source(demo.Wish(no_demo=True))) == []
    assert not Task.objects.exists() and not Feed.objects.exists()


def test_leaves_what_a_user_stopped() -> None:
    demo.start(demo.source(demo.Wish()))
    for task in Task.objects.all():
        services.stop(task)
    demo.start(demo.source(demo.Wish()))
    assert {task.status for task in Task.objects.all()} == {Status.STOPPED}
    assert demo.expected_to_run() == []


def test_leaves_what_was_interrupted_to_the_janitor() -> None:
    demo.start(demo.source(demo.Wish()))
    for task in Task.objects.all():
        ended(task, Status.TERMINATED, Ending.SHUTDOWN)
    demo.start(demo.source(demo.Wish()))
    assert {task.attempt for task in Task.objects.all()} == {1}
    assert len(demo.expected_to_run()) == 1


def test_tries_again_what_failed() -> None:
    demo.start(demo.source(demo.Wish()))
    ended(Task.objects.get(kind="stream"), Status.TERMINATED, Ending.FAILED)
    assert "tried again" in demo.start(demo.source(demo.Wish()))[1]
    assert Task.objects.get(kind="stream").attempt == 2


def test_infers_what_is_not_given_and_says_so() -> None:
    path = str(SAMPLES / "ashare_3s_30_20211201.parquet")
    said = demo.start(demo.source(demo.Wish(replay=path, interval=6)))
    feed = Feed.objects.get()
    assert (feed.zone, feed.calendar, feed.interval_ms, feed.volume_unit) == (
        "Asia/Shanghai",
        "XSHG",
        6_000,
        "lots",
    )
    assert any("calendar XSHG" in line for line in said) and not any("interval_ms" in line for line in said)


def test_columns_of_other_names_are_asked_for_and_taken(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    lines = [f"2024-03-11 09:{minute},AAPL,{170 + minute},100,17000" for minute in range(30, 40)]
    path.write_text("\n".join(["datetime,ticker,close,vol,value of it", *lines]))
    with pytest.raises(
        demo.Unusable, match=r"--columns 'time=datetime,code=ticker,price=close,volume=vol,amount=price\*volume"
    ):
        demo.source(demo.Wish(replay=str(path)))
    with pytest.raises(demo.Unusable, match=r"columns 'price': expected field=column"):
        demo.source(demo.Wish(replay=str(path), columns="price"))
    demo.start(demo.source(demo.Wish(replay=str(path), columns="price=close, volume=vol, amount=value of it")))
    assert Feed.objects.get().interval_ms == 60_000
    assert Task.objects.get(kind="feed").params["columns"] == {
        "price": "close", "volume": "vol", "amount": "value of it",
    }  # fmt: skip


def test_a_file_is_followed_faster_and_a_running_one_as_it_was_started() -> None:
    wish = demo.Wish(replay=str(SAMPLES / "ashare_3s_30_20211201.parquet"), pace=6)
    demo.start(demo.source(wish))
    assert demo.every_s(Feed.objects.get()) == 0.5
    assert [" as it was started" in line for line in demo.start(demo.source(wish))[-2:]] == [False, False]
    said = demo.start(demo.source(replace(wish, pace=0)))
    assert "goes on as it was started" in said[-2] and demo.every_s(Feed.objects.get()) == 0.5


@pytest.mark.parametrize("wish", [{"zone": "Mars/Olympus"}, {"calendar": "XNONE"}])
def test_refuses_a_zone_or_calendar_that_does_not_exist(wish: dict[str, str]) -> None:
    with pytest.raises(demo.Unusable, match="give"):
        demo.start(demo.source(demo.Wish(replay=str(SAMPLES / "ashare_3s_30_20211201.parquet"), **wish)))


def test_simulates_a_market_that_says_so() -> None:
    demo.start(demo.source(demo.Wish(simulate=50, every=0.5)))
    feed = Feed.objects.get()
    assert (feed.name, feed.simulated, feed.interval_ms) == ("simulated-50-every-0_5s", True, 500)
    assert Task.objects.get(kind="feed").params["codes"] == 50
