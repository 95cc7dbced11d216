"""Schedules as people use them: made by the API, followed by janitors, seen in the admin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from platform_process import Platform, wait_for
from test_life import simulate

pytestmark = pytest.mark.timeout(240)


def test_two_janitors_start_and_stop_a_task_once_when_it_is_due(platform: Platform) -> None:
    feed = simulate(platform, "scheduled")
    body = {"processor": "stock_avg", "feed": "scheduled", "start": False}
    task = platform.http.post("/api/tasks", json=body).json()["id"]
    platform.start_janitor("janitor 2")
    try:
        start = schedule(platform, task, "start", in_s=3)
        platform.reaches(task, "Running")
        stop = schedule(platform, task, "stop", in_s=3)
        ended = platform.reaches(task, "Stopped", 15)
    finally:
        platform.kill("janitor 2")
    assert ended["reason"] == f"by schedule {stop}"
    for made in (start, stop):
        told = platform.http.get(f"/api/schedules/{made}").json()
        assert told["last_run"]["outcome"] == "done" and told["missed"] == 0
        assert datetime.fromisoformat(told["next_due"]) > datetime.now(UTC) + timedelta(hours=20)
        assert platform.http.get(f"/api/schedules/{made}/runs").json()["count"] == 1
    assert [event["kind"] for event in platform.events(task)].count("start") == 1
    page = platform.http.get(f"/admin/tasks_app/schedule/{start}/change/")
    assert page.status_code == 200 and "done" in page.text
    platform.ask(feed, "stop")


def schedule(platform: Platform, task: int, action: str, in_s: int) -> int:
    due = datetime.now(UTC) + timedelta(seconds=in_s)
    body = {"task": task, "action": action, "by": "clock", "at": due.time().isoformat(), "weekdays": list(range(7))}
    answer = platform.http.post("/api/schedules", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_a_schedule_is_changed_switched_off_and_deleted(platform: Platform) -> None:
    platform.make_feed("changed", "simulator", {}, calendar="24/7", zone="UTC")
    body = {"processor": "stock_avg", "feed": "changed", "start": False}
    task = platform.http.post("/api/tasks", json=body).json()["id"]
    body = {"task": task, "action": "start", "by": "session", "calendar": "XSHG", "moment": "open", "offset_min": -10}
    made = platform.http.post("/api/schedules", json=body).json()
    assert made["next_due"] and made["enabled"]
    wrong = platform.http.patch(f"/api/schedules/{made['id']}", json={"calendar": "XMARS"})
    assert wrong.status_code == 422 and "no exchange calendar" in wrong.json()["errors"]["calendar"][0]
    off = platform.http.patch(f"/api/schedules/{made['id']}", json={"enabled": False}).json()
    assert off["next_due"] is None and off["calendar"] == "XSHG"
    found = platform.http.get("/api/schedules", params={"task": task}).json()["results"]
    assert [row["id"] for row in found] == [made["id"]]
    assert platform.http.delete(f"/api/schedules/{made['id']}").status_code == 204
    wait_for("it is gone", lambda: platform.http.get(f"/api/schedules/{made['id']}").status_code == 404, 5)
