"""What is kept, over HTTP: pages, files and bars, to whoever may look, whatever its size."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from platform_process import ROOT, Platform

from processors.history.bars import BARS, COLUMNS, bars
from processors.history.parquet import ParquetHistory
from tasks_app.client import Client, Problem

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "history"))
from history_support import SPEC, kept_market

SAMPLE = ROOT / "sample" / "ashare_3s_30_20211201.parquet"
FEED = "shown-by-api"
AT = f"/api/history/feeds/{FEED}"


@pytest.fixture(scope="module")
def kept(platform: Platform) -> ParquetHistory:
    platform.manage("import_history", FEED, str(SAMPLE))
    return ParquetHistory(platform.state / "history")


@pytest.fixture
def client(platform: Platform, kept: ParquetHistory, request: pytest.FixtureRequest) -> Client:
    return Client(platform.url, platform.token("viewer", f"history-{abs(hash(request.node.name)) % 10**6}"))


def as_ms(table: pa.Table) -> list[tuple[Any, ...]]:
    plain = [
        (table[name].cast(pa.int64()) if pa.types.is_timestamp(table[name].type) else table[name]).to_pylist()
        for name in table.column_names
    ]
    return list(zip(*plain, strict=True))


def test_what_there_is_and_of_which_days(client: Client, kept: ParquetHistory) -> None:
    [feed] = [each for each in client.history() if each.name == FEED]
    [day] = client.history_days(FEED)
    [held] = kept.coverage(FEED)
    assert (feed.days, feed.rows, feed.zone, feed.interval_ms) == (1, held.rows, "Asia/Shanghai", 3000)
    assert (day.day, day.snapshots, day.first) == ("2021-12-01", held.snapshots, held.first)
    assert day.complete == pytest.approx(held.rows / held.expected, abs=1e-6)


@pytest.mark.parametrize("limit", [1, 97, 50_000])
def test_pages_are_all_rows_once_and_in_order(client: Client, kept: ParquetHistory, limit: int) -> None:
    asked = {"start": "2021-12-01 09:30", "end": "2021-12-01 09:35", "columns": ["snapshot", "code", "price"]}
    found = [tuple(row) for row in client.history_rows(FEED, limit=limit, **asked)]
    begin = 1_638_322_200_000
    expected = kept.read(FEED, begin, begin + 300_000, None, ["snapshot", "code", "price"]).read_all()
    assert found == as_ms(expected) and len(found) > 1_000


def test_files_are_the_same_rows(client: Client, kept: ParquetHistory, tmp_path: Path) -> None:
    codes = sorted(set(kept.read(FEED, columns=["code"]).read_all()["code"].to_pylist()))[:2]
    expected = kept.read(FEED, codes=codes).read_all()
    assert expected.num_rows > 1_000
    for kind in ("parquet", "arrow", "csv"):
        client.download(FEED, tmp_path / kind, kind, codes=codes)
    assert pq.read_table(tmp_path / "parquet").equals(expected)
    assert pa.ipc.open_stream((tmp_path / "arrow").read_bytes()).read_all().equals(expected)
    as_text = {"code": pa.string()}
    told = pa.csv.read_csv(tmp_path / "csv", convert_options=pa.csv.ConvertOptions(column_types=as_text))
    assert (
        told.select(["code", "price", "volume"])
        .cast(expected.select(["code", "price", "volume"]).schema)
        .equals(expected.select(["code", "price", "volume"]))
    )


def test_bars_in_pages_and_as_a_file(client: Client, kept: ParquetHistory, tmp_path: Path) -> None:
    rows = kept.read(FEED, columns=COLUMNS)
    expected = as_ms(pa.Table.from_batches(bars(rows, 300_000, "Asia/Shanghai"), BARS))
    assert [tuple(row) for row in client.history_bars(FEED, every="5m", limit=70)] == expected
    client.download(FEED, tmp_path / "bars", "parquet", "bars", every="5m")
    assert as_ms(pq.read_table(tmp_path / "bars")) == expected


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/rows?start=yesterday", 422, "moment 'yesterday'"),
        ("/rows?columns=prize", 422, "columns prize"),
        ("/rows?as=xlsx", 422, "expected one of json, csv"),
        ("/rows?limit=0", 422, "from 1 to 50000"),
        ("/bars?every=1s", 422, "every '1s'"),
        ("/../nobody/days", 404, "no feed 'nobody'"),
    ],
)
def test_what_can_not_be_is_told(platform: Platform, kept: ParquetHistory, path: str, status: int, told: str) -> None:
    answer = platform.http.get(f"{AT}{path}")
    assert answer.status_code == status and told in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_client_raises_what_a_download_is_refused_for(client: Client, tmp_path: Path) -> None:
    with pytest.raises(Problem) as refused:
        client.download("nobody", tmp_path / "nothing")
    assert refused.value.status == 404 and not (tmp_path / "nothing").exists()


@pytest.mark.timeout(300)
def test_a_download_of_any_size_takes_little_memory(platform: Platform, client: Client, tmp_path: Path) -> None:
    """Six million rows, more than half a gigabyte, go through a web process that does not grow by them."""
    store, big = ParquetHistory(platform.state / "history"), 3_000
    store.describe(SPEC)
    for number in range(25):
        begin = SPEC.interval_ms * 100 * number
        store.append(SPEC.name, kept_market(100, stocks=big, begin=1_638_322_200_000 + begin, seed=number))
    store.compact(SPEC.name, now_ms=4 * 10**12)
    process = psutil.Process(platform.processes["web"].pid)
    before = process.memory_info().rss
    with platform.http.stream("GET", f"/api/history/feeds/{SPEC.name}/rows", params={"as": "arrow"}) as answer:
        size, most = 0, 0
        for number, part in enumerate(answer.iter_raw()):
            size += len(part)
            if number % 50 == 0:
                most = max(most, process.memory_info().rss)
    assert store.coverage(SPEC.name)[0].rows > 5_900_000 and size / 2**20 > 500
    assert (most - before) / 2**20 < 350


def test_arrow_comes_in_batches(platform: Platform, kept: ParquetHistory) -> None:
    answer = platform.http.get(f"{AT}/rows", params={"as": "arrow", "columns": "code,price"})
    reader = pa.ipc.open_stream(io.BytesIO(answer.content))
    assert reader.schema.names == ["code", "price"]
    assert max(batch.num_rows for batch in reader) <= 65_536
