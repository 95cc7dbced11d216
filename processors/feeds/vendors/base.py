"""What all vendors have in common: calls within a budget and a time, answers that are whole and what they should be."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from processors.feeds.vendors.limits import Breaker, Budget

Row = Mapping[str, Any]
LOT = 100  # shares
_TEXTS = ("code", "time")


class VendorError(Exception):
    """The vendor did not give what it should. ``pause_s``: how long it asks to be left alone."""

    def __init__(self, text: str, pause_s: float | None = None) -> None:
        super().__init__(text)
        self.pause_s = pause_s


class NotThere(VendorError):
    """The vendor says that it has no such thing (404)."""


class Vendor(ABC):
    """One vendor's newest price of every stock of a market.

    ``snapshot`` gives a row per stock: code (text, without the exchange's suffix), price, and the day's running totals
    of volume in shares and amount in currency. ``url`` and token come from the environment: ``<NAME>_URL`` and
    ``<NAME>_TOKEN``. A vendor that ``waits`` sleeps until its budget has a call left; else a spent budget is an error.
    """

    name: ClassVar[str]
    url: ClassVar[str]
    calls_per_min: ClassVar[int]
    needs_token: ClassVar[bool] = False

    def __init__(
        self, state_dir: Path, *, timeout_s: float, calls_per_min: int | None = None, waits: bool = False
    ) -> None:
        self.address = os.environ.get(f"{self.name.upper()}_URL", self.url).rstrip("/")
        self.token = os.environ.get(f"{self.name.upper()}_TOKEN", "")
        if self.needs_token and not self.token:
            raise VendorError(f"{self.name.upper()}_TOKEN is not set: expected your token at {self.name}")
        self.budget = Budget(calls_per_min or self.calls_per_min, state_dir / f"calls-{self.name}.json")
        self.breaker = Breaker()
        self.waits = waits
        self.error = ""
        self._client = httpx.Client(timeout=timeout_s)

    @abstractmethod
    def snapshot(self) -> pa.Table:
        """Return the newest row of every stock. Raises ``VendorError``."""

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Make one call and return its JSON. Raises ``VendorError`` for a budget that is spent, no answer in time, a
        status that is none of success, and what is no JSON."""
        while not self.budget.take():
            if not self.waits:
                raise VendorError(f"{self.name}: the {self.budget.calls} calls of this minute are made", pause_s=5.0)
            time.sleep(self.budget.free_in_s)
        try:
            answer = self._client.request(method, f"{self.address}{path}", **request)
        except httpx.TimeoutException as error:
            raise VendorError(f"{self.name}: no answer in time ({self._client.timeout.read:g} s)") from error
        except httpx.HTTPError as error:
            raise VendorError(f"{self.name}: {error or type(error).__name__}") from error
        if answer.status_code == 429:
            raise VendorError(f"{self.name}: too many calls, says the vendor (429)", pause_s=_pause(answer))
        if answer.status_code >= 400:
            kind = NotThere if answer.status_code == 404 else VendorError
            raise kind(f"{self.name}: status {answer.status_code}, {_begin(answer)}")
        try:
            return answer.json()
        except ValueError as error:
            raise VendorError(f"{self.name}: expected JSON, got {_begin(answer)}") from error

    def pages(self, page: Callable[[int], tuple[Sequence[Row], int]]) -> list[Row]:
        """Return all rows of a list that comes in pages; ``page`` asks for one of them, from 1 on, and returns its rows
        and how many the whole list has.

        Raises ``VendorError`` for a page that is missing or short, and, before the second is asked for, where the
        budget does not allow all.
        """
        first, total = page(1)
        if not first:
            raise VendorError(f"{self.name}: an empty answer, expected a row per stock")
        count = -(-total // len(first))
        if not self.waits and self.budget.left < count - 1:
            said = (
                f"{count - 1} more calls make a market, {self.budget.left} of {self.budget.calls} are left this minute"
            )
            raise VendorError(f"{self.name}: {said}", pause_s=self.budget.free_in_s or 5.0)
        rows = list(first)
        for number in range(2, count + 1):
            more, _ = page(number)
            expected = min(len(first), total - len(rows))
            if len(more) != expected:
                raise VendorError(f"{self.name}: page {number} of {count} has {len(more)} rows, expected {expected}")
            rows += more
        return rows

    def table(
        self, rows: Sequence[Row], names: Mapping[str, str], units: Mapping[str, float] | None = None
    ) -> pa.Table:
        """Return rows of JSON as our columns; ``names`` is field → name in the JSON, ``units`` what a number of the
        JSON is worth in ours, where that is not 1.

        Raises ``VendorError`` for an empty answer, for columns that are not there any more and for a stock that is in
        it twice.
        """
        if not rows:
            raise VendorError(f"{self.name}: an empty answer, expected a row per stock")
        missing = [name for name in names.values() if not isinstance(rows[0], Mapping) or name not in rows[0]]
        if missing:
            found = ", ".join(map(str, rows[0])) if isinstance(rows[0], Mapping) else str(rows[0])[:80]
            raise VendorError(f"{self.name}: columns changed, no {', '.join(missing)}; found {found}")
        try:
            columns = {field: _column(field, [row.get(name) for row in rows]) for field, name in names.items()}
        except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
            raise VendorError(f"{self.name}: columns changed, {error}") from error
        for field, worth in (units or {}).items():
            columns[field] = pc.multiply(columns[field], float(worth))
        table = pa.table(columns)
        keys = [field for field in _TEXTS if field in names]
        once = table.group_by(keys).aggregate([]).num_rows
        if once < table.num_rows:
            raise VendorError(f"{self.name}: {table.num_rows} rows with {table.num_rows - once} stocks twice")
        return table


def _column(field: str, values: list[Any]) -> pa.Array:
    """Return text, or numbers, which may come as text; what a vendor writes where it has none becomes null."""
    if field in _TEXTS:
        return pa.array(values, pa.string())
    return pa.array([None if value in (None, "", "-") else float(value) for value in values], pa.float64())


def _pause(answer: httpx.Response) -> float:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdigit() else 60.0


def _begin(answer: httpx.Response) -> str:
    return repr(answer.text[:80])
