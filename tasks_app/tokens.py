"""What a program shows instead of a password: named tokens that end, and one-time tickets for the websocket."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from tasks_app import audit, results
from tasks_app.models import ApiToken
from tasks_app.services import Conflict, Invalid

TICKET_S = 30
LONGEST_DAYS = 365
_TOLD_EVERY = timedelta(minutes=1)


class Bearer(TokenAuthentication):
    """``Authorization: Bearer TOKEN``."""

    def authenticate(self, request: Any) -> Any:
        try:
            found = super().authenticate(request)
        except UnicodeDecodeError as error:
            raise AuthenticationFailed("Invalid token.") from error
        if found is not None:
            _note_use(found[1])
        return found


def _note_use(token: ApiToken) -> None:
    audit.origin().through = f"token {token.name}"
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > _TOLD_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)


def make(user: Any, name: str, days: int) -> tuple[ApiToken, str]:
    """Make a token of a user that ends after some days; return it with the text that is told only now."""
    if not 1 <= days <= LONGEST_DAYS:
        raise Invalid({"days": [f"{days}: expected 1 to {LONGEST_DAYS}"]})
    try:
        ApiToken._meta.get_field("name").clean(name, None)
        with transaction.atomic():
            token, text = ApiToken.objects.create(user=user, expiry=timedelta(days=days), name=name)
            audit.write("make token", user=user, target=token, details=f"ends {token.expiry:%Y-%m-%d %H:%M} UTC")
    except ValidationError as error:
        raise Invalid({"name": [f"{name!r}: {text}" for text in error.messages]}) from error
    except IntegrityError as error:
        raise Conflict(f"there is a token {name!r} already: revoke it, or choose another name") from error
    return token, text


def revoke(token: ApiToken, *, user: Any) -> None:
    """End a token; the sockets that were opened with it are closed."""
    audit.write("revoke token", user=user, target=token)
    token.delete()


def credential_of(request: Any) -> str:
    """Return the name of what a request was let in by: a session or a token."""
    if isinstance(request.auth, ApiToken):
        return f"token:{request.auth.pk}"
    return f"session:{request._request.session.session_key}"


def holder(credential: str) -> Any:
    """Return the user whom a session or token still lets in, else None."""
    kind, _, key = credential.partition(":")
    user = _by_token(key) if kind == "token" else _by_session(key)
    return user if user is not None and user.is_authenticated and user.is_active else None


def _by_token(digest: str) -> Any:
    found = ApiToken.objects.select_related("user").filter(pk=digest, expiry__gt=timezone.now()).first()
    return found.user if found else None


def _by_session(key: str) -> Any:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    return get_user(SimpleNamespace(session=store(key)))  # type: ignore[arg-type]


def issue_ticket(credential: str) -> str:
    """Return a ticket that opens one websocket within half a minute, for who was let in by a credential."""
    ticket = secrets.token_urlsafe(32)
    results.default().put_ticket(_hash(ticket), credential, TICKET_S)
    return ticket


def redeem_ticket(ticket: str) -> str | None:
    """Return the credential behind a ticket and use the ticket up; None for one that is not good (any more)."""
    return results.default().take_ticket(_hash(ticket))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
