"""Errors as problem details (RFC 9457): what was anticipated gets a status and a readable detail, nothing else does."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import redis
from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from tasks_app.services import Conflict, Invalid


def problem(status: int, detail: str, errors: dict[str, list[str]] | None = None) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return Response(body, status=status, content_type="application/problem+json")


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the problem for an anticipated error; None lets anything else be logged as what it is, a bug."""
    if isinstance(error, Invalid):
        return problem(422, str(error), error.errors)
    if isinstance(error, Conflict):
        return problem(409, str(error))
    if isinstance(error, redis.RedisError):
        return problem(503, "Redis does not answer; try again in a moment")
    if isinstance(error, Http404):
        return problem(404, str(error) or "not found")
    if isinstance(error, PermissionDenied):
        return problem(403, "not allowed")
    if isinstance(error, exceptions.ValidationError):
        errors = {name: [str(text) for text in texts] for name, texts in dict(error.detail).items()}  # type: ignore[arg-type]
        return problem(422, "the request does not fit", errors)
    if isinstance(error, exceptions.APIException):
        return problem(error.status_code, str(error.detail))
    return None
