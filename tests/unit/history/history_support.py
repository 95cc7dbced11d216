"""What the history tests share: a made-up market as the bus has it, and as a history keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from processors.contract import QUOTE_SCHEMA, SNAPSHOT_SCHEMA, FeedSpec, Header, slice_of
from processors.history.rows import batch_columns, kept
from processors.history.store import History, Kept

SPEC = FeedSpec("market", zone="Asia/Shanghai", calendar="XSHG", interval_ms=3_000)
BEGIN = 1_638_322_200_000  # 2021-12-01 09:30 in Shanghai
DAY_MS = 86_400_000
Snapshot = tuple[Header, list[pa.RecordBatch]]


def market(
    count: int, stocks: int = 20, *, begin: int = BEGIN, seed: int = 1, quotes: bool = True, spec: FeedSpec = SPEC
) -> list[Snapshot]:
    """Return snapshots as they stand on the bus; about every fifth row is carried."""
    rng = np.random.default_rng(seed)
    codes = np.array([f"{number:06d}" for number in range(stocks)])
    slices = slice_of(codes.tolist(), spec.slices)
    price = np.round(rng.uniform(5, 50, stocks), 2)
    found = []
    for index in range(count):
        moment = begin + index * spec.interval_ms
        price = np.round(price + rng.integers(-2, 3, stocks) / 100, 2)
        carried = rng.random(stocks) < 0.2
        columns: dict[str, Any] = {
            "code": codes,
            "time": moment - np.where(carried, 2 * spec.interval_ms, rng.integers(0, spec.interval_ms, stocks)),
            "age_s": np.where(carried, 2 * spec.interval_ms / 1000, 0).astype(np.float32),
            "price": price,
            "change": np.where(carried, 0, rng.integers(-2, 3, stocks) / 100),
            "volume": np.where(carried, 0, rng.integers(0, 90, stocks) * 100.0),
            "amount": np.where(carried, 0, np.round(rng.uniform(0, 1e6, stocks), 2)),
            "type": np.where(carried, 0, rng.integers(-1, 2, stocks)).astype(np.int8),
            "bid": np.where(codes == "000003", np.nan, price - 0.01),
            "ask": np.where(codes == "000003", np.nan, price + 0.01),
            "bid_size": np.where(codes == "000003", np.nan, 100.0),
            "ask_size": np.where(codes == "000003", np.nan, 200.0),
        }
        schema = QUOTE_SCHEMA if quotes else SNAPSHOT_SCHEMA
        parts = [
            pa.RecordBatch.from_arrays(
                [pa.array(columns[field.name][slices == part], field.type) for field in schema], schema=schema
            )
            for part in range(spec.slices)
        ]
        received = int((~carried).sum())
        header = Header(
            feed=spec.name, run=1, seq=moment + 7, index=index, time=moment, session="2021-12-01/am", trading=True,
            expected=stocks, received=received, complete=received == stocks, slices=spec.slices,
            interval_ms=spec.interval_ms, pace=1.0, published_ms=moment + 7, size_bytes=9, handed_ms=moment + 3,
        )  # fmt: skip
        found.append((header, parts))
    return found


def keep(snapshots: list[Snapshot]) -> list[Kept]:
    return [kept(header, [batch_columns(part) for part in parts]) for header, parts in snapshots]


def kept_market(count: int, stocks: int = 20, **options: Any) -> list[Kept]:
    return keep(market(count, stocks, **options))


def expected_rows(snapshots: list[Kept]) -> pa.Table:
    """Return the rows of snapshots as a history has to give them."""
    rows = pa.concat_tables([each.rows for each in snapshots])
    return rows.sort_by([("snapshot", "ascending"), ("code", "ascending")]).combine_chunks()


def all_rows(history: History, **asked: Any) -> pa.Table:
    return history.read(SPEC.name, **asked).read_all().combine_chunks()


def again(snapshot: Kept, **changes: Any) -> Kept:
    """Return the snapshot with another header: of another run, for one."""
    return replace(snapshot, header=replace(snapshot.header, **changes))
