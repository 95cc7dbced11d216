"""Who may do what: one table, which the API, the admin and the websocket all ask. Groups are made by a migration."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.contrib.auth.backends import BaseBackend

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"


class May(StrEnum):
    LOOK = "look"  # tasks, feeds, processors, results, logs, the websocket; tokens of one's own
    RUN = "run"  # create, start, stop and retry tasks, change what may change while they run
    MANAGE = "manage"  # processors, feeds, instruments, users, everybody's tokens, the audit


TABLE: dict[str, frozenset[May]] = {
    VIEWER: frozenset({May.LOOK}),
    OPERATOR: frozenset({May.LOOK, May.RUN}),
    ADMIN: frozenset(May),
}
# What the admin shows to everybody who may look; whatever else is in it is the admins'.
_SHOWN = frozenset(
    f"tasks_app.view_{name}"
    for name in ("task", "taskevent", "processor", "feed", "instrument", "schedule", "schedulerun")
)


def role_of(user: Any) -> str | None:
    """Return the highest role of a user, None for somebody who is not logged in."""
    if not user.is_authenticated or not user.is_active:
        return None
    if user.is_superuser:
        return ADMIN
    names = set(user.groups.values_list("name", flat=True))
    return next((role for role in (ADMIN, OPERATOR) if role in names), VIEWER)


def may(user: Any, what: May) -> bool:
    """Say whether a user's role allows something."""
    role = role_of(user)
    return role is not None and what in TABLE[role]


def who_may(what: May) -> str:
    """Return the roles that may do something, in words."""
    return " or ".join(role for role in TABLE if what in TABLE[role])


class RoleBackend(BaseBackend):
    """Answers Django's own questions about permissions, those of the admin, from the table."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return may(user_obj, May.LOOK if perm in _SHOWN else May.MANAGE)

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return may(user_obj, May.LOOK if app_label == "tasks_app" else May.MANAGE)
