"""``manage.py describe_messages``: writes the AsyncAPI document, which the front end's types are made from."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from tasks_app import asyncapi

PATH = settings.BASE_DIR / "docs" / "asyncapi.json"


class Command(BaseCommand):
    help = "Write docs/asyncapi.json from tasks_app/messages.py. Then run: npm run generate, in frontend."

    def handle(self, *args: Any, **options: Any) -> None:
        PATH.write_text(described())


def described() -> str:
    return json.dumps(asyncapi.document(settings.VERSION), indent=2, ensure_ascii=False) + "\n"
