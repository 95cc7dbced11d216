"""The check suite that every stream processor has to pass, before it is registered and in its author's own tests.

In pytest one line gives a test per check::

    test_my_idea = checks.suite(MyIdea)

The market is made up, small and always the same: twelve stocks in two slices, forty snapshots.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from processors import checkpoint
from processors.contract import SNAPSHOT_SCHEMA, FeedSpec, Header, Result, StreamProcessor, Window
from processors.loading import NotAProcessor, told
from processors.slices import Delivery, align, pack, unpack
from processors.streaming import Fold

SPEC = FeedSpec("checks", interval_ms=1000, calendar="24/7")
SNAPSHOTS, STOCKS = 40, 12
_FIRST_SLICE = 7


class CheckFailed(NotAProcessor):
    """A processor does not keep the contract; the message names the check and the cause."""


@dataclass(frozen=True)
class Snapshot:
    header: Header
    slices: tuple[pa.RecordBatch, ...]


def market(count: int = SNAPSHOTS) -> list[Snapshot]:
    """Return snapshots of prices that bounce around a wandering level; some rows are carried."""
    rng = np.random.default_rng(11)
    level, codes = np.log(rng.uniform(5, 50, STOCKS)), [f"{number:06d}" for number in range(STOCKS)]
    found = []
    for index in range(count):
        level = level + rng.normal(size=STOCKS) * 3e-4
        price = np.exp(level + rng.normal(size=STOCKS) * 1e-3)
        carried = (rng.random(STOCKS) < 0.1) & (index > 0)
        found.append(snapshot(index, codes, price, np.where(carried, 1.0, 0.0)))
    return found


def snapshot(index: int, codes: list[str], price: np.ndarray, age_s: np.ndarray) -> Snapshot:
    traded = np.where(age_s > 0, 0.0, 100.0)
    columns = {
        "code": codes,
        "time": np.full(len(codes), index * 1000) - (age_s * 1000).astype(int),
        "age_s": age_s.astype(np.float32),
        "price": price,
        "change": np.zeros(len(codes)),
        "volume": traded,
        "amount": traded * price,
        "type": np.zeros(len(codes), dtype=np.int8),
    }
    whole = pa.RecordBatch.from_pydict(columns, schema=SNAPSHOT_SCHEMA)
    header = Header(
        feed=SPEC.name,
        run=1,
        seq=1000 + index,
        index=index,
        time=index * 1000,
        session="day",
        trading=True,
        expected=len(codes),
        received=int((age_s == 0).sum()),
        complete=True,
        slices=2,
        interval_ms=1000,
        pace=1.0,
        published_ms=0,
    )
    return Snapshot(header, (whole.slice(0, _FIRST_SLICE), whole.slice(_FIRST_SLICE)))


class Run:
    """A fold over the market as the engine does it, wire format included."""

    def __init__(self, processor: type[StreamProcessor], params: dict[str, Any]):
        made = processor()
        self.fold = Fold(made, made.Params.model_validate(params), SPEC)
        self.seen: list[Snapshot] = []

    def take(self, now: Snapshot) -> Result:
        """Map the snapshot's slices, fold them, and return the result, checked to be one."""
        self.seen.append(now)
        result = self.fold.step(now.header, [self._map(number) for number in range(now.header.slices)])
        _text(result)
        if result.stocks:
            pa.RecordBatch.from_pydict(result.stocks)
        return result

    def _map(self, number: int) -> Delivery:
        held = self.seen[-self.fold.processor.window(self.fold.params) :]
        window = align([each.header for each in held], [each.slices[number] for each in held])
        before = _digest(window)
        columns = self.fold.processor.map_slice(window, self.fold.params)
        if _digest(window) != before:
            raise ValueError("map_slice changed its window")
        wrong = {name: np.shape(values) for name, values in columns.items() if np.shape(values) != (len(window.codes),)}
        if wrong:
            raise ValueError(f"map_slice returned {wrong}: expected shape ({len(window.codes)},)")
        return unpack(bytearray(pack(held[-1].header, number, window.codes, columns)))

    def all(self, snapshots: list[Snapshot]) -> list[str]:
        return [_text(self.take(each)) for each in snapshots]


def _text(result: Result) -> str:
    return json.dumps(result.numbers, sort_keys=True, allow_nan=False)


def _digest(window: Window) -> str:
    found = hashlib.sha256()
    for name in sorted(window.columns):
        found.update(name.encode() + np.ascontiguousarray(window.columns[name]).tobytes())
    return found.hexdigest()


class Runs:
    """What the checks of one processor and its parameters look at."""

    def __init__(self, processor: type[StreamProcessor], params: dict[str, Any]):
        self._processor, self._params = processor, params
        self._whole: list[str] = []

    def new(self) -> Run:
        return Run(self._processor, self._params)

    def whole(self) -> list[str]:
        """Return the results of an undisturbed run over the market, which is made once."""
        self._whole = self._whole or self.new().all(market())
        return self._whole


# ---- the checks


def result_is_json_and_input_untouched(runs: Runs) -> None:
    """Every result is JSON without NaN, its columns have one length, and the window stays as it was."""
    runs.whole()


def replay_gives_the_same_numbers(runs: Runs) -> None:
    _same(runs.whole(), runs.new().all(market()))


def stopped_in_mid_batch_it_goes_on_with_the_same_numbers(runs: Runs) -> None:
    """A snapshot that was mapped but not folded is mapped again, after its state came back from a checkpoint."""
    snapshots, half = market(), SNAPSHOTS // 2
    first, second = runs.new(), runs.new()
    first.all(snapshots[:half])
    with tempfile.TemporaryDirectory(prefix="checks-") as directory:
        path = Path(directory) / "state.npz"
        checkpoint.save(path, first.fold.state, first.fold.meta())
        found = checkpoint.load(path)
    first.seen.append(snapshots[half])
    first._map(0)
    assert found is not None
    second.fold.restore(*found)
    second.seen = snapshots[:half]
    _same(runs.whole()[half:], second.all(snapshots[half:]))


def empty_batch(runs: Runs) -> None:
    """A snapshot without a stock, first of all and between two others."""
    empty, snapshots = snapshot(0, [], np.zeros(0), np.zeros(0)), market(4)
    runs.new().take(empty)
    runs.new().all([*snapshots[:2], _at(empty, 2), _at(snapshots[2], 3)])


def malformed_row(runs: Runs) -> None:
    """The worst that a feed lets through: odd codes, a price far off, a stock that comes and goes."""
    run, snapshots = runs.new(), market(6)
    run.all(snapshots[:3])
    odd = snapshot(3, ["", "é–上", "x" * 60], np.array([1e-4, 1e9, 1.0]), np.zeros(3))
    run.all([odd, _at(snapshots[3], 4), _at(snapshots[4], 5)])


def late_row(runs: Runs) -> None:
    """Nothing but carried rows, and then a gap of snapshots that nobody could read."""
    run, snapshots = runs.new(), market(8)
    run.all(snapshots[:3])
    codes = [code for part in snapshots[0].slices for code in part.column("code").to_pylist()]
    run.take(snapshot(3, codes, np.full(len(codes), 10.0), np.full(len(codes), 200.0)))
    run.take(_at(snapshots[4], 70))


def duplicate_batch(runs: Runs) -> None:
    """A recording that begins anew: the same times and rows again, in another run."""
    run, snapshots = runs.new(), market(6)
    run.all(snapshots)
    for each in snapshots:
        again = replace(each.header, run=2, seq=each.header.seq + 6, index=each.header.index + 6)
        run.take(Snapshot(again, each.slices))


CHECKS: tuple[Callable[[Runs], None], ...] = (
    result_is_json_and_input_untouched,
    replay_gives_the_same_numbers,
    stopped_in_mid_batch_it_goes_on_with_the_same_numbers,
    empty_batch,
    malformed_row,
    late_row,
    duplicate_batch,
)


def check(processor: type[StreamProcessor], params: dict[str, Any] | None = None) -> None:
    """Run every check; raise CheckFailed with all that failed."""
    failed, runs = [], Runs(processor, params or {})
    for each in CHECKS:
        try:
            with np.errstate(all="ignore"):
                each(runs)
        except Exception as error:  # a plugin may fail in any way; whoever wrote it is told how
            failed.append(f"{each.__name__}: {told(error)}")
    if failed:
        raise CheckFailed("; ".join(failed))


def suite(processor: type[StreamProcessor], **params: Any) -> Callable[..., None]:
    """Return a pytest function with a case per check."""
    import pytest

    @pytest.mark.parametrize("checked", CHECKS, ids=lambda each: each.__name__)
    def test(checked: Callable[[Runs], None]) -> None:
        checked(Runs(processor, params))

    return test


def _at(found: Snapshot, index: int) -> Snapshot:
    """Return a snapshot as the one at another place."""
    return Snapshot(replace(found.header, index=index, seq=1000 + index, time=index * 1000), found.slices)


def _same(expected: list[str], found: list[str]) -> None:
    for place, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one != other:
            raise ValueError(f"result {place} differs: {one[:200]} and {other[:200]}")
