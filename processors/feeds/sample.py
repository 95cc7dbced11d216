"""The recording that comes with the project: 30 Shanghai stocks, one hour. See sample/README.md."""

from __future__ import annotations

from processors.contract import FeedSpec

DEMO_PATH = "sample/ashare_3s_30_20211201.parquet"  # relative to the project's root
DEMO_SPEC = FeedSpec(
    name="ashare-demo",
    title="30 Shanghai stocks, 1 December 2021 (replay)",
    zone="Asia/Shanghai",
    calendar="XSHG",
    interval_ms=3_000,
    volume_unit="lots",
    lot_size=100,
    volume_mode="interval",
    type_meaning="trade_sign",
)
