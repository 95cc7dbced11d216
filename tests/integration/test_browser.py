"""One real browser on the real platform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from platform_process import PASSWORD, ROOT, Platform, wait_for
from test_life import simulate


@pytest.mark.timeout(240)
def test_a_person_starts_a_run_sees_it_move_changes_k_and_stops_it(own_platform: Platform, tmp_path: Path) -> None:
    simulate(own_platform, "shown", every_s=0.5)
    node = os.environ.get("PLATFORM_NODE") or shutil.which("node")
    assert node, "Node is brought by bin/test"
    done = subprocess.run(
        [node, "e2e/live.mjs", own_platform.url, "operator", PASSWORD, str(tmp_path)],
        cwd=ROOT / "frontend",
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["simulated"] is True
    assert seen["moved"]["to"] > seen["moved"]["from"]
    assert seen["clusters"] == 3
    assert seen["stocks"] > 10
    assert seen["problems"] == []
    tasks = own_platform.http.get("/api/tasks", params={"kind": "stream"}).json()["results"]
    assert [task["status"] for task in tasks] == ["Stopped"]
    assert tasks[0]["created_by"] == "operator"
    wait_for("its processes gone", lambda: not own_platform.members(f"{tasks[0]['id']}."), 5)
