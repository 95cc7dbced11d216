"""The table of a task's life, and its drawing."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from tasks_app.states import ENDED, LIVE, MOVES, Status, actions

DRAWING = Path(__file__).parents[3] / "docs" / "lifecycle.md"


def test_the_drawing_shows_exactly_the_legal_moves() -> None:
    drawn = re.findall(r"^\s*(\w+) --> (\w+)", DRAWING.read_text(), re.MULTILINE)
    assert {(Status(a), Status(b)) for a, b in drawn} == MOVES


def test_an_ended_task_can_only_begin_again() -> None:
    for origin, to in MOVES:
        assert origin not in ENDED or to is Status.INITIAL


def test_no_move_leads_back_into_an_attempt() -> None:
    assert (Status.RUNNING, Status.STARTED) not in MOVES
    assert not any(to is Status.INITIAL and origin in LIVE for origin, to in MOVES)


def test_every_state_answers_what_may_be_asked() -> None:
    expected = {
        (Status.INITIAL, False, False): ["start"],
        (Status.INITIAL, True, False): ["stop"],
        **{(status, True, False): ["stop"] for status in LIVE},
        **{(status, queued, stopping): ["retry"] for status in ENDED for queued in (0, 1) for stopping in (0, 1)},
    }
    for status, queued, stopping in product(Status, (False, True), (False, True)):
        found = actions(status, queued=queued, stopping=stopping)
        assert found == expected.get((status, queued, stopping), found)
        assert len(found) <= 1
    assert actions(Status.RUNNING, queued=True, stopping=True) == []
