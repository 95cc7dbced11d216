"""A file that somebody brings: looked at, mapped, replayed; bounded, role-checked; and how feeds say they are."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from platform_process import PASSWORD, Platform, wait_for
from test_browser import in_browser
from test_life import SAMPLE, simulate

from tasks_app.client import Client, Problem

pytestmark = pytest.mark.timeout(240)

RENAMED = {"code": "证券代码", "time": "时间", "price": "最新价", "volume": "成交量", "amount": "成交额"}


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gzipped CSV of the sample's beginning whose header nobody foresaw."""
    table = pq.read_table(SAMPLE).slice(0, 6_000).select(list(RENAMED)).rename_columns(list(RENAMED.values()))
    path = tmp_path_factory.mktemp("files") / "行情 1.csv.gz"
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    path.write_bytes(gzip.compress(sink.getvalue().to_pybytes()))
    return path


def bring(client: httpx.Client, name: str, body: bytes) -> httpx.Response:
    return client.post(
        "/api/uploads", params={"name": name}, content=body, headers={"Content-Type": "application/octet-stream"}
    )


def test_a_file_is_mapped_confirmed_and_replayed(platform: Platform, renamed: Path) -> None:
    operator = platform.client("operator")
    answer = bring(operator, renamed.name, renamed.read_bytes())
    assert answer.status_code == 201, answer.text
    look = answer.json()
    assert look["mapping"] == RENAMED and look["error"] == ""
    assert set(RENAMED.values()) == set(look["columns"]) and len(look["rows"]) == 5
    assert (look["inferred"]["interval_ms"], look["inferred"]["volume_unit"]) == (3000, "lots")
    without = operator.post(f"/api/uploads/{look['id']}/look", json={"mapping": {"price": "成交额"}}).json()
    assert "no column time" in without["error"] and str(platform.state) not in without["error"]
    spec = {**look["inferred"], "name": "brought"}
    body = {"mapping": RENAMED, "spec": spec, "pace": 50.0}
    started = operator.post(f"/api/uploads/{look['id']}/replay", json=body)
    assert started.status_code == 201, started.text
    health = wait_for("rows", lambda: _good(platform, "brought"))
    assert health["rejected"] == {} and health["received"] > 20
    feed = platform.http.get("/api/feeds/brought").json()
    assert feed["params"]["columns"] == RENAMED
    again = operator.post(f"/api/uploads/{look['id']}/replay", json=body)
    assert again.status_code == 422 and "name" in again.json()["errors"]
    assert operator.delete(f"/api/uploads/{look['id']}").status_code == 409
    platform.ask(started.json()["id"], "stop")
    assert "brought" in json.dumps(platform.http.get("/api/audit", params={"action": "create feed"}).json())


def _good(platform: Platform, feed: str) -> dict | None:
    health = platform.http.get(f"/api/feeds/{feed}/health").json()
    return health if health["state"] == "good" and health["snapshots"] > 5 else None


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("ticks.exe", b"MZ", "expected a file with the ending"),
        ("ticks.csv", b"", "is empty"),
        ("ticks.parquet", b"PAR1", "cannot be read as Parquet"),
        ("../../ticks.zip", b"PK", "cannot be read as CSV"),
    ],
)
def test_what_is_no_file_of_ticks_is_refused_and_not_kept(
    platform: Platform, name: str, body: bytes, said: str
) -> None:
    before = set((platform.state / "uploads").glob("*"))
    answer = bring(platform.http, name, body)
    assert answer.status_code == 422 and said in answer.text, answer.text
    assert set((platform.state / "uploads").glob("*")) == before


def test_a_body_that_is_too_large_is_refused_before_it_is_taken(platform: Platform) -> None:
    assert bring(platform.http, "ticks.csv", b"x" * (3 * 2**20 + 1)).status_code == 413
    assert platform.http.post("/api/tasks", content=b" " * (4 * 2**20 + 1)).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 2**20

    with pytest.raises(httpx.HTTPError):
        answer = platform.http.post(
            "/api/uploads", params={"name": "a.csv"}, content=endless(),
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        answer.raise_for_status()
    assert platform.http.get("/api/feeds").status_code == 200


def test_viewers_look_at_health_and_bring_nothing(platform: Platform) -> None:
    viewer = platform.client("viewer")
    assert bring(viewer, "ticks.csv", b"a,b\n").status_code == 403
    assert platform.http.get("/api/uploads/0123456789abcdef").status_code == 404


def test_health_tells_a_feed_that_runs_stops_and_falls_silent(platform: Platform) -> None:
    task = simulate(platform, "healthy", codes=20, every_s=0.5)
    health = wait_for("good", lambda: _good(platform, "healthy"))
    assert health["expected"] == 20 and health["task"] == task
    assert health["received"] > 15, "some halt"
    assert health["age_s"] < 5 and health["delay_s"] < 5 and health["opens_at"] is None
    text = platform.http.get("/metrics").text
    assert 'platform_feed_state{feed="healthy",state="good"} 1.0' in text
    assert 'platform_feed_expected_stocks{feed="healthy"} 20.0' in text
    platform.make_feed("silent", "tcp", {"port": 1}, calendar="24/7", zone="UTC")
    silent = platform.create("tcp", "silent", port=1)

    def told() -> dict | None:
        found = platform.http.get("/api/feeds/silent/health").json()
        return found if found["state"] == "disconnected" and "refused" in found["why"] else None

    wait_for("disconnected, because it was refused", told)
    for each in (task, silent):
        platform.ask(each, "stop")
        platform.reaches(each, "Stopped", 10)
    assert platform.http.get("/api/feeds/healthy/health").json()["state"] == "off"


def test_an_admin_replays_a_file_and_makes_a_feed_in_the_page(
    platform: Platform, renamed: Path, tmp_path: Path
) -> None:
    seen = in_browser("feeds.mjs", platform.url, "manager", PASSWORD, str(renamed), str(tmp_path))
    assert seen["mapped"] == "最新价"
    assert seen["state"] == "good"
    assert "made here" in seen["refused"] and "stop it first" in seen["conflict"]
    assert seen["unstarted"] and "made here" not in seen["unstarted"]
    assert seen["problems"] == []


def test_a_feed_is_made_started_changed_and_deleted_by_program(platform: Platform) -> None:
    with Client(platform.url, platform.token("manager", "feeds")) as client:
        for wrong, field in (
            ({"name": "a b"}, "name"),
            ({"zone": "Mars/Olympus"}, "zone"),
            ({"calendar": "XNONE"}, "calendar"),
            ({"processor": "stock_avg"}, "processor"),
            ({"params": {"codes": 1}}, "codes"),
            ({"interval_ms": -1}, "interval_ms"),
        ):
            given = {"name": "made", "processor": "simulator", "params": {}, **wrong}
            with pytest.raises(Problem) as refused:
                client.create_feed(**given)
            assert refused.value.status == 422 and field in refused.value.errors, refused.value
        made = client.create_feed("made", "simulator", {"codes": 7}, calendar="24/7", zone="UTC", simulated=True)
        assert made.params["codes"] == 7 and made.params["every_s"] == 5.0
        with pytest.raises(Problem, match="already exists"):
            client.create_feed("made", "simulator", {})
        assert client.change_feed("made", title="Seven", interval_ms=500, params={"codes": 7, "every_s": 0.5}).title
        task = client.create("simulator", "made")
        assert task.params["codes"] == 7, "what is not given is the feed's"
        wait_for("good", lambda: _good(platform, "made"))
        with pytest.raises(Problem, match="stop it first") as refused:
            client.change_feed("made", title="Eight")
        assert refused.value.status == 409
        client.stop(task.id)
        platform.reaches(task.id, "Stopped", 10)
        with pytest.raises(Problem, match="expected 'made'"):
            client.change_feed("made", name="other")
        with pytest.raises(Problem, match=r"its tasks \(1\)"):
            client.delete_feed("made")
        client.create_feed("unused", "tcp", {"port": 1})
        client.delete_feed("unused")
        assert "unused" not in {feed.name for feed in client.feeds()}
    told = platform.http.get("/api/audit", params={"page_size": 500}).json()["results"]
    of_made = [(each["action"], each["outcome"]) for each in reversed(told) if each["target"] == "made"]
    assert of_made[-5:] == [
        ("create feed", "refused"), ("change feed", "done"),
        ("change feed", "refused"), ("change feed", "refused"), ("delete feed", "refused"),
    ]  # fmt: skip


def test_the_admin_checks_a_feed_as_the_api_does(platform: Platform) -> None:
    http, defaults = platform.http, {"zone": "UTC", "calendar": "24/7", "interval_ms": 5000, "volume_unit": "shares"}
    processor = re.search(r'<option value="(\d+)">simulator<', http.get("/admin/tasks_app/feed/add/").text)
    assert processor
    form = {
        **defaults, "name": "by-admin", "processor": processor[1], "params": '{"codes": 1}', "lot_size": 100,
        "slices": 2, "volume_mode": "interval", "type_meaning": "trade_sign", "grace_ms": 500, "carry_limit_s": 300,
        "max_bytes": 10**7, "csrfmiddlewaretoken": http.cookies["csrftoken"],
    }  # fmt: skip

    def add(**changed: str) -> httpx.Response:
        return http.post("/admin/tasks_app/feed/add/", data=form | changed, headers={"Referer": platform.url})

    for wrong, told in (({}, "1 is less than the minimum of 2"), ({"zone": "Mars/Olympus"}, "is no time zone")):
        refused = add(**wrong)
        assert refused.status_code == 200 and told in refused.text
    assert add(params='{"codes": 9}').status_code == 302
    assert http.get("/api/feeds/by-admin").json()["params"]["seed"] == 1, "defaults are filled in"
