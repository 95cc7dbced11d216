"""What happens when somebody logs in or out, a token ends, or the admin changes a row: audit, and sockets closed."""

from __future__ import annotations

from typing import Any

from axes.signals import user_locked_out
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from tasks_app import audit, results
from tasks_app.models import ApiToken

_CHANGES = {ADDITION: "add", CHANGE: "change"}


def connect() -> None:
    user_logged_in.connect(_logged_in)
    user_logged_out.connect(_logged_out)
    user_login_failed.connect(_login_failed)
    user_locked_out.connect(_locked_out)
    post_delete.connect(_token_ended, sender=ApiToken)
    post_save.connect(_changed_in_admin, sender=LogEntry)


def _logged_in(sender: Any, request: Any, user: Any, **_: Any) -> None:
    audit.write("log in", user=user)


def _logged_out(sender: Any, request: Any, user: Any, **_: Any) -> None:
    if user is not None:
        audit.write("log out", user=user)
    if request.session.session_key:
        results.announce_end(f"session:{request.session.session_key}")


def _login_failed(sender: Any, credentials: dict[str, Any], **_: Any) -> None:
    audit.write("log in", who=str(credentials.get("username", "")), outcome="failed")


def _locked_out(sender: Any, username: str, **_: Any) -> None:
    audit.write("log in", who=str(username or ""), outcome="refused", details="locked out after too many failures")


def _token_ended(sender: Any, instance: ApiToken, **_: Any) -> None:
    credential = f"token:{instance.pk}"
    transaction.on_commit(lambda: results.announce_end(credential))


def _changed_in_admin(sender: Any, instance: LogEntry, created: bool, **_: Any) -> None:
    action = _CHANGES.get(instance.action_flag, "delete")
    kind = instance.content_type.name if instance.content_type else "row"
    told = instance.get_change_message()
    audit.write(f"{action} {kind}", user=instance.user, target=instance.object_repr, details=told)
