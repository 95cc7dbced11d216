"""Six processes racing for the same moves and due times, on each kind of database: each is won once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from platform_process import ROOT

TASKS, RACERS = 60, 6

_PREPARE = f"""
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from datetime import time
from django.utils import timezone
from tasks_app.models import Processor, Schedule, Task
processor = Processor.objects.create(name="p", kind="stream", class_path="processors.x:X")
Task.objects.bulk_create([Task(processor=processor, kind="stream") for _ in range({TASKS})])
every_day = dict(action="start", by="clock", at=time(12), weekdays=list(range(7)), seen_until="2021-12-01T11:00Z")
Schedule.objects.bulk_create([Schedule(task=task, **every_day) for task in Task.objects.all()])
"""

_RACE = """
import sys
import django; django.setup()
from datetime import UTC, datetime
from tasks_app import jobs, schedules
from tasks_app.lifecycle import TransitionConflict, transition
from tasks_app.models import Task
from tasks_app.states import Status
jobs.send = lambda task: True  # there is no broker: what is raced for is the database
me, wins = sys.argv[1], 0
sys.stdin.readline()
schedules.run_due(datetime(2021, 12, 1, 12, 0, 1, tzinfo=UTC))
print("due done", flush=True)
sys.stdin.readline()
for task in Task.objects.order_by("id"):
    try:
        transition(task, Status.STARTED, actor=me, owner=me)
        wins += 1
    except TransitionConflict:
        pass
print(wins)
"""

_COUNT = """
import django; django.setup()
from tasks_app.models import ScheduleRun, Task, TaskEvent
moves, starts = TaskEvent.objects.filter(kind="move"), TaskEvent.objects.filter(kind="start")
print(ScheduleRun.objects.filter(outcome="done").count(), ScheduleRun.objects.count(), starts.count(),
      Task.objects.filter(status="Started").count(), moves.count(),
      sum(moves.get(task=task).actor == task.owner for task in Task.objects.all()))
"""


def test_each_due_time_and_each_move_is_won_once(tmp_path: Path, database_url: str) -> None:
    env = {**os.environ, "STATE_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "platform_site.settings"}
    env |= {"PYTHONPATH": str(ROOT), "DATABASE_URL": database_url}

    def python(code: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", code, *arguments]

    subprocess.run(python(_PREPARE), env=env, cwd=ROOT, check=True)
    racers = [
        subprocess.Popen(
            python(_RACE, f"racer-{n}"), env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(RACERS)
    ]
    go(racers)
    for racer in racers:
        assert racer.stdout and "due done\n" in iter(racer.stdout.readline, "")
    go(racers)
    wins = [int(racer.communicate(timeout=100)[0].splitlines()[-1]) for racer in racers]
    counted = subprocess.run(python(_COUNT), env=env, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert counted.split() == [str(TASKS)] * 6
    assert sum(wins) == TASKS


def go(racers: list[subprocess.Popen[str]]) -> None:
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
