"""A feed out of vendors' whole-market calls: the first source that gives a whole market is taken, the others wait."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from pydantic import Field

from processors.contract import Context, FeedProcessor, FeedSpec
from processors.contract import Params as BaseParams
from processors.feeds.engine import Engine, Handed, run_feed
from processors.feeds.simulate import GridClock
from processors.feeds.vendors.base import Vendor, VendorError
from processors.feeds.vendors.registry import VENDORS

log = structlog.get_logger()
if TYPE_CHECKING:
    Source = str
else:
    Source = Literal[tuple(VENDORS)]
LOOK_S = 0.1


class VendorParams(BaseParams):
    """Which vendors, the preferred one first."""

    sources: list[Source] = Field(["tushare"], min_length=1, title="Sources")
    expected: int = Field(
        0, ge=0, title="Expected", description="Rows of a whole market; 0: as many as the largest answer so far."
    )
    least_share: float = Field(0.9, gt=0, le=1, title="Least share", description="Fewer rows are no market.")
    timeout_s: float = Field(10.0, gt=0, title="Time-out", description="Seconds for one call.")
    calls_per_min: int = Field(
        0, ge=0, title="Calls a minute", description="That your plan allows; 0: each vendor's usual number."
    )


class VendorFeed(FeedProcessor):
    """Asks once an interval for every stock's newest price. Rows are as of the interval's end; a stock whose price and
    volume have not moved since has no news and is carried.

    The first source that gives a whole market is taken; one that fails, or has too few rows, is passed over, and rests
    after three failures. While the feed's market is closed nothing is asked. The feed's volume is in shares and
    cumulative: sources that count in lots are converted.
    """

    title = "Vendors (Tushare, AKShare)"
    description = "Whole-market calls within a vendor's budget, with fail-over. Tokens come from the environment."
    Params = VendorParams

    def run(self, params: VendorParams, spec: FeedSpec, context: Context) -> None:
        """Publish until stopped. Raises ``ValueError`` for other units, ``VendorError`` for a missing token."""
        if (spec.volume_unit, spec.volume_mode) != ("shares", "cumulative"):
            raise ValueError(
                f"feed {spec.name} has volume in {spec.volume_unit}, {spec.volume_mode}; expected shares, cumulative"
            )
        engine = Engine(spec, context, name=", ".join(params.sources))
        asker = Asker(params, engine)
        try:
            run_feed(engine, lambda resume: asker.handed(GridClock(spec.interval_ms, resume.after, context.stopping)))
        finally:
            asker.close()


class Asker:
    def __init__(self, params: VendorParams, engine: Engine) -> None:
        self.params, self.engine = params, engine
        calls = params.calls_per_min or None
        self.vendors = [
            VENDORS[name](engine.context.state_dir, timeout_s=params.timeout_s, calls_per_min=calls)
            for name in dict.fromkeys(params.sources)
        ]
        self._largest = params.expected
        self._active = ""
        self._news: dict[str, tuple[float, float]] = {}  # code → price and volume of its last row
        self._pool = ThreadPoolExecutor(1, "vendor")

    def handed(self, clock: GridClock) -> Iterator[Handed]:
        for end in clock.ends():
            if not self._open(end):
                self._active = ""
                self._tell()
                yield Handed()
                continue
            asked = self._pool.submit(self._ask)
            while not asked.done():
                yield Handed(pending=True)
                if self.engine.context.stopping.wait(LOOK_S):
                    return
            rows = asked.result()
            self._tell()
            yield Handed(self._as_of(rows, end), complete_ms=end) if rows is not None else Handed(complete_ms=end)

    def _open(self, end: int) -> bool:
        session, trading = self.engine.sessions.at(end)
        return trading or session.endswith("/pre")

    def _ask(self) -> pa.Table | None:
        """Return a whole market from the first source that has one, None if none has. Runs on a thread of its own."""
        for vendor in self.vendors:
            if vendor.breaker.rests_s:
                continue
            try:
                rows = self._whole(vendor, vendor.snapshot())
            except VendorError as error:
                vendor.error = str(error)
                vendor.breaker.failed(error.pause_s)
                log.warning("source failed", feed=self.engine.spec.name, source=vendor.name, error=vendor.error)
                continue
            vendor.error, self._active = "", vendor.name
            vendor.breaker.succeeded()
            return rows
        self._active = ""
        self.engine.facts["rounds_failed"] = self.engine.facts.get("rounds_failed", 0) + 1
        return None

    def _whole(self, vendor: Vendor, rows: pa.Table) -> pa.Table:
        if rows.num_rows < self.params.least_share * self._largest:
            raise VendorError(f"{vendor.name}: truncated, {rows.num_rows} rows of {self._largest} expected")
        self._largest = max(self._largest, rows.num_rows)
        return rows

    def _as_of(self, rows: pa.Table, end: int) -> pa.Table | None:
        """Return the rows that are news, as of ``end``. Stocks without a price (suspended) are counted."""
        priced = rows.filter(pc.fill_null(pc.greater(rows.column("price"), 0), False))
        self.engine.facts["without_price"] = rows.num_rows - priced.num_rows
        codes, prices, volumes = (priced.column(name).to_pylist() for name in ("code", "price", "volume"))
        news = np.zeros(len(codes), dtype=bool)
        for row, (code, *now) in enumerate(zip(codes, prices, volumes, strict=True)):
            if self._news.get(code) != tuple(now):
                self._news[code] = (now[0], now[1])
                news[row] = True
        fresh = priced.filter(pa.array(news))
        return fresh.append_column("time", pa.array(np.full(fresh.num_rows, end))) if fresh.num_rows else None

    def _tell(self) -> None:
        self.engine.facts["sources"] = [self._told(vendor) for vendor in self.vendors]
        self.engine.facts["budget"] = {
            vendor.name: f"{vendor.budget.left} of {vendor.budget.calls} calls a minute" for vendor in self.vendors
        }

    def _told(self, vendor: Vendor) -> dict[str, Any]:
        active = vendor.name == self._active
        rest = vendor.breaker.rests_s
        state = "active" if active else f"rests {rest:.0f} s" if rest else "failed" if vendor.error else "in reserve"
        return {"name": vendor.name, "state": state, "active": active, "error": vendor.error}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for vendor in self.vendors:
            vendor.close()
