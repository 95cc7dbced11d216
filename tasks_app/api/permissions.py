"""What a role may do in the API."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tasks_app import roles


class ViewerReadsOperatorWrites(BasePermission):
    """Any logged-in user reads; what changes something needs an operator or an admin."""

    message = "this needs the role operator or admin"

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        return request.method in SAFE_METHODS or roles.may_operate(request.user)
