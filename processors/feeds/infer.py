"""Guess what a file's numbers mean, from the numbers, and say why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from processors.contract import Columns, FeedSpec
from processors.feeds.codebook import Codebook
from processors.feeds.fields import EXPECTED, TURNOVER, find_fields, suggest
from processors.feeds.files import check_turnover, column_names, first_rows
from processors.feeds.intervals import by_code
from processors.feeds.parse import is_text
from processors.feeds.tally import SourceError, Tally
from processors.feeds.validate import Validator

SAMPLE_BATCHES = 4
# Spacings that feeds have, in ms; a measured one is taken to the nearest of them.
_USUAL_MS = np.array(
    [
        100,
        200,
        250,
        500,
        *(s * 1000 for s in (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 86400)),
    ]
)
_MARKETS = (
    (
        re.compile(r"(sh|sz|SH|SZ)?[036]\d{5}(\.(SH|SZ|SS|XSHG|XSHE))?"),
        "XSHG",
        "Asia/Shanghai",
        "six digits (A-shares)",
    ),
    (re.compile(r"[A-Z]{1,5}([.-][A-Z])?"), "XNYS", "America/New_York", "one to five letters (US)"),
)
Guess = tuple[dict[str, Any], list[str]]


def infer(path: str | Path, *, mapping: Mapping[str, str] | None = None, **given: Any) -> Guess:
    """Return (fields for ``FeedSpec`` with ``given`` among them, a sentence for each field that was inferred).

    ``mapping`` is that of ``read_ticks``. Looks at the first 260,000 rows. Raises ``SourceError`` if the file cannot be
    read or has no valid row.
    """
    path = Path(path)
    fields = {"name": re.sub(r"[^A-Za-z0-9_-]+", "-", path.name.split(".")[0]), **given}
    rows = first_rows(path, SAMPLE_BATCHES, mapping)
    said = _market(rows, path, fields)
    tally = Tally()
    codebook = Codebook(1)
    spec = FeedSpec(**{**fields, "volume_unit": "shares"})
    ticks = by_code_and_time(Validator(spec, codebook, tally, str(path))(rows))
    if not len(ticks["code"]):
        advice = _day_beside(path, mapping) if tally.rejected["bad_time"] else ""
        raise SourceError(
            f"{path} has no valid row among its first {rows.num_rows}; expected {EXPECTED}, with times such as "
            f"2021-12-01 09:30:03{advice}. Rejected: {tally.reasons()}"
        )
    if (mapping or {}).get("amount") == TURNOVER:
        said.append("amount is price times volume: it has no column of its own.")
        said += _settle(fields, volume_unit=("shares", "there is no amount to tell it by, so this is the default"))
    for guess in (_interval, _volume_mode, _volume_unit, _type_meaning):
        said += guess(ticks, rows, fields)
    check_turnover(mapping, fields["volume_mode"], path)
    return fields, said


def _day_beside(path: Path, mapping: Mapping[str, str] | None) -> str:
    """Return the advice to take the day from another column, where there is one beside the time's."""
    time = suggest(column_names(path)).get("time", "")
    return "" if (mapping or {}).get("time") == time or "+" not in time else f" (time={time} reads it from two columns)"


def by_code_and_time(ticks: Columns) -> Columns:
    order = np.argsort(ticks["time"], kind="stable")
    return by_code({name: values[order] for name, values in ticks.items()})


def _market(rows: pa.Table, path: Path, fields: dict[str, Any]) -> list[str]:
    """Settle zone and calendar by the shape of the codes."""
    code = rows.column(find_fields(rows.column_names, str(path))["code"])
    words = code.unique().to_pylist() if is_text(code) or pa.types.is_dictionary(code.type) else []
    names = [name for name in words if isinstance(name, str)][:5_000]
    calendar, zone, shape = "24/7", "UTC", "no known shape"
    for pattern, its_calendar, its_zone, its_shape in _MARKETS:
        if names and sum(bool(pattern.fullmatch(name.strip())) for name in names) > 0.8 * len(names):
            calendar, zone, shape = its_calendar, its_zone, its_shape
            break
    example = f"codes such as {names[0]} have {shape}" if names else "there are no codes"
    return _settle(fields, calendar=(calendar, example)) + _settle(fields, zone=(zone, example))


def _settle(fields: dict[str, Any], **guesses: tuple[Any, str]) -> list[str]:
    """Fill in what was not given; return a sentence for each."""
    said = []
    for name, (value, why) in guesses.items():
        if fields.get(name) is None:
            fields[name] = value
            said.append(f"{name} {value}: {why}.")
    return said


def _interval(ticks: Columns, rows: pa.Table, fields: dict[str, Any]) -> list[str]:
    steps = np.diff(ticks["time"])[np.diff(ticks["code"]) == 0]
    steps = steps[steps > 0]
    if not len(steps):
        return _settle(fields, interval_ms=(5_000, "no stock has two rows, so this is the default"))
    usual = float(np.median(steps))
    nearest = int(_USUAL_MS[np.argmin(np.abs(np.log(_USUAL_MS / usual)))])
    return _settle(fields, interval_ms=(nearest, f"the rows of a stock are {usual / 1000:g} s apart (median)"))


def _volume_mode(ticks: Columns, rows: pa.Table, fields: dict[str, Any]) -> list[str]:
    """Running totals never fall within a day, and mostly stand or rise; volumes per row fall half of the time."""
    same = (np.diff(ticks["code"]) == 0) & (np.diff(ticks["time"]) < 12 * 3_600_000)
    steps = np.diff(ticks["volume"])[same]
    falls = float(np.mean(steps < 0)) if len(steps) else 1.0
    rises = bool((steps > 0).any())
    if len(steps) >= 10 and falls < 0.02 and rises:
        return _settle(fields, volume_mode=("cumulative", f"volume falls in {falls:.1%} of a stock's steps"))
    why = f"volume falls in {falls:.0%} of a stock's steps" if len(steps) >= 10 else "too few rows to tell otherwise"
    return _settle(fields, volume_mode=("interval", why))


def _volume_unit(ticks: Columns, rows: pa.Table, fields: dict[str, Any]) -> list[str]:
    """Amount divided by price times volume is about 1 for shares, about the lot size for lots."""
    traded = (ticks["volume"] > 0) & (ticks["amount"] > 0)
    if not traded.any():
        return _settle(
            fields, volume_unit=("shares", "nothing is traded in the rows looked at, so this is the default")
        )
    ratio = float(np.median(ticks["amount"][traded] / (ticks["price"][traded] * ticks["volume"][traded])))
    lot_size = int(fields.get("lot_size") or 100)
    unit = "lots" if abs(np.log(ratio / lot_size)) < abs(np.log(ratio)) else "shares"
    return _settle(fields, volume_unit=(unit, f"amount is {ratio:.4g} times price times volume (median)"))


def _type_meaning(ticks: Columns, rows: pa.Table, fields: dict[str, Any]) -> list[str]:
    """A type that always is the sign of the change tells nothing beyond it."""
    known = np.isfinite(ticks["change"]) & (ticks["change"] != 0)
    agree = float(np.mean(np.sign(ticks["change"][known]) == ticks["type"][known])) if known.any() else 0.0
    meaning = "change_sign" if agree > 0.98 and not (ticks["type"][ticks["change"] == 0] != 0).any() else "trade_sign"
    return _settle(fields, type_meaning=(meaning, f"type is the sign of the change in {agree:.0%} of the price moves"))
