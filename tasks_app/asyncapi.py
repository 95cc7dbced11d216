"""The AsyncAPI document of ``/ws/live``, made from the types of its messages."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from tasks_app.messages import CLIENT, FROM_CLIENT, FROM_SERVER, SERVER


class _Untitled(GenerateJsonSchema):
    """A field's title only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schemas() -> dict[str, Any]:
    """Return the JSON Schema of each message and of what it carries, by name."""
    given: list[tuple[str, Any, TypeAdapter[Any]]] = [
        ("ServerMessage", "validation", SERVER),
        ("ClientMessage", "validation", CLIENT),
    ]
    tops, shared = TypeAdapter.json_schemas(
        given,  # type: ignore[arg-type]
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    found = {name: schema for (name, _), schema in tops.items()} | shared["$defs"]
    for schema in found.values():
        schema.pop("title", None)
    return dict(sorted(found.items()))


def document(version: str) -> dict[str, Any]:
    """Return the document, as the platform sees it: it receives a client's messages and sends its own."""
    both = (*FROM_CLIENT, *FROM_SERVER)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Live stock platform: results and tasks as they come",
            "version": version,
            "description": (
                "A page of the site is let in by its session cookie. Anybody else asks `POST /api/tickets` for a "
                "one-time ticket and connects with `?ticket=`. Closed with 4401: the session or token has ended."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": "/ws/live",
                "messages": {each.__name__: _ref("messages", each) for each in both},
                "bindings": {"ws": {"query": {"type": "object", "properties": {"ticket": {"type": "string"}}}}},
            }
        },
        "operations": {
            "hear": _operation("receive", FROM_CLIENT),
            "tell": _operation("send", FROM_SERVER),
        },
        "components": {
            "messages": {each.__name__: _message(each) for each in both},
            "schemas": schemas(),
        },
    }


def _ref(part: str, model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/{part}/{model.__name__}"}


def _operation(action: str, models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/live"},
        "messages": [{"$ref": f"#/channels/live/messages/{each.__name__}"} for each in models],
    }


def _message(model: type[BaseModel]) -> dict[str, Any]:
    told = (model.__doc__ or "").strip()
    return {"name": model.__name__, **({"summary": told} if told else {}), "payload": _ref("schemas", model)}
