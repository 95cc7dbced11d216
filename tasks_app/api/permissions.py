"""What a role may do in the API: each view says what its calls need, the table of roles says who may."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tasks_app import audit, roles
from tasks_app.roles import May


class ByRole(BasePermission):
    """A view's ``needs`` maps an action (or method) to what it needs. Unnamed: reading needs LOOK, all else MANAGE."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method not in view.allowed_methods:
            return True  # answered with 405, which tells more
        if not request.user or not request.user.is_authenticated:
            return False
        action = getattr(view, "action", None) or (request.method or "").lower()
        needed = getattr(view, "needs", {}).get(action, May.LOOK if request.method in SAFE_METHODS else May.MANAGE)
        if roles.may(request.user, needed):
            return True
        audit.write(action, user=request.user, target=request.path, outcome="refused", details=f"needs {needed}")
        raise PermissionDenied(f"this needs the role {roles.who_may(needed)}")
