"""How well a feed's snapshots follow each other, as numbers that its task tells."""

from __future__ import annotations

from typing import Any

from processors.contract import Header


class Health:
    """``gaps`` counts the intervals of trading sessions in which no stock had a real row, ``partial`` the snapshots
    that lacked one of the expected stocks. Of a live feed ``delay_ms`` is wall time from the newest snapshot's end to
    its publishing."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.gaps = self.partial = 0
        self.facts: dict[str, Any] = {}
        self._last: Header | None = None

    def note(self, header: Header) -> None:
        """Take note of a snapshot that is on the bus."""
        self.gaps += self._missing_before(header) + (header.trading and header.received == 0)
        self.partial += header.trading and 0 < header.received < header.expected
        self._last = header
        self.facts = {
            "stocks": header.received,
            "session": header.session,
            "trading": header.trading,
            "published_at": header.published_ms,
            "gaps": self.gaps,
            "partial": self.partial,
        }
        if self.live:
            self.facts["delay_ms"] = header.published_ms - header.time

    def _missing_before(self, header: Header) -> int:
        before = self._last
        if before is None or not header.trading or (before.run, before.session) != (header.run, header.session):
            return 0
        return max((header.time - before.time) // header.interval_ms - 1, 0)
