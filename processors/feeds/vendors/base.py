"""What all vendors have in common: calls within a budget and a time, answers that are what they should be."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pyarrow as pa
import pyarrow.compute

from processors.feeds.vendors.limits import Breaker, Budget

FIELDS = ("code", "price", "volume", "amount")


class VendorError(Exception):
    """The vendor did not give what it should. ``pause_s``: how long it asks to be left alone."""

    def __init__(self, text: str, pause_s: float | None = None) -> None:
        super().__init__(text)
        self.pause_s = pause_s


class Vendor(ABC):
    """One vendor's newest price of every stock of a market.

    ``snapshot`` gives a row per stock: code (text, without the exchange's suffix), price, and the day's running totals
    of volume in shares and amount in currency. ``url`` and token come from the environment: ``<NAME>_URL`` and
    ``<NAME>_TOKEN``.
    """

    name: ClassVar[str]
    url: ClassVar[str]
    calls_per_min: ClassVar[int]
    needs_token: ClassVar[bool] = False

    def __init__(self, state_dir: Path, *, timeout_s: float, calls_per_min: int | None = None) -> None:
        self.address = os.environ.get(f"{self.name.upper()}_URL", self.url).rstrip("/")
        self.token = os.environ.get(f"{self.name.upper()}_TOKEN", "")
        if self.needs_token and not self.token:
            raise VendorError(f"{self.name.upper()}_TOKEN is not set: expected your token at {self.name}")
        self.budget = Budget(calls_per_min or self.calls_per_min, state_dir / f"calls-{self.name}.json")
        self.breaker = Breaker()
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
        if not self.budget.take():
            raise VendorError(f"{self.name}: the {self.budget.calls} calls of this minute are made", pause_s=5.0)
        try:
            answer = self._client.request(method, f"{self.address}{path}", **request)
        except httpx.TimeoutException as error:
            raise VendorError(f"{self.name}: no answer in time ({self._client.timeout.read:g} s)") from error
        except httpx.HTTPError as error:
            raise VendorError(f"{self.name}: {error or type(error).__name__}") from error
        if answer.status_code == 429:
            raise VendorError(f"{self.name}: too many calls, says the vendor (429)", pause_s=_pause(answer))
        if answer.status_code >= 400:
            raise VendorError(f"{self.name}: status {answer.status_code}, {_begin(answer)}")
        try:
            return answer.json()
        except ValueError as error:
            raise VendorError(f"{self.name}: expected JSON, got {_begin(answer)}") from error

    def table(self, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], *, lot: int = 1) -> pa.Table:
        """Return rows of JSON as our columns; ``names`` is field → name in the JSON, ``lot`` the shares of a unit of
        its volume. Raises ``VendorError`` for an empty answer and for columns that are not there any more."""
        if not rows:
            raise VendorError(f"{self.name}: an empty answer, expected a row per stock")
        missing = [name for name in names.values() if not isinstance(rows[0], Mapping) or name not in rows[0]]
        if missing:
            found = ", ".join(map(str, rows[0])) if isinstance(rows[0], Mapping) else str(rows[0])[:80]
            raise VendorError(f"{self.name}: columns changed, no {', '.join(missing)}; found {found}")
        try:
            columns = {field: pa.array([row.get(names[field]) for row in rows], _kind(field)) for field in FIELDS}
        except (pa.ArrowException, TypeError) as error:
            raise VendorError(f"{self.name}: columns changed, {error}") from error
        volume = pa.compute.multiply(columns["volume"], float(lot))
        return pa.table({**columns, "volume": volume})


def _kind(field: str) -> pa.DataType:
    return pa.string() if field == "code" else pa.float64()


def _pause(answer: httpx.Response) -> float:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdigit() else 60.0


def _begin(answer: httpx.Response) -> str:
    return repr(answer.text[:80])
