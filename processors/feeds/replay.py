"""Plays a recording back as if it were live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field

from processors.contract import Context, FeedProcessor, FeedSpec
from processors.contract import Params as BaseParams
from processors.feeds.engine import Engine, Handed, run_feed
from processors.feeds.files import read_ticks
from processors.feeds.pacing import pacer_for
from processors.feeds.tally import Tally


class ReplayParams(BaseParams):
    """What to play back, and how fast."""

    path: str = Field(title="File", description="CSV (gzip, zip) or Parquet with a row per tick.", min_length=1)
    pace: float = Field(
        1.0,
        ge=0,
        title="Pace",
        description="Times real time; 0 for as fast as the readers follow.",
    )
    loop: bool = Field(False, title="Loop", description="Begin a new run when the file ends.")
    columns: dict[str, str] = Field(
        {},
        title="Columns",
        description="Field → column of the file, where its names are not the usual ones; time may be date+time, amount "
        "price*volume.",
    )


class Replay(FeedProcessor):
    """Replays a file of ticks, at real pace, N times faster, or as fast as the readers follow.

    The file is read in its own order: up to two intervals of disorder are mended, what comes later than that is
    counted as late and dropped, as it would have been live. A file that goes back in time, or lists one stock after
    the other, is sorted first, if it fits into 512 MB of memory. Gaps in which nothing happens (lunch, night) are
    skipped, not waited for. Pace changes when a snapshot goes out, never what is in it. On resume the file is read
    again from its beginning without publishing, so that a resumed run goes on exactly as an undisturbed one; a
    different file (by name and size) begins a new run.
    """

    title = "Replay of a file"
    description = "Plays recorded ticks (CSV, Parquet) back at real pace, faster, or as fast as the readers follow."
    Params = ReplayParams

    def run(self, params: ReplayParams, spec: FeedSpec, context: Context) -> None:
        """Publish the file's snapshots. Raises ``SourceError`` if the file cannot be used."""
        path = Path(params.path)
        engine = Engine(spec, context, name=str(path), recording=fingerprint(path, params.columns))
        run_feed(
            engine,
            lambda _: rows_of(path, spec, engine.tally, params.columns),
            pacer_for(params.pace, spec, engine.bus),
            loop=params.loop,
        )


def rows_of(path: Path, spec: FeedSpec, tally: Tally, mapping: Mapping[str, str] | None = None) -> Iterator[Handed]:
    for batch in read_ticks(path, spec, tally, mapping):
        yield Handed(batch)


def fingerprint(path: Path, mapping: Mapping[str, str]) -> str:
    """Return what tells this recording, read in this way, from another, whatever folder it lies in."""
    way = "".join(f":{field}={mapping[field]}" for field in sorted(mapping))
    try:
        facts = path.stat()
    except OSError:
        return f"{path.name}:missing{way}"
    return f"{path.name}:{facts.st_size}{way}"
