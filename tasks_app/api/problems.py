"""Errors as problem details (RFC 9457): what was anticipated gets a status and a readable detail, nothing else does."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import redis
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views import defaults
from django.views.csrf import csrf_failure
from rest_framework import exceptions
from rest_framework.response import Response

from processors.history.store import Damaged, HistoryError, Unavailable, UnknownFeed
from tasks_app.logs import NoLog
from tasks_app.registry import RegistryError
from tasks_app.services import Conflict, Invalid
from tasks_app.uploads import NoUpload

MEDIA_TYPE = "application/problem+json"


def body(status: int, detail: str, errors: dict[str, list[str]] | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return {**told, "errors": errors} if errors else told


def problem(status: int, detail: str, errors: dict[str, list[str]] | None = None) -> Response:
    return Response(body(status, detail, errors), status=status, content_type=MEDIA_TYPE)


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the problem for an anticipated error; None lets anything else be logged as what it is, a bug."""
    if isinstance(error, Invalid):
        return problem(422, str(error), error.errors)
    if isinstance(error, Conflict):
        return problem(409, str(error))
    if isinstance(error, RegistryError):
        return problem(422, str(error))
    if isinstance(error, HistoryError):
        return problem(_history_status(error), str(error))
    if isinstance(error, redis.RedisError):
        return problem(503, "Redis does not answer; try again in a moment")
    if isinstance(error, NoLog | NoUpload | Http404):
        return problem(404, str(error) or "not found")
    if isinstance(error, PermissionDenied):
        return problem(403, "not allowed")
    if isinstance(error, exceptions.ValidationError):
        return problem(422, "the request does not fit", _flat(error.detail))
    if isinstance(error, exceptions.APIException):
        return _of_framework(error)
    if isinstance(error, RecursionError):  # of who reads JSON
        return problem(400, "the request is nested too deeply")
    return None


def _flat(detail: Any, place: str = "") -> dict[str, list[str]]:
    """Return the texts of errors by the dotted name of what they are about."""
    if isinstance(detail, dict):
        parts = [_flat(each, f"{place}.{name}".lstrip(".")) for name, each in detail.items()]
        return {name: texts for part in parts for name, texts in part.items()}
    return {place.removesuffix(".non_field_errors") or "request": [str(text) for text in detail]}


def _history_status(error: HistoryError) -> int:
    if isinstance(error, UnknownFeed):
        return 404
    if isinstance(error, Damaged):
        return 500
    return 503 if isinstance(error, Unavailable) else 422


def _of_framework(error: exceptions.APIException) -> Response:
    answer = problem(error.status_code, str(error.detail))
    if getattr(error, "auth_header", None):
        answer["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
    if getattr(error, "wait", None):
        answer["Retry-After"] = str(math.ceil(error.wait))  # type: ignore[attr-defined]
    return answer


# ---- what Django answers itself, before or beside a view of the API


def _plain(status: int, detail: str) -> JsonResponse:
    return JsonResponse(body(status, detail), status=status, content_type=MEDIA_TYPE)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def locked_out(request: HttpRequest, response: Any, credentials: Any) -> HttpResponse:
    """Return what a name and address get that have failed to log in too often."""
    wait_s = int(settings.AXES_COOLOFF_TIME.total_seconds())
    detail = f"too many failed logins: try again in {wait_s // 60} minutes, or ask an admin"
    answer = _plain(429, detail) if _is_api(request) else HttpResponse(detail, status=429, content_type="text/plain")
    answer["Retry-After"] = str(wait_s)
    return answer


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    return _plain(403, f"CSRF: {reason}") if _is_api(request) else csrf_failure(request, reason)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return (
        _plain(404, f"{request.path}: there is nothing")
        if _is_api(request)
        else defaults.page_not_found(request, exception)
    )


def failed(request: HttpRequest) -> HttpResponseBase:
    detail = "an error of the platform itself: its log tells more"
    return _plain(500, detail) if _is_api(request) else defaults.server_error(request)
