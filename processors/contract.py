"""What a processor is, and what the platform hands to it.

A processor is a class with a ``kind``, a pydantic model of its parameters, and the few methods of its kind. It knows
nothing of Django, Celery or websockets. The registry (``processors.toml``) gives it its name.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NoReturn, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from processors.snapshot import FeedSpec, Header

if TYPE_CHECKING:
    from processors.history.store import History

Kind = Literal["feed", "stream", "batch"]
Columns = dict[str, np.ndarray]


class Params(BaseModel):
    """Base of every processor's parameters. Fixed for an attempt, but for fields marked ``live``.

    Mark a live field with ``Field(..., json_schema_extra={"live": True})``: it may be changed between two snapshots.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# One slice of a snapshot on the bus, one row per stock. `time` is the event time of the stock's last tick; age_s > 0
# marks a row carried from an earlier snapshot, whose change, volume, amount and type are 0.
SNAPSHOT_SCHEMA = pa.schema(
    [
        pa.field("code", pa.string(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),
        pa.field("age_s", pa.float32(), nullable=False),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("change", pa.float64(), nullable=False),
        pa.field("volume", pa.float64(), nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
        pa.field("type", pa.int8(), nullable=False),
    ]
)
# Present on the bus only where the feed has them; NaN where a row lacks one.
QUOTE_FIELDS = ("bid", "ask", "bid_size", "ask_size")
QUOTE_SCHEMA = pa.schema([*SNAPSHOT_SCHEMA, *(pa.field(name, pa.float64()) for name in QUOTE_FIELDS)])


def _no_history() -> NoReturn:
    raise RuntimeError("this task was given no history")


@dataclass
class Context:
    """What a running processor is given beside its parameters. All of it may be used from the work thread only,
    but ``stopping``, which the control thread sets.

    ``running()`` tells the task that the first batch began; ``progress(**facts)`` replaces facts in what the task
    tells of itself (JSON values; counters, not text for people); both return at once.
    ``history()`` opens the store that the platform is set to, each time anew.
    """

    task: int
    attempt: int
    token: str
    redis_url: str
    state_dir: Path
    fresh: bool = False
    memory_mb: int = 768  # heap of the JVM, if there is one
    stopping: threading.Event = field(default_factory=threading.Event)
    running: Callable[[], None] = lambda: None
    progress: Callable[..., None] = lambda **facts: None
    history: Callable[[], History] = _no_history
    keep: Callable[[], Sink] | None = None  # of a task whose results are kept: opens where they go

    def stage(self, name: str, number: int, of: int) -> None:
        """Tell that a stage of a batch begins; the first has number 1."""
        self.progress(stage=name, stage_number=number, stages=of, share=round((number - 1) / of, 4))

    def done(self, share: float, **counters: int) -> None:
        """Tell which share of the whole work is done, 0 to 1, and counters of it."""
        self.progress(share=round(min(max(share, 0.0), 1.0), 4), **counters)


class Processor(ABC):
    """Base of every processor. ``title`` and ``description`` are shown to users."""

    kind: ClassVar[Kind]
    title: ClassVar[str] = ""
    description: ClassVar[str] = ""
    Params: ClassVar[type[Params]] = Params


class FeedProcessor(Processor):
    """Makes snapshots out of a source. Runs in its own process, without Spark, until stopped or at the source's end."""

    kind = "feed"

    @abstractmethod
    def run(self, params: Any, spec: FeedSpec, context: Context) -> None:
        """Publish snapshots until the source ends (return) or ``context.stopping`` is set (return soon after).

        Called once per attempt. An exception ends the task as Terminated with its message.
        """


@dataclass(frozen=True)
class Window:
    """The last W snapshots of one slice, newest last, aligned on the newest one's codes.

    ``codes`` has shape (n,); each array of ``columns`` has shape (W', n) with W' ≤ W (fewer at a feed's start), the
    bus columns but ``code``, NaN (or 0 for ``type``) where an older snapshot lacks the stock. ``headers`` has W' items.
    """

    codes: pa.StringArray
    columns: Mapping[str, np.ndarray]
    headers: tuple[Header, ...]
    newest: Mapping[str, np.ndarray]  # the last row of each of ``columns``, shape (n,), without the cost of the others


@dataclass(frozen=True)
class Result:
    """What a stream processor says of one snapshot.

    ``numbers`` is JSON and deterministic: the same snapshots give the same bytes, live or replayed. ``stocks`` holds
    columns of equal length with a value per stock (``code`` first, by convention), or is empty.
    """

    numbers: dict[str, Any]
    stocks: dict[str, Any] = field(default_factory=dict)


class NotTaken(Exception):
    """A sink could not pass on what it was given; it still has it, and can be asked again."""


class Sink(Protocol):
    """Where the snapshots of a stream task go beside its results. Used on the work thread only.

    The engine saves its place only after a ``flush``: what was taken since is taken again after a death, so the other
    side must tell by a snapshot's feed and time what it has already. While ``flush`` raises NotTaken the task waits,
    and the bus holds what comes.
    """

    def take(self, header: Header, codes: list[pa.StringArray], columns: Columns, result: Result) -> None:
        """Remember a snapshot, with arguments as in ``step``, and what came of it. Returns at once."""

    def due(self) -> bool:
        """Say whether it is time to flush."""

    def flush(self) -> None:
        """Make all that was taken durable; raise NotTaken when that can't be done now."""


State = TypeVar("State")


class StreamProcessor(Processor, Generic[State]):
    """Does something with each snapshot of a feed, in order: pure functions over explicit state.

    ``map_slice`` runs on Spark's executors, once per slice and snapshot, in any order; ``step`` on the driver, once
    per snapshot, in order. Nothing else is remembered and nothing else is read, not even a clock: resuming, replaying
    and evaluating over history are the same loop over the same functions, without Spark in a unit test.
    """

    kind = "stream"

    def window(self, params: Any) -> int:
        """Return how many snapshots, the newest included, ``map_slice`` looks at."""
        return 1

    @abstractmethod
    def init(self, params: Any, spec: FeedSpec) -> State:
        """Return the state before the first snapshot: a dict of NumPy arrays, numbers, strings, lists and dicts."""

    @abstractmethod
    def map_slice(self, window: Window, params: Any) -> Columns:
        """Return columns per stock of the slice, each of shape (n,). Called in a Spark worker process; must not keep
        anything or change its input."""

    @abstractmethod
    def step(
        self, state: State, header: Header, codes: list[pa.StringArray], columns: Columns, params: Any
    ) -> tuple[State, Result]:
        """Fold one snapshot into the state and return both. ``codes`` holds an array per slice; ``columns`` are those
        of ``map_slice``, slices one after the other. The state given may be changed in place."""

    def change(self, state: State, params: Any) -> State:
        """Return the state adapted to changed live parameters. Called between two snapshots."""
        return state

    from_oldest: ClassVar[bool] = False  # a first attempt begins with the oldest snapshot on the bus

    def sinks(self, params: Any, spec: FeedSpec, context: Context) -> list[Sink]:
        """Return where snapshots go beside the results. Called once per attempt, in the runner."""
        return []


class BatchProcessor(Processor):
    """Does something with history and ends by itself."""

    kind = "batch"

    @abstractmethod
    def run(self, params: Any, context: Context) -> dict[str, Any]:
        """Do the work, telling progress; return a JSON summary. Return early when ``context.stopping`` is set."""


_ONE_SLICE_BELOW = 15_000  # stocks; between two sizes measured on two cores, docs/decisions/0001-thin-micro-batches.md


def slices_for(stocks: int) -> int:
    """Return how many slices bring the results of a market of so many stocks soonest."""
    return 1 if stocks < _ONE_SLICE_BELOW else 2


def slice_of(codes: list[str], slices: int) -> np.ndarray:
    """Return the slice number of each code: stable over runs and machines, shape (n,)."""
    from zlib import crc32

    return np.fromiter((crc32(code.encode()) % slices for code in codes), dtype=np.int64, count=len(codes))
