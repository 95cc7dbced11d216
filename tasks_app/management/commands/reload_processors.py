"""``manage.py reload_processors``: checks processors.toml and swaps the registry, all or nothing."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks_app import registry, services


class Command(BaseCommand):
    help = "Check every processor of processors.toml in a fresh process and take them over, all or none."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            names = services.reload_processors()
        except registry.RegistryError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Processors: {', '.join(names)}")
