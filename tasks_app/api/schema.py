"""What the OpenAPI document says of errors: one shape, and which of them each call can answer with."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from tasks_app.api.problems import MEDIA_TYPE, body

AFTER = OpenApiParameter("after", str, description="id of the last result that you have")
LIMIT = OpenApiParameter("limit", int, description="1 to 5000; 600 unless told")
ETAG = OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="304 when nothing has changed")
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key with the same request gives the same task, for 24 hours; with another request, 422.",
)
_ITEM = {
    "id": "1795450006000-0",
    "numbers": {
        "run": 1,
        "index": 57,
        "time": 1638322203000,
        "target_time": 1638322206000,
        "session": "2021-12-01/am",
        "trading": True,
        "stocks": 30,
        "real": 28,
        "clusters": [{"id": 1, "size": 30, "price": 23.1, "predicted_price": 23.12}],
        "scores": None,
        "events": [],
    },
    "meta": {
        "seq": 1795450006000,
        "feed": "ashare",
        "attempt": 1,
        "handed_ms": 1795450005994,
        "published_ms": 1795450006000,
        "begun_ms": 1795450006003,
        "mapped_ms": 1795450006030,
        "step_ms": 4.2,
        "result_ms": 1795450006038,
        "lag_ms": 38.4,
        "late": False,
        "missed": 0,
    },
}
ITEM = OpenApiExample("A result", value=_ITEM, status_codes=["200"])
ITEMS = OpenApiExample("Results", value={"items": [_ITEM], "last_id": _ITEM["id"]}, status_codes=["200"])
NOT_MODIFIED = OpenApiResponse(description="What you have is the newest.")


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "tasks_app.tokens.Bearer"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token made by POST /api/tokens."}


PROBLEM = {
    "type": "object",
    "description": "An error (RFC 9457).",
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    },
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
}
_TOLD: dict[int, tuple[str, dict[str, Any]]] = {
    400: ("It is not JSON, or the password is wrong.", body(400, "wrong user name or password")),
    401: ("Nobody is logged in, or the token is not good.", body(401, "Invalid token.")),
    403: (
        "The role does not allow it, or the CSRF token is missing.",
        body(403, "this needs the role operator or admin"),
    ),
    404: ("There is no such thing.", body(404, "No Task matches the given query.")),
    405: ("The method is not for this address.", body(405, "GET changes nothing here: POST it")),
    409: ("The state forbids it.", body(409, "task 7 is Finished: can't stop; allowed: retry")),
    415: ("It is not JSON.", body(415, 'Unsupported media type "text/plain" in request.')),
    422: ("The request does not fit.", body(422, "k: 99 is greater than 32", {"k": ["99 is greater than 32"]})),
    429: ("Too many logins.", body(429, "too many failed logins: try again in 15 minutes, or ask an admin")),
    503: ("Redis, or the history's store, does not answer.", body(503, "Redis does not answer; try again in a moment")),
}


def _statuses(path: str, method: str, operation: dict[str, Any]) -> set[int]:
    """Return the errors that a call can answer with."""
    found = {401, 403, 405, 503}
    if path == "/api/session":
        return {"get": {405}, "post": {400, 403, 405, 415, 422, 429}, "delete": {403, 405}}[method]
    if (
        "{" in path
        or "page" in {each["name"] for each in operation.get("parameters", [])}
        or path in ("/demo", "/get_curr_oltp_result")
    ):
        found.add(404)
    if any(each["in"] == "query" for each in operation.get("parameters", [])):
        found.add(422)
    if method in ("post", "patch"):
        found |= {400, 409, 415, 422}
    if method == "delete":
        found.add(409)
    return found


def document_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular hook: add the errors to every operation."""
    components = result["components"]
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {
        f"Problem{status}": {
            "description": told,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
        }
        for status, (told, example) in _TOLD.items()
    }
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            for status in sorted(_statuses(path, method, operation)):
                operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    return result
