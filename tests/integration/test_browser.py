"""One real browser on the real platform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from platform_process import PASSWORD, ROOT, Platform, wait_for
from test_life import simulate


def in_browser(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of frontend/e2e and return what it saw."""
    node = os.environ.get("PLATFORM_NODE") or shutil.which("node")
    assert node, "Node is brought by bin/test"
    done = subprocess.run(
        [node, f"e2e/{script}", *arguments], cwd=ROOT / "frontend", capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def feed(platform: Platform) -> str:
    simulate(platform, "browsed")
    return "browsed"


@pytest.mark.timeout(240)
def test_a_person_starts_a_run_sees_it_move_changes_k_and_stops_it(own_platform: Platform, tmp_path: Path) -> None:
    simulate(own_platform, "shown", every_s=0.5)
    seen = in_browser("live.mjs", own_platform.url, "operator", PASSWORD, str(tmp_path))
    assert seen["simulated"] is True
    assert seen["moved"]["to"] > seen["moved"]["from"]
    assert seen["clusters"] == 3
    assert seen["stocks"] > 10
    assert seen["problems"] == []
    tasks = own_platform.http.get("/api/tasks", params={"kind": "stream"}).json()["results"]
    assert [task["status"] for task in tasks] == ["Stopped"]
    assert tasks[0]["created_by"] == "operator"
    wait_for("its processes gone", lambda: not own_platform.members(f"{tasks[0]['id']}."), 5)


@pytest.mark.timeout(240)
def test_an_operator_starts_watches_and_stops_a_task_in_the_admin(
    platform: Platform, feed: str, tmp_path: Path
) -> None:
    body = {"processor": "stock_avg", "feed": feed, "start": False}
    task = platform.http.post("/api/tasks", json=body).json()["id"]
    seen = in_browser("admin.mjs", platform.url, "operator", PASSWORD, str(task), str(tmp_path))
    assert seen["before"] == "Initial" and seen["startedLive"] and seen["stoppedLive"]
    assert seen["colour"] == "rgb(4, 120, 87)" and seen["events"] >= 6
    assert seen["problems"] == []
    assert platform.task(task)["reason"] == "seen in the admin"


@pytest.mark.timeout(300)
def test_an_operator_reads_a_run_filters_makes_a_token_and_a_schedule(
    platform: Platform, feed: str, tmp_path: Path
) -> None:
    task = platform.create("stock_avg", feed)
    seen = in_browser("operate.mjs", platform.url, "operator", PASSWORD, str(task), str(tmp_path))
    assert seen["events"][:2] == ["created", "start"] and seen["events"][-1] == "Running"
    assert seen["log"].strip() and seen["file"] == f"task-{task}-attempt-1.log"
    assert seen["filtered"] == ["Stopped"]
    assert platform.task(seen["created"])["created_by"] == "operator"
    assert seen["token"].startswith("lsp_") and seen["toldAgain"] == 0
    kept = [token["name"] for token in platform.client("operator").get("/api/tokens").json()]
    assert "notebook" not in kept, "revoked in the page"
    assert "09:15" in seen["schedule"] and "Mon to Fri" in seen["schedule"]
    expected = ["Live", "Runs", "Feeds", "Schedules", "History", "Processors"]
    assert seen["pages"] == expected, "the audit is for admins"
    assert seen["problems"] == []


@pytest.mark.timeout(240)
def test_a_viewer_looks_at_what_is_kept_and_takes_a_day_along(platform: Platform, tmp_path: Path) -> None:
    told = platform.manage("import_history", "recorded", str(ROOT / "sample" / "ashare_3s_30_20211201.parquet"))
    rows = int(told.split(" rows, ")[0].split()[-1])
    seen = in_browser("history.mjs", platform.url, "viewer", PASSWORD, str(tmp_path))
    assert seen["days"] == ["2021-12-01"]
    assert seen["minutes"] > 50 and seen["quarters"] in (5, 6)
    assert seen["file"] == "recorded-rows.csv" and seen["lines"] == rows + 1
    assert seen["wide"] is False and seen["problems"] == []


@pytest.mark.timeout(300)
def test_a_run_without_predictions_and_one_without_clusters_show_what_they_have(
    platform: Platform, feed: str, tmp_path: Path
) -> None:
    runs = {}
    for name in ("kmeans", "linear_regression"):
        added = platform.http.post("/add_task", params={"pname": name, "feed": feed})
        assert added.status_code == 201, added.text
        runs[name] = added.json()["pid"]
    platform.predicts(runs["linear_regression"])
    wait_for(
        "clusters", lambda: platform.items(runs["kmeans"])[-1:] and platform.items(runs["kmeans"])[-1].numbers["k"]
    )
    seen = in_browser("models.mjs", platform.url, "viewer", PASSWORD, *map(str, runs.values()), str(tmp_path))
    clustering, regression = seen["clustering"], seen["regression"]
    assert clustering["charts"] == 4 and clustering["sizes"] == 1 and clustering["rows"] == 12
    assert clustering["columns"] == ["Code", "Cluster", "Last", "Last return, bp", "Age"]
    assert "predicts nothing" in clustering["score"] and clustering["facts"] == 0
    assert clustering["measures"] == ["Index", "Mean price"]
    assert regression["labels"] == ["Market"] and regression["sizes"] == 0 and regression["rows"] == 12
    assert "Cluster" not in regression["columns"] and "Predicted" in regression["columns"]
    assert regression["facts"] == 1 and "Difference (bp)" in regression["measures"]
    assert seen["problems"] == []
    for name, task in runs.items():
        told = platform.http.get("/get_curr_oltp_result", params={"pid": task, "pname": name}).json()
        assert sum(told["clusters"].values()) == 60
        groups = [group for at in told["result"].values() for group in at.values()]
        assert any(group["prediction"] is not None for group in groups) == (name == "linear_regression")
        assert all(group["real"] or group["prediction"] for group in groups)
        assert platform.ask(task, "stop").status_code == 202
