"""The process that runs one attempt of a task: ``python -m tasks_app.runner``. It knows no Django.

Its supervisor speaks to it in lines of JSON: on stdin first the order, then ``{"ping": n}``, ``{"stop": true}`` and
``{"change": {name: value}}``; on stdout come ``{"pong": n, "progress": {…}}``, ``{"running": true}``,
``{"applied": {…}}`` and, last, the outcome. When stdin ends, the supervisor is gone, and so is the runner.

What takes long to import is imported late, for a stream task's JVM starts first and beside it.

Two threads: this module's control thread answers within milliseconds whatever the work does; the work has the main
thread, which must live as long as the JVM that it starts.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from processors import gateway
from processors.snapshot import FeedSpec, Header

if TYPE_CHECKING:
    from processors.bus import Bus
    from processors.contract import Context, Processor, Sink
    from processors.history.store import History

_TRACEBACK_CHARS = 4_000
_UNPINGED_LIMIT = 5  # looks, one a second; whoever does not ping has been given up by the janitor as well


class Control:
    """The control thread's side: what the supervisor says, and what it is told."""

    def __init__(self, out: TextIO, context: Context):
        self.context = context
        self._out, self._lock = out, threading.Lock()
        self._progress: dict[str, Any] = {}
        self._changes: dict[str, Any] = {}
        self._unpinged = 0
        context.running = lambda: self.say(running=True)
        context.progress = self._take_progress

    def say(self, **message: Any) -> None:
        with self._lock:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()

    def listen(self, lines: Any) -> None:
        """Follow the supervisor until its end of the pipe closes; without it there is nothing to work for."""
        for line in lines:
            message = json.loads(line)
            if "ping" in message:
                self._unpinged = 0
                self.say(pong=message["ping"], progress=dict(self._progress))
            if "change" in message:
                with self._lock:
                    self._changes.update(message["change"])
            if message.get("stop"):
                self.context.stopping.set()
        os._exit(3)

    def watch(self) -> None:
        """End the process when its supervisor is frozen: another attempt may have begun."""
        while self._unpinged < _UNPINGED_LIMIT:
            time.sleep(1.0)
            self._unpinged += 1
        os._exit(3)

    def changes(self) -> dict[str, Any]:
        with self._lock:
            taken, self._changes = self._changes, {}
        return taken

    def applied(self, changes: dict[str, Any], header: Header) -> None:
        self.say(applied=changes, index=header.index, time=header.time)

    def _take_progress(self, **facts: Any) -> None:
        self._progress = {**self._progress, **facts}


def work(order: dict[str, Any], context: Context, control: Control, jvm: gateway.Jvm | None) -> dict[str, Any]:
    """Run the processor to its end; return the outcome for the supervisor."""
    if order["kind"] == "stream":
        return _stream(order, context, control, jvm)
    from processors.loading import code_hash, load

    processor: Processor = load(order["class"])()
    control.say(code=code_hash(type(processor)))
    params = processor.Params.model_validate(order["params"])
    if order["kind"] == "batch":
        summary = processor.run(params, context)  # type: ignore[attr-defined]
        return {"stopped": True} if context.stopping.is_set() else {"finished": summary}
    processor.run(params, FeedSpec(**order["feed"]), context)  # type: ignore[attr-defined]
    return {"stopped": True} if context.stopping.is_set() else {"finished": {}}


def _stream(order: dict[str, Any], context: Context, control: Control, jvm: gateway.Jvm | None) -> dict[str, Any]:
    from processors import spark

    # While the JVM starts, the processor and what it imports are loaded beside it.
    threading.Thread(target=_load_early, args=(order["class"],), name="loading", daemon=True).start()
    session = spark.session(order["processor"], context, jvm)

    from processors.bus import connect
    from processors.loading import code_hash, load
    from processors.streaming import Engine, Fenced, Outlets, Stopped
    from tasks_app.results import Results

    processor = load(order["class"])()
    params = processor.Params.model_validate(order["params"])
    results = Results(connect(context.redis_url), order["result_bytes"])
    control.say(code=code_hash(type(processor)))

    def start_at(bus: Bus) -> int:
        """Begin with the newest snapshots on the bus, ``catch_up`` of them, or all there are; then follow."""
        if processor.from_oldest:
            first = bus.first()
            return first.seq - 1 if first else 1
        held = bus.before(2**62, count=order["catch_up"] + 1)
        return held[0].seq - 1 if held else 1

    outlets = Outlets(
        publish=lambda header, result, meta: results.publish(context.task, context.token, header, result, meta),
        changes=control.changes,
        applied=control.applied,
    )
    engine = Engine(order["class"], processor, params, FeedSpec(**order["feed"]), context, outlets)
    try:
        engine.run(session, start_at)
    except Fenced:
        return {"fenced": True}
    except Stopped:
        pass
    return {"stopped": True}


def _load_early(path: str) -> None:
    from processors.loading import NotAProcessor, load

    with contextlib.suppress(NotAProcessor):  # the main thread meets it again, and tells
        load(path)
        importlib.import_module("processors.streaming")


def outcome_of(error: BaseException) -> dict[str, Any]:
    """Return a failure as the supervisor takes it: one sentence, and the traceback's end."""
    from pydantic import ValidationError

    if type(error).__name__ in ("JvmDied", "WorkerDied"):  # by name: a feed's runner never imports pyspark
        return {"lost": str(error)}
    if isinstance(error, ValidationError):
        reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    else:
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    tail = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    return {"failed": reason[:500], "error": tail}


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # only messages go to the supervisor; what libraries print goes to the log
    order = json.loads(sys.stdin.buffer.readline())
    starts_jvm = order["kind"] == "stream" and gateway.is_local()
    jvm = gateway.start(order["memory_mb"]) if starts_jvm else None
    log = _logger()
    control = Control(out, _context(order))
    log.info("attempt began", task_id=order["task"], attempt=order["attempt"])
    threading.Thread(target=control.listen, args=(sys.stdin.buffer,), name="control", daemon=True).start()
    threading.Thread(target=control.watch, name="watch", daemon=True).start()
    try:
        outcome = work(order, control.context, control, jvm)
    except BaseException as error:
        log.error("attempt failed", error=str(error)[:500], exc_info=error)
        outcome = outcome_of(error)
    control.say(**outcome, progress=control._progress)
    # The JVM and Spark's helpers end with this process; waiting for their orderly end would only take time.
    os._exit(0)


def _context(order: dict[str, Any]) -> Context:
    from processors.contract import Context

    context = Context(
        task=order["task"],
        attempt=order["attempt"],
        token=order["token"],
        redis_url=order["redis_url"],
        state_dir=Path(order["state_dir"]),
        fresh=order["fresh"],
        memory_mb=order["memory_mb"],
        history=lambda: _history(order["history"]),
    )
    if order["keep"]:
        context.keep = lambda: _results(order["keep"], context)
    return context


def _history(order: dict[str, Any]) -> History:
    from tasks_app.history import open_history

    return open_history(order)


def _results(directory: str, context: Context) -> Sink:
    from processors.history.results import ResultArchive
    from processors.history.sink import ResultSink

    return ResultSink(ResultArchive(Path(directory)), context.task, context.progress)


class _Unfailing:
    """Standard error for the log: a full disk takes no lines, and must not take the task with them."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def _logger() -> Any:
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(_Unfailing()),  # type: ignore[arg-type]
    )
    return structlog.get_logger()


if __name__ == "__main__":
    main()
