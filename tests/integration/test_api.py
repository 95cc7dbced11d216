"""The API beyond who may use it: lists, keys, tags, logs, the original's addresses, and the client for programs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from platform_process import Platform, wait_for
from test_life import simulate

from tasks_app.client import Client, Ended, Problem, stream
from tasks_app.messages import Item

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Client]:
    """The client for programs, as an operator."""
    with Client(platform.url, platform.token("operator", "api")) as client:
        yield client


@pytest.fixture(scope="module")
def followed(platform: Platform, api: Client) -> int:
    """A running stock_avg task on a simulated feed."""
    simulate(platform, "api")
    task = api.create("stock_avg", "api", window=4).id
    platform.predicts(task, above=6)
    return task


@pytest.fixture(scope="module")
def ended(platform: Platform, followed: int) -> dict[str, Any]:
    """A run that was started and stopped by the original's addresses."""
    client = platform.client("operator")
    added = client.post("/add_task", params={"pname": "stock_avg", "feed": "api"})
    assert added.status_code == 201 and added.json() == {"pid": added.json()["pid"], "pname": "stock_avg"}
    named = added.json()
    wait_for("some results", lambda: len(platform.items(named["pid"])) > 5, 60)
    stopped = client.post("/stop_oltp_processor", json=named)
    assert stopped.status_code == 202 and stopped.json()["pid"] == named["pid"]
    platform.reaches(named["pid"], "Stopped", 10)
    return named


# ---- lists


def test_tasks_are_filtered_ordered_searched_and_paged(api: Client, followed: int) -> None:
    ids = [api.create("stock_avg", "api", start=False).id for _ in range(3)]
    assert [task.id for task in api.tasks(status="Running", processor="stock_avg").results] == [followed]
    both = api.tasks(status=["Running", "Initial"], feed="api")
    assert {followed, *ids} <= {task.id for task in both.results}
    assert {task.kind for task in api.tasks(kind="feed").results} == {"feed"}
    assert followed in {task.id for task in api.tasks(search="average", created_by="operator").results}
    assert api.tasks(search="no such thing").count == 0
    first, rest = api.tasks(order="id", page_size=2), list(api.all_tasks(order="id", page_size=2))
    assert len(first.results) == 2 and first.next and not first.previous
    assert [task.id for task in rest] == sorted({task.id for task in rest}) and len(rest) == first.count
    created = api.task(ids[0]).created_at.isoformat()
    assert min(task.id for task in api.all_tasks(created_after=created)) == ids[0]
    assert ids[0] not in {task.id for task in api.all_tasks(created_before=created)}


def test_instruments_are_found_by_code_and_by_name_in_pages(platform: Platform, api: Client, tmp_path: Path) -> None:
    rows = "".join(f"{600000 + number},浦发 {number},,0.01,1999-11-10\n" for number in range(7))
    (tmp_path / "stocks.csv").write_text(f"code,name,sector,tick_size,listed\n{rows}000001,平安银行,银行,,\n")
    assert "8 new" in platform.manage("import_instruments", str(tmp_path / "stocks.csv"))
    first = api.instruments(search="浦发", page_size=5)
    second = api.instruments(search="浦发", page_size=5, page=2)
    assert first.count == 7 and first.next and not second.next
    assert [row.code for row in (*first.results, *second.results)] == [str(600000 + number) for number in range(7)]
    [bank] = api.instruments(["000001", "999999"], calendar="XSHG").results
    assert (bank.name, bank.sector, bank.tick_size, bank.listed) == ("平安银行", "银行", None, None)
    assert api.instruments(search="00003").results[0].tick_size == 0.01
    assert api.instruments(["000001"], calendar="XNYS").count == 0


@pytest.mark.parametrize(
    ("filters", "field"),
    [({"status": "Happy"}, "status"), ({"order": "colour"}, "order"), ({"created_after": "noon"}, "created_after")],
)
def test_a_filter_that_does_not_fit_is_refused_by_name(api: Client, filters: dict[str, str], field: str) -> None:
    with pytest.raises(Problem) as refused:
        api.tasks(**filters)
    assert refused.value.status == 422 and list(refused.value.errors) == [field]


def test_events_come_in_pages(api: Client, followed: int) -> None:
    pages = [api.events(followed, page=page, page_size=2) for page in (1, 2)]
    assert [len(page.results) for page in pages] == [2, 2] and pages[0].count >= 4
    told = [event for page in pages for event in page.results]
    assert [event.kind for event in told] == ["created", "start", "move", "move"] and told[-1].to == "Running"
    with pytest.raises(Problem) as beyond:
        api.events(followed, page=99)
    assert beyond.value.status == 404


def test_what_is_not_there_is_a_problem_too(platform: Platform) -> None:
    for path, status in (("/api/nothing", 404), ("/api/tasks/999999", 404), ("/api/tasks/x", 404)):
        answer = platform.http.get(path)
        assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json", path
    bare = httpx.post(f"{platform.url}/api/session", json={})
    assert bare.status_code == 403 and "CSRF" in bare.json()["detail"]
    broken = platform.http.post("/api/tasks", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400 and broken.headers["content-type"] == "application/problem+json"
    assert platform.http.post("/api/tasks", data={"processor": "x"}).status_code == 415


# ---- idempotency


def test_a_creation_with_a_key_may_be_repeated(api: Client, followed: int) -> None:
    made = api.create("stock_avg", "api", key="nightly-1", start=False, window=5)
    again = api.create("stock_avg", "api", key="nightly-1", start=False, window=5)
    assert again.id == made.id
    with pytest.raises(Problem) as other:
        api.create("stock_avg", "api", key="nightly-1", start=False, window=6)
    assert other.value.status == 422 and list(other.value.errors) == ["Idempotency-Key"]
    with pytest.raises(Problem) as long:
        api.create("stock_avg", "api", key="k" * 201, start=False)
    assert long.value.status == 422


def test_of_racing_requests_with_one_key_one_creates(platform: Platform, api: Client, followed: int) -> None:
    before = api.tasks().count
    headers = {"Authorization": f"Bearer {api.token}", "Idempotency-Key": "race"}
    body = {"processor": "stock_avg", "feed": "api", "start": False}

    def post(_: int) -> httpx.Response:
        return httpx.post(f"{platform.url}/api/tasks", json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["id"] for answer in answers}) == 1 and api.tasks().count == before + 1
    assert sorted(answer.headers["Idempotency-Replayed"] for answer in answers) == ["false"] + ["true"] * 7


def test_a_refused_creation_leaves_no_task_behind(api: Client, followed: int) -> None:
    before = api.tasks().count
    with pytest.raises(Problem) as refused:
        api.create("simulator", "api", key="second-feed")
    assert refused.value.status == 409 and "live task" in refused.value.detail and api.tasks().count == before


# ---- results


def test_who_has_the_newest_result_is_told_so(platform: Platform, followed: int, ended: dict[str, Any]) -> None:
    for path in (f"/api/tasks/{ended['pid']}/result", f"/api/tasks/{ended['pid']}/results?limit=3"):
        first = platform.http.get(path)
        held = platform.http.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert first.status_code == 200 and held.status_code == 304 and not held.content
        assert held.headers["ETag"] == first.headers["ETag"]
    running = platform.http.get(f"/api/tasks/{followed}/result")

    def newer() -> bool:
        asked = platform.http.get(f"/api/tasks/{followed}/result", headers={"If-None-Match": running.headers["ETag"]})
        return asked.status_code == 200 and asked.json()["id"] > running.json()["id"]

    wait_for("a newer result", newer, 10)


# ---- logs


def test_the_log_is_read_in_pieces_and_keeps_secrets(platform: Platform, api: Client, followed: int) -> None:
    path = platform.state / "tasks" / str(followed) / "attempt-1.log"
    wait_for("the log", path.exists, 10)
    with path.open("a") as log:
        log.writelines(f"line {number}\n" for number in range(50_000))
        log.write("connected to redis://feed:hunter2@cache:6379 with password=hunter2\n")
    found = api.log(followed, tail=3)
    assert found.attempt == 1 and found.attempts == [1] and found.truncated
    assert [line for line in found.text.splitlines() if "line" in line][-1] == "line 49999"
    assert "hunter2" not in found.text and "redis://feed:***@cache:6379" in found.text
    page = platform.http.get(f"/api/tasks/{followed}/log", params={"download": "true"})
    assert page.headers["content-type"].startswith("text/plain")
    assert page.headers["content-disposition"] == f'attachment; filename="task-{followed}-attempt-1.log"'
    assert "line 0\n" in page.text and "hunter2" not in page.text
    with pytest.raises(Problem) as missing:
        api.log(followed, attempt=7)
    assert missing.value.status == 404 and "attempt 7; there are: 1" in missing.value.detail
    with pytest.raises(Problem) as many:
        api.log(followed, tail=10**6)
    assert many.value.status == 422 and "tail" in many.value.errors


# ---- the stream of results


async def taken(items: AsyncIterator[Item], count: int) -> list[Item]:
    return [await asyncio.wait_for(anext(items), 60) for _ in range(count)]


async def test_the_stream_goes_on_where_it_broke_off(platform: Platform, followed: int) -> None:
    items = stream(platform.url, platform.token("viewer", "stream"), followed)
    seen = await taken(items, 3)
    platform.kill("web")
    reached = platform.results.latest(followed)
    assert reached
    await asyncio.to_thread(
        wait_for,
        "results without a web process",
        lambda: (platform.results.latest(followed) or reached).id > reached.id,
        20,
    )
    platform.start_web()
    while seen[-1].id <= reached.id:
        seen += await taken(items, 1)
    seen += await taken(items, 4)
    indices = [item.numbers.index for item in seen]
    assert indices == list(range(indices[0], indices[0] + len(indices))), "none is lost, none comes twice"


async def test_the_stream_resumes_behind_an_id_and_ends_with_its_token(platform: Platform, followed: int) -> None:
    held = platform.items(followed)[-6:-1]
    token = platform.token("viewer", "resumed")
    items = stream(platform.url, token, followed, after=held[0].id)
    assert [item.id for item in await taken(items, 4)] == [item.id for item in held[1:]]
    httpx.delete(f"{platform.url}/api/tokens/resumed", headers={"Authorization": f"Bearer {token}"})
    with pytest.raises(Ended):
        await taken(items, 200)
    with pytest.raises(Problem) as refused:
        await taken(stream(platform.url, token, followed), 1)
    assert refused.value.status == 401


def test_the_client_looks_and_acts(platform: Platform, api: Client, followed: int) -> None:
    assert "stock_avg" in {each.name for each in api.processors()}
    assert next(feed for feed in api.feeds() if feed.name == "api").live_task
    assert api.result(followed).numbers.clusters[0].size == 60
    assert [item.numbers.index for item in itertools.pairwise(api.results(followed, limit=5)) for item in item[:1]]
    task = api.create("cluster_regression", "api", start=False, k=3)
    assert task.status == "Initial" and task.actions == ["start"] and api.start(task.id).queued_at
    platform.reaches(task.id, "Running")
    assert api.set_live(task.id, "k", 5).params["k"] == 5
    assert api.stop(task.id, "seen enough").stopping
    assert platform.reaches(task.id, "Stopped", 10)["reason"] == "seen enough"
    again = api.retry(task.id, fresh=True)
    assert again.attempt == 2
    platform.reaches(task.id, "Running", attempt=2)
    api.stop(task.id)


# ---- the original's addresses


def test_the_originals_addresses_answer_as_they_did(platform: Platform, ended: dict[str, Any]) -> None:
    client = platform.client("operator")
    result = client.get("/get_curr_oltp_result", params=ended).json()
    assert result["clusters"] == {"1": 60}
    stamps = sorted(result["result"])
    assert result["result"][stamps[0]]["1"]["real"] > 0
    assert result["result"][stamps[-1]]["1"]["real"] is None and result["result"][stamps[-1]]["1"]["prediction"] > 0
    both = [each["1"] for each in result["result"].values() if None not in each["1"].values()]
    assert both and all(set(each) == {"real", "prediction"} for each in both)
    assert client.get("/demo").json()["result"]
    reloaded = platform.http.post("/reload_cfg").json()["pname_dict"]
    assert reloaded["stock_avg"] == {"classname": "processors.stream.stock_avg:StockAvg", "type": "stream"}


def test_the_originals_addresses_change_nothing_by_get(platform: Platform) -> None:
    for path in ("/add_task?pname=stock_avg", "/stop_oltp_processor?pid=1&pname=stock_avg", "/reload_cfg"):
        for client in (platform.http, httpx.Client(base_url=platform.url)):
            answer = client.get(path)
            assert answer.status_code == 405 and "POST" in answer.json()["detail"], path
            assert answer.headers["Allow"] == "POST, OPTIONS"


def test_the_originals_addresses_refuse_by_name(platform: Platform, followed: int) -> None:
    def errors(method: str, path: str, **query: Any) -> tuple[int, dict[str, Any]]:
        answer = platform.http.request(method, path, params=query)
        return answer.status_code, answer.json()

    assert errors("POST", "/add_task")[1]["errors"]["pname"]
    assert errors("POST", "/add_task", pname="rumour")[1]["errors"]["processor"]
    assert errors("GET", "/get_curr_oltp_result", pid="x", pname="stock_avg")[1]["errors"]["pid"]
    status, told = errors("POST", "/stop_oltp_processor", pid=followed, pname="cluster_regression")
    assert status == 404 and f"no task {followed}" in told["detail"]
    bare = platform.client("operator")
    del bare.headers["X-CSRFToken"]
    assert bare.post("/add_task", params={"pname": "stock_avg"}).status_code == 403
