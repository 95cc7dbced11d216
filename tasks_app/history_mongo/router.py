"""Keeps Django's models out of the history's database: it has no tables, and nothing is migrated there."""

from __future__ import annotations

from typing import Any

ALIAS = "history"


class NoModels:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == ALIAS else None
