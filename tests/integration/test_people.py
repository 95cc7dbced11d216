"""Who gets in, and what they may do there: every endpoint with every role, the admin and the websocket included."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from typing import Any

import httpx
import jsonschema
import pytest
import websockets
from platform_process import PASSWORD, Platform, wait_for
from test_doorways import socket, until
from test_life import simulate

pytestmark = pytest.mark.timeout(240)

# What each call needs; a call that is missing here fails the test.
EVERYBODY, LOOK, RUN, MANAGE = "everybody", "look", "run", "manage"
NEEDS = {
    "GET /api/session": EVERYBODY,
    "POST /api/session": EVERYBODY,
    "DELETE /api/session": EVERYBODY,
    "GET /api/asyncapi": EVERYBODY,
    "GET /api/processors": LOOK,
    "GET /api/processors/{name}": LOOK,
    "POST /api/processors/reload": MANAGE,
    "GET /api/processors/reload": MANAGE,
    "GET /api/feeds": LOOK,
    "GET /api/feeds/{name}": LOOK,
    "GET /api/feeds/{name}/health": LOOK,
    "POST /api/feeds": MANAGE,
    "PATCH /api/feeds/{name}": MANAGE,
    "DELETE /api/feeds/{name}": MANAGE,
    "GET /api/instruments": LOOK,
    "POST /api/uploads": RUN,
    "GET /api/uploads/{id}": LOOK,
    "POST /api/uploads/{id}/look": RUN,
    "POST /api/uploads/{id}/replay": RUN,
    "DELETE /api/uploads/{id}": RUN,
    "GET /api/tasks": LOOK,
    "GET /api/tasks/{id}": LOOK,
    "GET /api/tasks/{id}/events": LOOK,
    "GET /api/tasks/{id}/log": LOOK,
    "GET /api/tasks/{id}/result": LOOK,
    "GET /api/tasks/{id}/results": LOOK,
    "POST /api/tasks": RUN,
    "POST /api/tasks/{id}/start": RUN,
    "POST /api/tasks/{id}/stop": RUN,
    "POST /api/tasks/{id}/retry": RUN,
    "POST /api/tasks/{id}/live": RUN,
    "GET /api/schedules": LOOK,
    "GET /api/schedules/{id}": LOOK,
    "GET /api/schedules/{id}/runs": LOOK,
    "POST /api/schedules": RUN,
    "PATCH /api/schedules/{id}": RUN,
    "DELETE /api/schedules/{id}": RUN,
    "GET /api/history/feeds": LOOK,
    "GET /api/history/feeds/{name}/days": LOOK,
    "GET /api/history/feeds/{name}/rows": LOOK,
    "GET /api/history/feeds/{name}/bars": LOOK,
    "GET /api/tasks/{id}/kept": LOOK,
    "GET /api/tasks/{id}/kept/days": LOOK,
    "GET /api/tokens": LOOK,
    "POST /api/tokens": LOOK,
    "DELETE /api/tokens/{name}": LOOK,
    "GET /api/audit": MANAGE,
    "POST /api/tickets": LOOK,
    "GET /metrics": LOOK,
    "GET /demo": LOOK,
    "GET /get_curr_oltp_result": LOOK,
    "POST /add_task": RUN,
    "POST /stop_oltp_processor": RUN,
    "POST /reload_cfg": MANAGE,
}
MAY = {
    None: {EVERYBODY},
    "viewer": {EVERYBODY, LOOK},
    "operator": {EVERYBODY, LOOK, RUN},
    "manager": {EVERYBODY, LOOK, RUN, MANAGE},
    "admin": {EVERYBODY, LOOK, RUN, MANAGE},
}
ADMIN_PAGES = {
    "tasks_app/task": LOOK,
    "tasks_app/taskevent": LOOK,
    "tasks_app/processor": LOOK,
    "tasks_app/feed": LOOK,
    "tasks_app/feed/add": MANAGE,
    "tasks_app/instrument": LOOK,
    "tasks_app/instrument/add": MANAGE,
    "tasks_app/schedule": LOOK,
    "tasks_app/schedule/add": MANAGE,
    "tasks_app/auditrecord": MANAGE,
    "tasks_app/apitoken": MANAGE,
    "auth/user": MANAGE,
    "auth/user/add": MANAGE,
    "axes/accessattempt": MANAGE,
}
people = pytest.mark.parametrize("who", list(MAY), ids=str)


@pytest.fixture(scope="module")
def waiting(platform: Platform) -> int:
    """A task that nobody has started."""
    simulate(platform, "people")
    body = {"processor": "stock_avg", "feed": "people", "start": False}
    return platform.http.post("/api/tasks", json=body).json()["id"]


@pytest.fixture(scope="module")
def described(platform: Platform) -> dict[str, Any]:
    """The OpenAPI document that the platform serves."""
    answer = platform.http.get("/api/schema", headers={"Accept": "application/vnd.oai.openapi+json"})
    return answer.json()


def client_of(platform: Platform, who: str | None) -> httpx.Client:
    return platform.client(who) if who else stranger(platform)


def stranger(platform: Platform) -> httpx.Client:
    """Return a client that nobody has logged in with."""
    client = httpx.Client(base_url=platform.url, timeout=20)
    client.get("/api/session")
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    return client


def records(platform: Platform, **wanted: str) -> list[dict[str, Any]]:
    """Return the audit's records with these values, oldest first."""
    with sqlite3.connect(platform.state / "platform.sqlite3") as database:
        database.row_factory = sqlite3.Row
        where = " AND ".join(f"{name} = ?" for name in wanted)
        found = database.execute(f"SELECT * FROM tasks_app_auditrecord WHERE {where} ORDER BY id", [*wanted.values()])
        return [dict(row) for row in found]


def check(document: dict[str, Any], method: str, path: str, answer: httpx.Response) -> None:
    """Fail unless the OpenAPI document says of the call that it may be answered so."""
    told = document["paths"][path][method.lower()]["responses"]
    assert str(answer.status_code) in told, f"{method} {path} answers {answer.status_code}: {answer.text[:200]}"
    response = told[str(answer.status_code)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    media = answer.headers.get("content-type", "").partition(";")[0]
    if answer.content:
        schema = {**response["content"][media]["schema"], "components": document["components"]}
        told_as = answer.text if media == "text/plain" else answer.json()
        jsonschema.Draft202012Validator(schema).validate(told_as)


def test_the_document_has_every_call_with_its_errors_and_an_example(described: dict[str, Any]) -> None:
    calls = {f"{method.upper()} {path}" for path, found in described["paths"].items() for method in found}
    assert calls == set(NEEDS)
    for call, needed in NEEDS.items():
        method, path = call.split()
        operation = described["paths"][path][method.lower()]
        answers = operation["responses"]
        assert needed == EVERYBODY or answers.keys() >= {"401", "403", "503"}, call
        told = [answer for status, answer in answers.items() if status.startswith("2")]
        for body in [operation.get("requestBody", {}), *told]:
            content = body.get("content", {}).get("application/json")
            assert content is None or "examples" in content or path == "/api/asyncapi", f"{call} has no example"


@people
def test_every_call_with_every_role(
    platform: Platform, waiting: int, described: dict[str, Any], who: str | None
) -> None:
    client = client_of(platform, who)
    for call, needed in sorted(NEEDS.items(), key=lambda item: item[0] == "DELETE /api/session"):  # logs out: last
        method, path = call.split()
        name = "people" if "feeds" in path else "stock_avg"
        answer = client.request(method, path.format(id=waiting, name=name), json={} if method == "POST" else None)
        check(described, method, path, answer)
        if needed in MAY[who]:
            assert answer.status_code not in (401, 403, 405), f"{call}: {answer.text}"
        else:
            assert answer.status_code == (401 if who is None else 403), f"{call}: {answer.status_code}"
            assert answer.headers["content-type"] == "application/problem+json"


@people
def test_the_admin_with_every_role(platform: Platform, who: str | None) -> None:
    client = client_of(platform, who)
    for page, needed in ADMIN_PAGES.items():
        answer = client.get(f"/admin/{page}/")
        if who is None:
            assert answer.status_code == 302 and "/admin/login/" in answer.headers["location"]
        else:
            assert answer.status_code == (200 if needed in MAY[who] else 403), page


@people
async def test_the_websocket_with_every_role(platform: Platform, who: str | None) -> None:
    async with socket(platform, client_of(platform, who)) as connection:
        if who is None:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 4401
        else:
            assert (await until(connection, type="hello"))["user"] == who
            await connection.send('{"type":"subscribe","topic":"tasks"}')
            assert (await until(connection, type="snapshot", topic="tasks"))["tasks"]


def test_a_viewer_who_forges_the_admins_form_is_refused_and_written_down(platform: Platform, waiting: int) -> None:
    client = platform.client("viewer")
    form = {"action": "start_tasks", "confirmed": "yes", "_selected_action": str(waiting)}
    answer = client.post(
        "/admin/tasks_app/task/",
        data={**form, "csrfmiddlewaretoken": client.cookies["csrftoken"]},
        headers={"Referer": platform.url},
    )
    assert answer.status_code == 403
    told = records(platform, who="viewer", action="start_tasks")[-1]
    assert (told["outcome"], told["through"], told["ip"]) == ("refused", "admin", "127.0.0.1")


def test_the_fifth_wrong_password_closes_the_door_for_that_name(platform: Platform) -> None:
    client = stranger(platform)

    def log_in(password: str, name: str = "mallory") -> httpx.Response:
        return client.post("/api/session", json={"username": name, "password": password})

    assert [log_in("wrong").status_code for _ in range(4)] == [400] * 4
    closed = log_in("wrong")
    assert closed.status_code == 429 and closed.headers["Retry-After"] == "900"
    assert closed.headers["content-type"] == "application/problem+json" and "15 minutes" in closed.json()["detail"]
    page = client.get("/admin/login/")
    form = {"username": "mallory", "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    assert page.status_code == 200
    assert client.post("/admin/login/", data=form, headers={"Referer": platform.url}).status_code == 429
    assert log_in(PASSWORD, "viewer").status_code == 200, "nobody else is locked out"
    outcomes = [record["outcome"] for record in records(platform, who="mallory", action="log in")]
    assert outcomes.count("failed") >= 5 and "refused" in outcomes


def test_a_locked_name_stays_closed_for_the_right_password(platform: Platform) -> None:
    platform.client("manager")  # it works
    client = stranger(platform)
    given = [{"username": "manager", "password": password} for password in ["wrong"] * 5 + [PASSWORD]]
    assert [client.post("/api/session", json=each).status_code for each in given] == [400] * 4 + [429] * 2
    unlocked = platform.manage("axes_reset_username", "manager")
    assert "1 attempts removed" in unlocked
    platform.client("manager")


def test_a_token_is_told_once_and_acts_as_its_user_until_it_is_revoked(platform: Platform, waiting: int) -> None:
    person = platform.client("operator")
    made = person.post("/api/tokens", json={"name": "robot", "days": 7}).json()
    assert person.post("/api/tokens", json={"name": "robot"}).status_code == 409
    listed = person.get("/api/tokens").json()
    assert "robot" in {each["name"] for each in listed} and not any("token" in each for each in listed)
    others = {each["name"] for each in platform.client("viewer").get("/api/tokens").json()}
    assert "robot" not in others, "one's own only"
    robot = httpx.Client(base_url=platform.url, headers={"Authorization": f"Bearer {made['token']}"})
    task = robot.post("/api/tasks", json={"processor": "stock_avg", "feed": "people", "start": False}).json()["id"]
    assert robot.post(f"/api/tasks/{task}/stop", json={}).status_code == 409, "no CSRF token is needed"
    assert robot.post("/api/tokens", json={"name": "child"}).status_code == 403
    assert [each["last_used_at"] for each in person.get("/api/tokens").json() if each["name"] == "robot"] != [None]
    assert records(platform, who="operator", action="stop")[-1]["through"] == "token robot"
    assert robot.delete("/api/tokens/robot").status_code == 204
    refused = robot.get("/api/tasks")
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"] == "Bearer"


def test_the_admin_revokes_anybodys_token_and_shows_no_secret(platform: Platform) -> None:
    text = platform.token("operator", "lost-laptop")
    page = platform.http.get("/admin/tasks_app/apitoken/")
    assert "lost-laptop" in page.text and text not in page.text
    key = re.search(r'/admin/tasks_app/apitoken/([^/]+)/change/">lost-laptop', page.text)
    assert key
    form = {"post": "yes", "csrfmiddlewaretoken": platform.http.cookies["csrftoken"]}
    place = f"/admin/tasks_app/apitoken/{key[1]}/delete/"
    assert platform.http.post(place, data=form, headers={"Referer": platform.url}).status_code == 302
    robot = httpx.Client(base_url=platform.url, headers={"Authorization": f"Bearer {text}"})
    assert robot.get("/api/tasks").status_code == 401
    assert records(platform, who="admin", action="delete API token")[-1]["target"] == "operator/lost-laptop"


async def test_a_ticket_opens_one_websocket_and_no_second(platform: Platform) -> None:
    bearer = {"Authorization": f"Bearer {platform.token('viewer', 'ticketed')}"}
    ticket = httpx.post(f"{platform.url}/api/tickets", headers=bearer).json()["ticket"]
    address = f"ws://127.0.0.1:{platform.port}/ws/live?ticket={ticket}"
    async with websockets.connect(address) as first:
        assert (await until(first, type="hello"))["user"] == "viewer"
        for bad in (address, f"ws://127.0.0.1:{platform.port}/ws/live?ticket=guessed"):
            async with websockets.connect(bad) as second:
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await second.recv()
                assert closed.value.rcvd and closed.value.rcvd.code == 4401
        assert httpx.delete(f"{platform.url}/api/tokens/ticketed", headers=bearer).status_code == 204
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(first.recv(), 5)
        assert closed.value.rcvd and closed.value.rcvd.code == 4401, "revoking a token closes what it opened"


def test_what_people_do_is_written_down_with_where_from(platform: Platform) -> None:
    client = platform.client("operator")
    task = client.post("/api/tasks", json={"processor": "stock_avg", "feed": "people", "start": False}).json()["id"]
    assert client.post(f"/api/tasks/{task}/retry", json={}).status_code == 409
    assert client.post("/reload_cfg").status_code == 403
    client.delete("/api/session")
    told = records(platform, who="operator")
    wanted = {
        ("log in", "", "done"),
        ("create", f"stock_avg #{task}", "done"),
        ("retry", f"stock_avg #{task}", "refused"),
        ("post", "/reload_cfg", "refused"),
        ("log out", "", "done"),
    }
    assert wanted <= {(each["action"], each["target"], each["outcome"]) for each in told}
    assert {each["ip"] for each in told} == {"127.0.0.1"}
    page = wait_for("the audit's page", lambda: platform.http.get("/admin/tasks_app/auditrecord/").text, 5)
    assert f"stock_avg #{task}" in page and "/admin/tasks_app/auditrecord/add/" not in page
    newest = told[-1]["id"]
    for action in ("change", "delete"):
        answer = platform.http.post(
            f"/admin/tasks_app/auditrecord/{newest}/{action}/",
            data={"post": "yes", "who": "x", "csrfmiddlewaretoken": platform.http.cookies["csrftoken"]},
            headers={"Referer": platform.url},
        )
        assert answer.status_code == 403
