"""Six processes racing for the same transitions: each is won once, and every win has its event."""

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
from tasks_app.models import Processor, Task
processor = Processor.objects.create(name="p", kind="stream", class_path="processors.x:X")
Task.objects.bulk_create([Task(processor=processor, kind="stream") for _ in range({TASKS})])
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

_COUNT = """
import django; django.setup()
from tasks_app.models import Task, TaskEvent
print(Task.objects.filter(status="Started").count(), TaskEvent.objects.count(),
      sum(TaskEvent.objects.get(task=task).actor == task.owner for task in Task.objects.all()))
"""


def test_each_transition_is_won_once(tmp_path: Path) -> None:
    env = {**os.environ, "STATE_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "platform_site.settings"}
    env["PYTHONPATH"] = str(ROOT)

    def python(code: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", code, *arguments]

    subprocess.run(python(_PREPARE), env=env, cwd=ROOT, check=True)
    racers = [
        subprocess.Popen(
            python(_RACE, f"racer-{n}"), env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(RACERS)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wins = [int(racer.communicate(timeout=100)[0]) for racer in racers]
    counted = subprocess.run(python(_COUNT), env=env, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert sum(wins) == TASKS
    assert counted.split() == [str(TASKS)] * 3
