"""Six processes racing for the same moves and due times, on each kind of database: each is won once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
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
import random, sys
import django; django.setup()
from tasks_app.lifecycle import TransitionConflict, transition
from tasks_app.models import Task
from tasks_app.states import Status
me, wins = sys.argv[1], 0
sys.stdin.readline()
tasks = list(Task.objects.order_by("id"))
for task in tasks:
    try:
        transition(task, Status.STARTED, actor=me, owner=me)
        wins += 1
    except TransitionConflict:
        pass
print(wins)
"""

_DUE = """
import sys
import django; django.setup()
from datetime import UTC, datetime
from tasks_app import jobs, schedules
jobs.send = lambda task: True  # there is no broker: what is raced for is the database
sys.stdin.readline()
schedules.run_due(datetime(2021, 12, 1, 12, 0, 1, tzinfo=UTC))
print(0)
"""

_COUNT = """
import django; django.setup()
from tasks_app.models import Task, TaskEvent
print(Task.objects.filter(status="Started").count(), TaskEvent.objects.count(),
      sum(TaskEvent.objects.get(task=task).actor == task.owner for task in Task.objects.all()))
"""

_COUNT_DUE = """
import django; django.setup()
from tasks_app.models import ScheduleRun, TaskEvent
print(ScheduleRun.objects.filter(outcome="done").count(), ScheduleRun.objects.count(),
      TaskEvent.objects.filter(kind="start").count())
"""


@pytest.mark.parametrize(("race", "count"), [(_RACE, _COUNT), (_DUE, _COUNT_DUE)], ids=["moves", "due times"])
def test_each_is_won_once(tmp_path: Path, database_url: str, race: str, count: str) -> None:
    env = {**os.environ, "STATE_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "platform_site.settings"}
    env |= {"PYTHONPATH": str(ROOT), "DATABASE_URL": database_url}

    def python(code: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", code, *arguments]

    subprocess.run(python(_PREPARE), env=env, cwd=ROOT, check=True)
    racers = [
        subprocess.Popen(
            python(race, f"racer-{n}"), env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(RACERS)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wins = [int(racer.communicate(timeout=100)[0].splitlines()[-1]) for racer in racers]
    counted = subprocess.run(python(count), env=env, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert counted.split() == [str(TASKS)] * 3
    assert sum(wins) in (TASKS, 0)
