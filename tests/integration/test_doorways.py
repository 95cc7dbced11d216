"""What people and programs do from outside: REST, websocket, roles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from platform_process import ROOT, Platform, wait_for
from test_life import simulate

pytestmark = pytest.mark.timeout(240)

SAMPLES = ROOT / "tests" / "fixtures" / "messages"


@pytest.fixture(scope="module")
def followed(platform: Platform) -> int:
    """A task that predicts, on a simulated feed."""
    simulate(platform, "doorways")
    task = platform.create("cluster_regression", "doorways")
    platform.predicts(task, above=12)
    return task


def socket(platform: Platform, client: httpx.Client, origin: str | None = None) -> Any:
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    return websockets.connect(
        f"ws://127.0.0.1:{platform.port}/ws/live",
        origin=origin or platform.url,  # type: ignore[arg-type]
        additional_headers={"Cookie": cookies},
        max_size=2**24,
    )


async def until(connection: Any, **wanted: Any) -> dict[str, Any]:
    """Return the first message with these fields."""
    async for text in connection:
        message = json.loads(text)
        if all(message.get(name) == value for name, value in wanted.items()):
            return message
    raise AssertionError(f"closed before {wanted}")


async def say(connection: Any, **message: Any) -> None:
    await connection.send(json.dumps(message))


def shape(value: Any) -> Any:
    """Return the names in a message, whatever its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


async def test_a_client_gets_what_redis_holds_and_then_each_result_in_order(platform: Platform, followed: int) -> None:
    async with socket(platform, platform.http) as connection:
        assert (await until(connection, type="hello"))["user"] == "admin"
        await say(connection, type="subscribe", topic="results", task=followed, after=None)
        snapshot = await until(connection, type="snapshot", topic="results")
        assert snapshot["restart"] and len(snapshot["items"]) > 10
        last = snapshot["items"][-1]["id"]
        for _ in range(4):
            update = await until(connection, type="update", topic="results")
            assert update["prev"] == last
            last = update["item"]["id"]


async def test_a_client_that_comes_back_resumes_by_its_last_id(platform: Platform, followed: int) -> None:
    items = platform.items(followed)
    async with socket(platform, platform.http) as connection:
        await say(connection, type="subscribe", topic="results", task=followed, after=items[-5].id)
        snapshot = await until(connection, type="snapshot", topic="results")
        assert snapshot["restart"] is False
        assert [item["id"] for item in snapshot["items"]][:4] == [item.id for item in items[-4:]]
        await say(connection, type="subscribe", topic="results", task=followed, after="1-0")
        assert (await until(connection, type="snapshot", topic="results"))["restart"] is True


async def test_stocks_come_whole_and_then_as_changes(platform: Platform, followed: int) -> None:
    cluster = platform.items(followed)[-1].numbers["clusters"][0]
    async with socket(platform, platform.http) as connection:
        await say(connection, type="subscribe", topic="stocks", task=followed, cluster=cluster["id"])
        first = await until(connection, type="stocks", full=True)
        assert len(first["columns"]["code"]) == first["total"] > 0
        assert set(first["columns"]["cluster"]) == {cluster["id"]}
        second = await until(connection, type="stocks")
        assert second["id"] > first["id"]


@pytest.fixture
def named(platform: Platform, tmp_path: Path) -> None:
    """Two stocks of the simulator have names."""
    (tmp_path / "names.csv").write_text("code,name\nSIM000003,Orchard Foods\nSIM000007,Apple Orchards\n")
    platform.manage("import_instruments", str(tmp_path / "names.csv"), "--calendar", "24/7")


async def test_stocks_are_found_by_name(platform: Platform, followed: int, named: None) -> None:
    async with socket(platform, platform.http) as connection:
        await say(connection, type="subscribe", topic="stocks", task=followed, query="orchard")
        found = await until(connection, type="stocks", full=True)
        assert set(found["columns"]["code"]) <= {"SIM000003", "SIM000007"} and found["total"] > 0


async def test_messages_have_the_shape_of_the_samples_that_the_front_end_is_tested_with(
    platform: Platform, followed: int
) -> None:
    def sample(name: str) -> dict[str, Any]:
        return json.loads((SAMPLES / name).read_text())

    async with socket(platform, platform.http) as connection:
        await say(connection, type="subscribe", topic="tasks")
        tasks = await until(connection, type="snapshot", topic="tasks")
        await say(connection, type="subscribe", topic="results", task=followed)
        update = await until(connection, type="update", topic="results")
    expected = sample("server_results_update.json")
    assert set(shape(update["item"]["numbers"])) >= set(shape(expected["item"]["numbers"]))
    assert set(update["item"]["numbers"]["clusters"][0]) >= set(expected["item"]["numbers"]["clusters"][0])
    assert set(update["item"]["meta"]) >= set(expected["item"]["meta"])
    assert set(tasks["tasks"][0]) >= set(sample("server_tasks_snapshot.json")["tasks"][0])


async def test_a_message_that_cannot_be_followed_is_answered_with_what_was_expected(platform: Platform) -> None:
    async with socket(platform, platform.http) as connection:
        for text, expected in (
            ("nonsense", "not JSON"),
            ("[]", "expected 'subscribe tasks'"),
            ('{"type":"subscribe","topic":"weather"}', "expected 'subscribe tasks'"),
            ('{"type":"subscribe","topic":"results","task":"x"}', "valid integer"),
            ('{"type":"subscribe","topic":"results","task":1,"after":"yesterday"}', "should match pattern"),
        ):
            await connection.send(text)
            assert expected in (await until(connection, type="error"))["detail"]


async def test_the_websocket_refuses_strangers(platform: Platform) -> None:
    async with socket(platform, httpx.Client()) as connection:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd and closed.value.rcvd.code == 4401
    for origin in ("http://elsewhere.example", "null"):
        with pytest.raises(websockets.InvalidStatus):
            async with socket(platform, platform.http, origin=origin):
                pass


async def test_logout_closes_the_socket(platform: Platform) -> None:
    client = platform.client("viewer")
    async with socket(platform, client) as connection:
        await until(connection, type="hello")
        assert client.delete("/api/session").status_code == 204
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                await connection.recv()
        assert closed.value.rcvd and closed.value.rcvd.code == 4401


def test_k_changes_while_it_runs_and_is_written_down(platform: Platform, followed: int) -> None:
    assert platform.ask(followed, "live", name="k", value=6).status_code == 202

    def six() -> bool:
        item = platform.results.latest(followed)
        return bool(item and len(item.numbers["clusters"]) == 6)

    wait_for("six clusters", six, 10)
    assert platform.task(followed)["params"]["k"] == 6
    events = platform.http.get(f"/api/tasks/{followed}/events").json()["results"]
    applied = next(event for event in events if event["kind"] == "applied")
    assert applied["details"]["applied"] == {"k": 6} and applied["details"]["index"] > 0


def test_what_does_not_fit_is_refused_by_name(platform: Platform, followed: int) -> None:
    def post(**body: Any) -> tuple[int, dict[str, Any]]:
        answer = platform.http.post("/api/tasks", json=body)
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["errors"]

    given = {"processor": "cluster_regression", "feed": "doorways"}
    status, errors = post(**given, params={"k": 99, "regression": "oracle", "colour": "red"})
    assert status == 422 and set(errors) == {"k", "regression", "params"}
    assert "99" in errors["k"][0] and "32" in errors["k"][0]
    assert post(processor="rumour", feed="doorways")[1]["processor"]
    assert post(processor="cluster_regression", feed="nowhere")[1]["feed"]
    assert platform.ask(followed, "live", name="window", value=5).status_code == 422
    second = platform.http.post("/api/tasks", json={"processor": "simulator", "feed": "doorways"})
    assert second.status_code == 409 and "live task" in second.json()["detail"]


@pytest.mark.parametrize(("role", "reads", "writes"), [(None, 401, 401), ("viewer", 200, 403), ("operator", 200, 201)])
def test_roles(platform: Platform, followed: int, role: str | None, reads: int, writes: int) -> None:
    client = platform.client(role) if role else httpx.Client(base_url=platform.url)
    for path in (
        "processors",
        "feeds",
        "tasks",
        f"tasks/{followed}",
        f"tasks/{followed}/result",
        f"tasks/{followed}/events",
    ):
        assert client.get(f"/api/{path}").status_code == reads, path
    body = {"processor": "stock_avg", "feed": "doorways", "start": False}
    assert client.post("/api/tasks", json=body).status_code == writes
    if writes != 201:
        for action in ("start", "stop", "retry", "live"):
            assert client.post(f"/api/tasks/{followed}/{action}", json={}).status_code == writes


def test_a_change_without_csrf_token_is_refused(platform: Platform, followed: int) -> None:
    client = platform.client("operator")
    del client.headers["X-CSRFToken"]
    assert client.post(f"/api/tasks/{followed}/stop").status_code == 403


def test_results_of_a_range(platform: Platform, followed: int) -> None:
    page = platform.http.get(f"/api/tasks/{followed}/results", params={"limit": 3}).json()
    assert len(page["items"]) == 3 and page["last_id"] == page["items"][-1]["id"]
    after = platform.http.get(f"/api/tasks/{followed}/results", params={"after": page["items"][0]["id"], "limit": 2})
    assert [item["id"] for item in after.json()["items"]] == [item["id"] for item in page["items"][1:]]
    assert platform.http.get(f"/api/tasks/{followed}/results", params={"limit": "all"}).status_code == 422


def test_the_smallest_processor_shows_its_forecast_and_is_stopped_in_the_admin(
    platform: Platform, followed: int
) -> None:
    task = platform.create("stock_avg", "doorways")
    item = platform.predicts(task)
    assert item.numbers["clusters"][0]["size"] == 60
    page = platform.http.get("/admin/tasks_app/task/")
    assert page.status_code == 200 and "Running" in page.text
    assert platform.http.get(f"/admin/tasks_app/task/{task}/change/").status_code == 200
    form = {
        "action": "stop_tasks",
        "confirmed": "Yes, stop",
        "_selected_action": str(task),
        "csrfmiddlewaretoken": platform.http.cookies["csrftoken"],
    }
    answer = platform.http.post("/admin/tasks_app/task/", data=form, headers={"Referer": platform.url})
    assert answer.status_code == 302
    assert platform.reaches(task, "Stopped", 10)["reason"] == "stopped by a user"
