"""A feed and its snapshots in words. No library is imported: each of Spark's helper processes starts with this."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class FeedSpec:
    """A feed's row as plain data: what its numbers mean. Times in ms or s as named, ``zone`` an IANA name.

    ``calendar`` is a name of exchange_calendars (``XSHG``, ``XNYS`` …) or ``24/7`` for a market that never closes.
    ``volume_unit`` and ``volume_mode`` say what the source delivers; on the bus volume is always shares per interval.
    ``type_meaning`` is ``trade_sign`` (an exchange's flag or the quote rule) or ``change_sign``. With ``keep_raw`` the
    ticks that a snapshot was made of are on the bus beside it.
    """

    name: str
    title: str = ""
    zone: str = "Asia/Shanghai"
    calendar: str = "XSHG"
    interval_ms: int = 5_000
    volume_unit: Literal["shares", "lots"] = "shares"
    lot_size: int = 100
    volume_mode: Literal["interval", "cumulative"] = "interval"
    type_meaning: Literal["trade_sign", "change_sign"] = "trade_sign"
    simulated: bool = False
    slices: int = 1
    grace_ms: int = 500
    carry_limit_s: int = 300
    max_bytes: int = 256 * 2**20
    keep_raw: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> FeedSpec:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Header:
    """What a snapshot says of itself. It covers event times (time − interval_ms, time], in ms UTC.

    ``seq`` is its number on the bus (rising, with gaps), ``index`` counts the feed's snapshots without gaps, ``run``
    counts passes over a recording. ``session`` names the trading session (no return crosses its end); in a session
    with ``trading`` false (an auction, say) nothing is trained or scored. ``expected`` and ``received`` count
    stocks. ``pace`` is event time per wall time, 0 for as fast as the readers follow. ``published_ms`` is wall time,
    ``handed_ms`` the wall time at which the snapshot's last row was handed to the feed (or its pace let it go).
    """

    feed: str
    run: int
    seq: int
    index: int
    time: int
    session: str
    trading: bool
    expected: int
    received: int
    complete: bool
    slices: int
    interval_ms: int
    pace: float
    published_ms: int
    size_bytes: int = 0
    handed_ms: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Header:
        """Return the header; what another version of the platform wrote beside its fields is left aside."""
        known = {name: value for name, value in json.loads(text).items() if name in cls.__dataclass_fields__}
        return cls(**known)
