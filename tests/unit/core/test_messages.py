"""The types of the websocket's messages, the samples that both languages are tested with, and what is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks_app import asyncapi
from tasks_app.api.serializers import TaskSerializer
from tasks_app.management.commands import describe_messages
from tasks_app.messages import CLIENT, FROM_CLIENT, FROM_SERVER, SERVER, Task

SAMPLES = sorted((Path(__file__).parents[2] / "fixtures" / "messages").glob("*.json"))


def sample(name: str) -> dict[str, Any]:
    return json.loads(next(path for path in SAMPLES if path.stem == name).read_text())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_a_message(path: Path) -> None:
    kind = SERVER if path.stem.startswith("server_") else CLIENT
    kind.validate_json(path.read_text(), strict=True)


def test_every_message_has_a_sample() -> None:
    found = {type(SERVER.validate_json(path.read_text())) for path in SAMPLES if path.stem.startswith("server_")}
    found |= {type(CLIENT.validate_json(path.read_text())) for path in SAMPLES if path.stem.startswith("client_")}
    assert found == {*FROM_SERVER, *FROM_CLIENT}


def test_a_processor_may_tell_more_and_nobody_else() -> None:
    update = sample("server_results_update")
    update["item"]["numbers"]["clusters"][0]["median_bp"] = 0.3
    update["item"]["numbers"]["band"] = [1, 2]
    SERVER.validate_python(update)
    for place in (update, update["item"], update["item"]["meta"]):
        place["colour"] = "red"
        with pytest.raises(ValidationError, match="Extra inputs"):
            SERVER.validate_python(update)
        del place["colour"]


def test_a_task_is_the_same_in_the_api_and_on_the_websocket() -> None:
    assert list(Task.model_fields) == TaskSerializer.Meta.fields


def test_the_written_document_is_that_of_the_types() -> None:
    assert describe_messages.PATH.read_text() == describe_messages.described(), "run manage.py describe_messages"


def test_everything_that_the_document_refers_to_is_in_it() -> None:
    document = asyncapi.document("1")

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            mine = [part["$ref"]] if "$ref" in part else []
            return mine + [found for inner in part.values() for found in references(inner)]
        return [found for inner in part for found in references(inner)] if isinstance(part, list) else []

    found = references(document)
    assert len(found) > 50
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
