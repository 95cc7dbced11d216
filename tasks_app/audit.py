"""Who did what, when, from where: written by the services and by the signals of logins, read in the admin."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse

from tasks_app.models import AuditRecord

Outcome = Literal["done", "refused", "failed"]


@dataclass
class Origin:
    """Where the request that is being answered came from."""

    ip: str | None = None
    through: str = ""


_ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


def origin() -> Origin:
    """Return where the present request came from; nowhere, outside of requests."""
    return _ORIGIN.get() or Origin()


def remember_origin(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Django middleware: keep the request's origin for what is written while it is answered."""

    def answer(request: HttpRequest) -> HttpResponse:
        through = "admin" if request.path.startswith("/admin/") else "session"
        token = _ORIGIN.set(Origin(request.META.get("REMOTE_ADDR") or None, through))
        try:
            return get_response(request)
        finally:
            _ORIGIN.reset(token)

    return answer


def write(
    action: str, *, user: Any = None, who: str = "", target: Any = "", outcome: Outcome = "done", details: str = ""
) -> None:
    """Write one record of what a user, or somebody who gave a name, did or tried to do."""
    named = user.get_username() if user is not None and user.is_authenticated else who
    found = origin()
    AuditRecord.objects.create(
        who=named[:150],
        ip=found.ip,
        through=found.through[:80],
        action=action[:32],
        target=str(target)[:200],
        outcome=outcome,
        details=details[:2000],
    )
