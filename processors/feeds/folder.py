"""A folder that is watched for new files of ticks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import structlog
from pydantic import Field

from processors.contract import Context, FeedProcessor, FeedSpec
from processors.contract import Params as BaseParams
from processors.feeds.engine import Engine, Handed, run_feed
from processors.feeds.files import read_ticks
from processors.feeds.pacing import pacer_for
from processors.feeds.tally import SourceError

log = structlog.get_logger()
LOOK_EVERY_S = 0.2
SETTLED_S = 1.0  # a file that has not changed for this long is whole
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart")
Known = tuple[str, int, int]  # name, bytes, time of change in ns: what tells one file from another


class FolderParams(BaseParams):
    """Which folder, and which of its files."""

    path: str = Field(title="Folder", min_length=1)
    pattern: str = Field("*", title="Files", min_length=1, description="Such as ticks-*.csv.gz")
    columns: dict[str, str] = Field(
        {},
        title="Columns",
        description="Field → column of the files, where their names are not the usual ones; time may be date+time, "
        "amount price*volume.",
    )
    pace: float = Field(0.0, ge=0, title="Pace", description="Times real time; 0 for as fast as the readers follow.")


class Folder(FeedProcessor):
    """Reads each file that comes into a folder, once, in the order of their names among those that are there.

    A file is read when it has not changed for a second (or write it under a name that ends with .tmp or begins with a
    dot, and rename it). A file that changes later is read again. Which were read is remembered in the task's state, and
    a file counts as read once its rows are on the bus: after a crash it is read again, and what is on the bus already
    is late and dropped. A file that cannot be used is counted (``unusable_file``) and shown, and the next one is read.
    """

    title = "Folder of files"
    description = "Watches a folder and reads each new file of ticks (CSV, gzip, zip, Parquet) that comes into it."
    Params = FolderParams

    def run(self, params: FolderParams, spec: FeedSpec, context: Context) -> None:
        """Publish until stopped. Raises ``SourceError`` if there is no such folder."""
        if not Path(params.path).is_dir():
            raise SourceError(f"{params.path} is no folder; expected one that files of ticks come into")
        engine = Engine(spec, context, name=params.path, reorder_ms=2 * spec.interval_ms)
        watcher = Watcher(params, engine)
        run_feed(engine, lambda _: watcher.handed(), pacer_for(params.pace, spec, engine.bus))


class Watcher:
    def __init__(self, params: FolderParams, engine: Engine) -> None:
        self.params, self.engine, self.folder = params, engine, Path(params.path)
        self._memory = engine.context.state_dir / "files-read.json"
        self._read: set[Known] = set() if engine.context.fresh else self._remembered()
        self._since: dict[Known, float] = {}

    def handed(self) -> Iterator[Handed]:
        while not self.engine.context.stopping.is_set():
            found = self._next()
            if found is not None:
                yield from self._rows(found)
                continue
            yield Handed()
            self.engine.context.stopping.wait(LOOK_EVERY_S)

    def _next(self) -> Known | None:
        """Return the first file by name that is new and whole."""
        now = time.monotonic()
        there = sorted(self._there())
        self._since = {known: self._since.get(known, now) for known in there}
        return next((known for known in there if now - self._since[known] >= SETTLED_S), None)

    def _there(self) -> Iterator[Known]:
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    known = self._known(entry)
                    if known is not None and known not in self._read:
                        yield known
            self._tell("watching")
        except OSError as error:
            self._tell("missing", str(error))

    def _known(self, entry: os.DirEntry[str]) -> Known | None:
        wanted = fnmatch(entry.name, self.params.pattern) and not entry.name.endswith(_UNFINISHED)
        if not wanted or entry.name.startswith(".") or not entry.is_file():
            return None
        facts = entry.stat()
        return entry.name, facts.st_size, facts.st_mtime_ns

    def _rows(self, known: Known) -> Iterator[Handed]:
        engine, path = self.engine, self.folder / known[0]
        self._read.add(known)
        engine.facts["file"] = known[0]
        log.info("reading", feed=engine.spec.name, file=str(path), size=known[1])
        try:
            for batch in read_ticks(path, engine.spec, engine.tally, self.params.columns):
                yield Handed(batch)
        except SourceError as error:
            reason = str(error)
            engine.tally.reject("unusable_file", np.zeros(1), lambda _: reason)
            log.warning("file cannot be used", feed=engine.spec.name, error=reason)
        yield Handed(safe=lambda: self._remember(set(self._read)))

    def _remembered(self) -> set[Known]:
        try:
            return {(name, size, changed) for name, size, changed in json.loads(self._memory.read_text())}
        except FileNotFoundError:
            return set()

    def _remember(self, read: set[Known]) -> None:
        self.engine.facts["files_read"] = len(read)
        draft = self._memory.with_suffix(".new")
        draft.write_text(json.dumps(sorted(read)))
        os.replace(draft, self._memory)

    def _tell(self, state: str, error: str = "") -> None:
        active = state == "watching"
        self.engine.facts["sources"] = [{"name": self.params.path, "state": state, "active": active, "error": error}]
