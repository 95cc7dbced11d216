"""Replay on a real bus: any pace, any interruption, the same snapshots; and files that cannot be used."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from feed_support import HEADER, QUOTED, SPEC, Running, Valkey, content, held, published, tick, until

from processors.bus import Bus, connect
from processors.contract import FeedSpec
from processors.feeds.files import read_ticks
from processors.feeds.replay import Replay, ReplayParams
from processors.feeds.sample import DEMO_PATH, DEMO_SPEC
from processors.feeds.tally import SourceError, Tally

FOREVER_MS = 60_000
READ_ALL = 2**60


def named(name: str, **more: object) -> FeedSpec:
    return FeedSpec(**{**DEMO_SPEC.__dict__, "name": name, **more})  # type: ignore[arg-type]


def play(url: str, path: Path, spec: FeedSpec, *, pace: float = 0, loop: bool = False, fresh: bool = False) -> Running:
    """Start a replay with a reader that has read everything there will ever be."""
    Bus(connect(url), spec.name).follow("test", READ_ALL, for_ms=FOREVER_MS)
    return Running(Replay(), ReplayParams(path=str(path), pace=pace, loop=loop), spec, url, fresh=fresh)


def head(sample: Path, tmp_path: Path, rows: int) -> Path:
    """Return a file with the sample's first rows."""
    path = tmp_path / f"head-{rows}.parquet"
    pa.parquet.write_table(pa.parquet.read_table(sample).slice(0, rows), path)
    return path


def test_the_sample_goes_through(valkey: Valkey, sample: Path) -> None:
    assert str(sample).endswith(DEMO_PATH)
    run = play(valkey.url, sample, DEMO_SPEC).wait()
    assert run.error is None
    shots = published(valkey.url, DEMO_SPEC)
    headers = [header for header, _ in shots]
    assert [header.index for header in headers] == list(range(1201))
    assert {header.run for header in headers} == {1}
    assert {header.session for header in headers[1:]} == {"2021-12-01/am"}
    assert np.mean([header.received for header in headers]) > 25
    assert headers[-1].expected == 30
    facts = run.facts
    assert (facts["received"], facts["rejected"], facts["snapshots"]) == (31602, {}, 1201)
    assert (facts["run"], facts["last_time"], facts["pace"], facts["late"]) == (1, headers[-1].time, 0, 0)
    assert run.began == 1
    assert Bus(connect(valkey.url), DEMO_SPEC.name).spec() == DEMO_SPEC


def test_the_same_file_paced_and_at_full_speed_is_the_same_byte_for_byte(
    valkey: Valkey, sample: Path, tmp_path: Path
) -> None:
    path = head(sample, tmp_path, 8_000)
    play(valkey.url, path, named("fast")).wait()
    play(valkey.url, path, named("paced"), pace=2000).wait()
    fast, paced = (content(published(valkey.url, named(name))) for name in ("fast", "paced"))
    assert len(fast) > 250
    assert fast == paced


def test_real_pace_is_kept_on_the_clock(valkey: Valkey, sample: Path, tmp_path: Path) -> None:
    play(valkey.url, head(sample, tmp_path, 1000), named("paced"), pace=100).wait()
    headers = [header for header, _ in published(valkey.url, named("paced"))]
    drift = [h.published_ms - headers[0].published_ms - (h.time - headers[0].time) / 100 for h in headers]
    assert min(drift) > -250, "without a pace the last would come a second early; the first may have been late"
    assert headers[5].pace == 100
    assert all(h.published_ms - h.handed_ms < 500 for h in headers)


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_resumed_replay_goes_on_as_if_undisturbed(valkey: Valkey, sample: Path, tmp_path: Path, cut: int) -> None:
    path = head(sample, tmp_path, 2500)
    play(valkey.url, path, named("whole")).wait()
    first = play(valkey.url, path, named("cut"), pace=150)
    until(lambda: held(valkey.url, named("cut")) >= cut)
    assert first.stop() < 0.5
    assert 0 < len(published(valkey.url, named("cut"))) < len(published(valkey.url, named("whole")))
    play(valkey.url, path, named("cut")).wait()
    assert content(published(valkey.url, named("cut"))) == content(published(valkey.url, named("whole")))


def test_at_the_end_a_new_run_begins_with_the_same_data(valkey: Valkey, sample: Path, tmp_path: Path) -> None:
    run = play(valkey.url, head(sample, tmp_path, 1000), named("loop"), loop=True)
    until(lambda: run.facts.get("run", 0) >= 3)
    run.stop()
    shots = content(published(valkey.url, named("loop")))
    assert [shot[0] for shot in shots] == list(range(len(shots)))
    runs = [[shot[2:] for shot in shots if shot[1] == number] for number in (1, 2)]
    assert len(runs[0]) > 20
    assert runs[0] == runs[1]


def test_a_replay_at_its_end_has_nothing_to_add_but_another_file_is_a_new_run(
    valkey: Valkey, sample: Path, tmp_path: Path
) -> None:
    path = head(sample, tmp_path, 300)
    for _ in range(2):
        assert play(valkey.url, path, named("again")).wait().error is None
    count = len(published(valkey.url, named("again")))
    play(valkey.url, head(sample, tmp_path, 600), named("again")).wait()
    headers = [header for header, _ in published(valkey.url, named("again"))]
    assert [header.index for header in headers] == list(range(len(headers)))
    assert [header.run for header in headers] == [1] * count + [2] * (len(headers) - count)
    play(valkey.url, path, named("again"), fresh=True).wait()
    last = published(valkey.url, named("again"))[-1][0]
    assert (last.run, last.index) == (3, count - 1)


def test_redis_killed_in_mid_feed_loses_and_doubles_nothing(valkey: Valkey, sample: Path, tmp_path: Path) -> None:
    path = head(sample, tmp_path, 4000)
    play(valkey.url, path, named("whole")).wait()
    run = play(valkey.url, path, named("killed"), pace=100)
    until(lambda: run.facts.get("snapshots", 0) > 5)
    valkey.kill()
    until(lambda: run.facts.get("held", 0) > 80 or not run.alive)
    valkey.start()
    run.wait()
    assert run.error is None
    killed = content(published(valkey.url, named("killed")))
    assert killed == content(published(valkey.url, named("whole")))
    assert run.facts["snapshots"] == len(killed)


def test_a_feed_that_starts_before_redis_waits_and_stops_promptly(sample: Path, tmp_path: Path) -> None:
    run = Running(Replay(), ReplayParams(path=str(sample)), DEMO_SPEC, f"unix://{tmp_path}/nobody")
    assert run.stop() < 0.5
    assert run.error is None and not run.began


def test_full_speed_waits_for_a_first_reader_and_for_a_slow_one(valkey: Valkey, sample: Path) -> None:
    spec = named("slow", max_bytes=200_000)
    run = Running(Replay(), ReplayParams(path=str(sample), pace=0), spec, valkey.url)
    bus = Bus(connect(valkey.url), spec.name)
    until(lambda: bus.source())
    assert bus.last() is None
    bus.follow("slow", 0, for_ms=FOREVER_MS)
    until(lambda: sum(header.size_bytes for header in bus.headers(0)) > spec.max_bytes // 2 - 5_000)
    seen, seq = [], 0
    while run.alive or bus.headers(seq):
        for header in bus.headers(seq, count=50):
            seen.append(header.index)
            seq = header.seq
        bus.follow("slow", seq, for_ms=FOREVER_MS)
        time.sleep(0.01)
    assert seen == list(range(1201))
    assert bus.first().index > 0  # type: ignore[union-attr]


def test_stop_is_prompt_while_waiting(valkey: Valkey, sample: Path) -> None:
    waiting = Running(Replay(), ReplayParams(path=str(sample), pace=0), named("unread"), valkey.url)
    paced = Running(Replay(), ReplayParams(path=str(sample), pace=0.01), named("paced"), valkey.url)
    until(lambda: paced.facts)
    assert max(waiting.stop(), paced.stop()) < 0.5


def test_the_raw_recording_gives_the_volumes_of_the_clean_one(valkey: Valkey, sample: Path) -> None:
    raw = FeedSpec("raw", interval_ms=3000, volume_mode="cumulative")
    run = play(valkey.url, sample.with_name("ashare_3s_30_raw_cumulative.csv.gz"), raw).wait()
    assert run.error is None
    assert run.facts["rejected"] == {"price_not_positive": 1200, "duplicate": 9}
    assert run.facts["noted"]["first_total"] == 30
    assert run.facts["replaced"] == 5
    play(valkey.url, sample, named("clean")).wait()
    totals = []
    for name in ("raw", "clean"):
        bus = Bus(connect(valkey.url), name)
        headers = [header for header in bus.headers(0) if 1638322260000 <= header.time < 1638322500000]
        parts = [part for number in range(2) for part in bus.read(number, [header.seq for header in headers])]
        table = pa.Table.from_batches([part for part in parts if part is not None]).to_pandas()
        assert (table["volume"] >= 0).all() and (table["price"] > 0).all()
        totals.append(table.groupby("code")["volume"].sum())
    assert len(totals[0]) == 30
    np.testing.assert_allclose(totals[0], totals[1], atol=0.5)


def test_the_raw_cumulative_layout_and_files_stock_by_stock(valkey: Valkey, tmp_path: Path) -> None:
    path = tmp_path / "raw.csv"
    lines = ["time,code,last,preclose,cum_volume,cum_amount,status,bid1,bidsize1,ask1,asksize1"]
    for number, code in enumerate(("600103", "600107", "000001", "000002")):
        lines.append(f"2021-12-01 09:15:02,{code},0.0,2.72,0,0.0,OCALL,2.73,24400,2.73,24400")
        for second in range(1, 55):
            at = f"2021-12-01 09:31:{second:02}"
            lines.append(f"{at},{code},{10 + number},2.72,{1000 + second},{5000 + second},TRADE,2.7,1,2.8,1")
    path.write_text("\n".join(lines))
    spec = FeedSpec("raw", interval_ms=3000, volume_mode="cumulative")
    run = play(valkey.url, path, spec).wait()
    assert run.facts["rejected"] == {"price_not_positive": 4}
    bus = Bus(connect(valkey.url), "raw")
    headers = bus.headers(0)
    assert [header.received for header in headers] == [4] * 18
    parts = [part for number in range(2) for part in bus.read(number, [header.seq for header in headers])]
    volume = np.concatenate([part.column("volume").to_numpy() for part in parts if part is not None])
    assert volume.sum() == 4 * 53
    assert volume.max() == 3


def test_lunch_and_night_are_skipped_not_waited_for(valkey: Valkey, tmp_path: Path) -> None:
    path = tmp_path / "days.csv"
    times = ["2021-12-01 11:29:50", "2021-12-01 11:29:55", "2021-12-01 13:00:05", "2021-12-02 09:31:00"]
    lines = [f"{at},{code},10,,1,10,0" for at in times for code in ("A", "B", "C", "D")]
    path.write_text("\n".join([HEADER, *lines]))
    run = play(valkey.url, path, SPEC, pace=50).wait(5)
    assert run.facts["rejected"] == {}
    assert run.facts["snapshots"] > 4


DIRT = [
    *[tick(f"09:31:{s:02}", f"60000{i}", 10 + i, kind=1) for s in range(1, 60) for i in range(4)],
    "2030-01-01 00:00:00,600000,66,,1,66,0",
    "2019-01-01 10:00:00,600001,66,,1,66,0",
    "not a time,600000,66,,1,66,0",
    "2021-12-01 09:31:59,600000,0,,1,66,0",
    "2021-12-01 09:31:59,600000,nan,,1,66,0",
    "2021-12-01 09:31:59,600000,66,,1,66,x",
    "2021-12-01 09:31:59,600000,66",
    *[tick(f"09:32:{s:02}", f"60000{i}", 10 + i, kind=1) for s in range(1, 60) for i in range(4)],
]


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_full_of_dirt_never_stops_and_invents_nothing(valkey: Valkey, tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("dirt.csv.gz" if packed else "dirt.csv")
    text = b"\xef\xbb\xbf" + "\r\n".join([HEADER, *DIRT]).encode() + b"\r\n\xff\xfe,\xe9\xe9,66,,1,66,0\r\n"
    path.write_bytes(gzip.compress(text) if packed else text)
    run = play(valkey.url, path, SPEC).wait()
    assert run.error is None
    expected = {"ahead": 1, "late": 1, "bad_time": 2, "price_not_positive": 1, "bad_number": 1, "unknown_type": 1}
    assert run.facts["rejected"] == {**expected, "broken_line": 1}
    bus = Bus(connect(valkey.url), SPEC.name)
    for number in range(2):
        for part in bus.read(number, [header.seq for header in bus.headers(0)]):
            assert part is not None
            assert set(part.column("price").to_pylist()) <= {10.0, 11.0, 12.0, 13.0}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.csv", None, "does not exist; expected a CSV or Parquet file"),
        ("empty.csv", b"", "is empty; expected a CSV or Parquet file"),
        ("empty.parquet", b"", "is empty; expected a CSV or Parquet file"),
        ("head.csv", HEADER.encode() + b"\n", "has a header and no rows"),
        ("blank.csv", b"\n\n", "begins with an empty line"),
        ("bad.csv", b"time,price,volume,amount\n1,1,1,1\n", r"no column code \(or stock_code"),
        ("noise.parquet", b"PAR1 and nothing more", "cannot be read as Parquet"),
        ("noise.csv.gz", b"this is no gzip at all", "cannot be read as CSV"),
        ("dirt.csv", f"{HEADER}\nx,600000,1,,1,1,0\n".encode(), r"no valid row \(of 1\).*1 bad_time"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(
    valkey: Valkey, tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    run = play(valkey.url, path, SPEC, loop=True).wait()
    assert isinstance(run.error, SourceError)
    assert str(path) in str(run.error)
    with pytest.raises(SourceError, match=message):
        raise run.error


def test_a_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.feeds.files.SORTED_BYTES", 1000)
    path = tmp_path / "long.csv"
    path.write_text("\n".join([QUOTED, *[tick("09:31:00") + ",1,2,3,4"] * 100_000]))
    tally = Tally()
    batches = read_ticks(path, FeedSpec("x", zone="UTC"), tally)
    assert 0 < next(batches).num_rows <= 65_536
    assert sum(batch.num_rows for batch in batches) > 30_000
    assert not tally.rejected
