"""The admin site: who comes in is asked of the table of roles, as everywhere."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest

from tasks_app import roles


class PlatformSite(AdminSite):
    site_header = site_title = "Live stock platform"
    login_form = AuthenticationForm  # Django's own for the admin asks for is_staff

    def __init__(self, name: str = "admin"):
        super().__init__(name)
        self.disable_action("delete_selected")  # one by one, so that each is written down

    def has_permission(self, request: HttpRequest) -> bool:
        return roles.may(request.user, roles.May.LOOK)
