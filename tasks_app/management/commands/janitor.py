"""``manage.py janitor``: finds the dead and the lost, until it is ended."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from tasks_app import janitor


class Command(BaseCommand):
    help = "Terminate tasks whose worker died, send again what was lost, go on with what can go on. Runs until ended."

    def handle(self, *args: Any, **options: Any) -> None:
        janitor.run()
