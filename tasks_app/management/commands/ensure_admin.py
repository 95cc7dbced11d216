"""``manage.py ensure_admin``: makes the first admin."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

PASSWORD_BYTES = 12


class Command(BaseCommand):
    help = "Make the first admin with a random password, shown once. Does nothing where there is an admin."

    def handle(self, *args: Any, **options: Any) -> None:
        name, password = ensure_admin()
        if password:
            self.stdout.write(f"Log in as {name} with the password {password} (shown only this once).")
        else:
            self.stdout.write(f"There is an admin already: {name}.")
        self.stdout.write(f"A new password: manage.py changepassword {name}")


def ensure_admin() -> tuple[str, str | None]:
    """Return the name of the first active admin; one that had to be made comes with its password."""
    users = get_user_model().objects
    found = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if found:
        return found.get_username(), None
    name = "admin" if not users.filter(username="admin").exists() else f"admin-{secrets.token_hex(2)}"
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    users.create_superuser(name, password=password)
    return name, password
