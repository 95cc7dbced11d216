"""Requests that nobody sends by accident: each is refused by what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tasks_app import feeds, services, uploads
from tasks_app.models import Feed, Processor, Task

pytestmark = pytest.mark.django_db
SCHEMA = {
    "type": "object",
    "properties": {
        "pace": {"type": "number", "minimum": 0, "default": 1.0},
        "codes": {"type": "integer", "minimum": 2, "default": 4},
        "begins": {"type": "string", "format": "date", "default": "2021-12-01"},
    },
}
DIGITS = "9" * 5_000


@pytest.fixture
def http() -> Client:
    Processor.objects.create(name="toy", title="Toy", kind="feed", schema=SCHEMA)
    client = Client(raise_request_exception=False)
    client.force_login(
        get_user_model().objects.create_superuser("root"), backend="django.contrib.auth.backends.ModelBackend"
    )
    return client


@pytest.fixture
def feed(http: Client) -> Feed:
    return feeds.create(processor="toy", user=None, name="toys", params={})


def post(http: Client, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = http.post(path, text, content_type="application/json", headers=headers)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 50_000])
@pytest.mark.parametrize("path", ["/api/tasks", "/api/feeds", "/api/session"])
def test_a_body_that_is_nested_deeply(http: Client, path: str, body: str) -> None:
    assert post(http, path, body)[0] == 400


def test_a_token_that_is_no_text(http: Client) -> None:
    answer = Client(raise_request_exception=False).get("/api/tasks", HTTP_AUTHORIZATION="Bearer \xff\xfe")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/api/tasks/{DIGITS}/events", 404),
        (f"/api/tasks/{DIGITS}/result", 404),
        (f"/api/schedules/{DIGITS}/runs", 404),
        (f"/get_curr_oltp_result?pname=toy&pid={DIGITS}", 422),
        (f"/api/audit?search={'a' * 60_000}", 422),
        (f"/api/tasks?search={'a' * 201}", 422),
        ("/api/tasks?created_after=0001-01-01T00:00:00%2B14:00", 422),
        ("/api/audit?before=9999-12-31T23:59:59-14:00", 422),
    ],
)
def test_numbers_texts_and_times_without_bounds(http: Client, path: str, status: int) -> None:
    assert http.get(path).status_code == status


@pytest.mark.parametrize(
    "query", [f"limit={DIGITS}", "limit=٣", "after=٣-٣", f"after={'9' * 30}-0", "after=-", "after=1-1-1"]
)
def test_an_id_that_is_none_is_not_said_to_be_an_answer_of_redis(http: Client, feed: Feed, query: str) -> None:
    task = services.create(processor="toy", feed="toys", params={}, start=False)
    answer = http.get(f"/api/tasks/{task.pk}/results?{query}")
    assert answer.status_code == 422 and query.partition("=")[0] in answer.json()["errors"]


@pytest.mark.parametrize(
    ("params", "name"), [({"pace": 1e400}, "pace"), ({"begins": "foo"}, "begins"), ({"codes": 2.5}, "codes")]
)
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
def test_values_that_a_processor_would_die_of(
    http: Client, feed: Feed, params: dict[str, Any], name: str, headers: dict[str, str]
) -> None:
    text = json.dumps({"processor": "toy", "feed": "toys", "params": params}).replace("Infinity", "1e400")
    status, told = post(http, "/api/tasks", text, **headers)
    assert status == 422 and name in told["errors"] and not Task.objects.exists()


def test_a_whole_number_stays_one(http: Client, feed: Feed) -> None:
    task = services.create(processor="toy", feed="toys", params={"codes": 4.0}, start=False)
    assert repr(task.params["codes"]) == "4"


def test_a_feed_that_was_deleted_does_not_come_back(http: Client, feed: Feed) -> None:
    Feed.objects.all().delete()
    with pytest.raises(services.Conflict, match="deleted meanwhile"):
        feeds.change(feed, user=None, title="x")
    assert not Feed.objects.exists()


def test_a_name_that_was_taken_meanwhile_is_told(http: Client, feed: Feed) -> None:
    with pytest.raises(services.Invalid, match="already"):
        feeds.save_new(Feed(name="toys", processor=feed.processor))


def test_the_admin_changes_no_feed_that_runs_and_no_name(http: Client, feed: Feed) -> None:
    path = f"/admin/tasks_app/feed/{feed.pk}/change/"
    facts = {name: value for name, value in vars(feed).items() if value and not name.startswith("_")}
    form = {**facts, "processor": feed.processor_id, "params": "{}", "name": "renamed"}
    http.post(path, {**form, "title": "one"})
    feed.refresh_from_db()
    assert (feed.name, feed.title) == ("toys", "one")
    services.create(processor="toy", feed="toys", params={})
    answer = http.post(path, {**form, "title": "two"})
    feed.refresh_from_db()
    assert feed.title == "one" and b"stop it first" in answer.content


def test_what_is_wrong_inside_is_told_by_its_whole_name(http: Client) -> None:
    spec = {"name": "x", "interval_ms": "x", "lot_size": -1}
    status, told = post(http, "/api/uploads/0123456789abcdef/replay", {"mapping": {}, "spec": spec})
    assert status == 422 and set(told["errors"]) == {"spec.interval_ms", "spec.lot_size"}
    assert "integer" in told["errors"]["spec.interval_ms"][0]


def test_an_upload_keeps_no_file_of_no_use_and_takes_a_long_name(http: Client, settings: Any, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    with pytest.raises(services.Invalid):
        uploads.store("a.csv", iter([b"\x00\r\x01,\rno text at all"]), user=None)
    assert not list((tmp_path / "uploads").iterdir())
    rows = "".join(f"2021-12-01 09:31:0{second},600000,10,,1,10,0\n" for second in range(9))
    data = f"time,code,price,change,volume,amount,type\n{rows}".encode()
    assert uploads.store("中" * 300 + ".csv", iter([data]), user=None).error == ""
