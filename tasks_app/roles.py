"""Who may do what: viewers look, operators run tasks, admins do all. Groups are made by a migration."""

from __future__ import annotations

from typing import Any

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"


def role_of(user: Any) -> str | None:
    """Return the highest role of a user, None for somebody who is not logged in."""
    if not user.is_authenticated or not user.is_active:
        return None
    if user.is_superuser:
        return ADMIN
    names = set(user.groups.values_list("name", flat=True))
    return next((role for role in (ADMIN, OPERATOR) if role in names), VIEWER)


def may_operate(user: Any) -> bool:
    return role_of(user) in (OPERATOR, ADMIN)
