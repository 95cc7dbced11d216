"""What a file's numbers mean, guessed and explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from feed_support import HEADER

from processors.contract import FeedSpec
from processors.feeds.infer import infer
from processors.feeds.sample import DEMO_SPEC
from processors.feeds.tally import SourceError


def write(path: Path, codes: list[str], every_s: int, *, factor: float = 1.0, total: bool = False) -> Path:
    """Write 100 rows per stock. ``factor``: amount / (price · volume)."""
    lines, sums = [HEADER], 0
    for i in range(100):
        seconds = i * every_s
        for code in codes:
            volume = 100 + (i * 7919) % 50
            sums += volume
            shown = sums if total else volume
            at = f"2021-12-01 {9 + seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
            lines.append(f"{at},{code},10,0,{shown},{shown * 10 * factor},0")
    path.write_text("\n".join(lines))
    return path


def test_the_sample_is_what_its_spec_says(sample: Path) -> None:
    fields, said = infer(sample)
    for name in ("zone", "calendar", "interval_ms", "volume_unit", "volume_mode", "type_meaning"):
        assert fields[name] == getattr(DEMO_SPEC, name)
    assert FeedSpec(**fields).name == "ashare_3s_30_20211201"
    assert "volume_unit lots: amount is 100 times price times volume (median)." in said
    assert "interval_ms 3000: the rows of a stock are 3 s apart (median)." in said


@pytest.mark.parametrize(
    ("codes", "calendar", "zone"),
    [
        (["000001", "600000", "300750"], "XSHG", "Asia/Shanghai"),
        (["AAPL", "BRK.B", "F"], "XNYS", "America/New_York"),
        (["BTC-USD", "ETH-USD"], "24/7", "UTC"),
    ],
)
def test_the_market_by_its_codes(tmp_path: Path, codes: list[str], calendar: str, zone: str) -> None:
    fields, _ = infer(write(tmp_path / "f.csv", codes, 5))
    assert (fields["calendar"], fields["zone"]) == (calendar, zone)


@pytest.mark.parametrize("every_s", [1, 3, 5, 60, 300])
def test_the_interval_by_the_spacing(tmp_path: Path, every_s: int) -> None:
    assert infer(write(tmp_path / "f.csv", ["A", "B"], every_s))[0]["interval_ms"] == every_s * 1000


def test_totals_and_lots(tmp_path: Path) -> None:
    fields, _ = infer(write(tmp_path / "f.csv", ["600000"], 5, factor=100, total=True))
    assert (fields["volume_mode"], fields["volume_unit"]) == ("cumulative", "lots")
    fields, _ = infer(write(tmp_path / "f.csv", ["600000"], 5))
    assert (fields["volume_mode"], fields["volume_unit"]) == ("interval", "shares")


def test_what_is_given_stands_and_is_not_explained(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", ["600000"], 5)
    fields, said = infer(path, name="mine", zone="UTC", interval_ms=1000)
    assert (fields["name"], fields["zone"], fields["interval_ms"]) == ("mine", "UTC", 1000)
    assert not any(sentence.startswith(("zone", "interval_ms", "name")) for sentence in said)


def test_a_file_without_a_valid_row_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"{HEADER}\nnever,600000,1,,1,1,0\n")
    with pytest.raises(
        SourceError, match=r"no valid row among its first 1; .*Rejected: 1 bad_time, such as never,600000"
    ):
        infer(path)
