"""The sinks of a stream task as its engine sees them: all are given each snapshot, and flushed before a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from processors.contract import Context, Header, NotTaken, Result, Sink
from processors.slices import Delivery, joined

log = structlog.get_logger()

_WAIT_S = 0.25


class Sinks:
    """``meanwhile`` is called again and again while a sink takes nothing."""

    def __init__(self, sinks: Sequence[Sink], context: Context, meanwhile: Callable[[], None]):
        self._sinks = sinks
        self._context, self._meanwhile = context, meanwhile
        self._failing = ""

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def take(self, header: Header, deliveries: list[Delivery], result: Result) -> None:
        if self._sinks:
            codes, columns = joined(deliveries)
            for sink in self._sinks:
                sink.take(header, codes, columns, result)

    def due(self) -> bool:
        return any(sink.due() for sink in self._sinks)

    def flush(self) -> bool:
        """Let every sink pass on what it has, waiting for as long as one can't; False when stopped meanwhile."""
        for sink in self._sinks:
            while (why := _refusal(sink)) is not None:
                self._tell(why)
                if self._context.stopping.wait(_WAIT_S):
                    return False
                self._meanwhile()
        self._tell("")
        return True

    def _tell(self, failing: str) -> None:
        if bool(failing) != bool(self._failing):
            log.warning("a sink takes nothing, waiting" if failing else "the sink takes again", error=failing[:300])
        if failing != self._failing:
            self._failing = failing
            self._context.progress(not_taken=failing[:500])


def _refusal(sink: Sink) -> str | None:
    try:
        sink.flush()
    except NotTaken as error:
        return str(error) or "not taken"
    return None
