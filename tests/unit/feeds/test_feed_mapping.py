"""Files with any header: a mapping is suggested, checked and used; gzip, zip, delimiters, encodings."""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import replace
from datetime import date, time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from feed_support import HEADER, tick

from processors.contract import FeedSpec
from processors.feeds.fields import MissingColumn, find_fields, suggest
from processors.feeds.files import column_names, preview, read_ticks
from processors.feeds.infer import infer
from processors.feeds.tally import SourceError, Tally

SPEC = FeedSpec("f")
CHINESE = "证券代码,时间,最新价,成交量,成交额,买一价,卖一价,买一量,卖一量"
ROW = "000001,2021-12-01 09:31:03,10.5,100,1050,10.4,10.6,300,400"
MAPPING = {"time": "when", "code": "id", "price": "p", "volume": "v", "amount": "a"}
OTHER = "id;when;junk;p;v;a\n000001;2021-12-01 09:31:03;x;10.5;100;1050\n"


def read(path: Path, mapping: dict[str, str] | None = None) -> pa.Table:
    return pa.Table.from_batches(list(read_ticks(path, SPEC, mapping=mapping)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_chinese_header_is_understood_in_each_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"{CHINESE}\n{ROW}\n".encode(encoding))
    names = column_names(path)
    assert names == CHINESE.split(",")
    mapping = suggest(names)
    assert mapping == dict(
        zip(("code", "time", "price", "volume", "amount", "bid", "ask", "bid_size", "ask_size"), names, strict=True)
    )
    table = read(path, mapping)
    assert table.column("code").to_pylist() == ["000001"] and table.column("ask_size").to_pylist() == ["400"]


def test_the_first_rows_are_shown_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("code,name\r\n000001,公司甲\r\n000002,乙\r\n".encode())
    assert preview(path, 5) == (["code", "name"], [["000001", "公司甲"], ["000002", "乙"]])


def test_a_mapping_reads_other_names_and_delimiters_packed_or_not(tmp_path: Path) -> None:
    plain, packed, several = tmp_path / "a.csv", tmp_path / "a.csv.gz", tmp_path / "a.zip"
    plain.write_text(OTHER)
    packed.write_bytes(gzip.compress(OTHER.encode()))
    with zipfile.ZipFile(several, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/2.csv", OTHER.replace("000001", "000002").replace(":03", ":06"))
        archive.writestr("b/1.csv", OTHER)
    assert read(plain, MAPPING).column("price").to_pylist() == ["10.5"]
    assert read(packed, MAPPING).equals(read(plain, MAPPING))
    assert read(several, MAPPING).column("code").to_pylist() == ["000001", "000002"]


def test_a_mapping_reads_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(
        pa.table({"id": ["000001"], "when": [1638322263000], "p": [10.5], "v": [1], "a": [2.0]}), path
    )
    assert column_names(path) == ["id", "when", "p", "v", "a"]
    assert read(path, MAPPING).column_names == ["time", "code", "price", "volume", "amount"]


def test_what_a_mapping_names_must_be_there() -> None:
    names = HEADER.split(",")
    assert find_fields(names, "f", {"price": "amount", "amount": "price"})["price"] == "amount"
    with pytest.raises(SourceError, match=r"no column px \(for price\)"):
        find_fields(names, "f", {"price": "px"})
    with pytest.raises(SourceError, match="names colour"):
        find_fields(names, "f", {"colour": "price"})
    with pytest.raises(SourceError, match="no column price"):  # its column is taken by the mapping
        find_fields(names, "f", {"amount": "price"})


def test_a_suggestion_uses_each_column_once_and_says_nothing_of_what_it_does_not_know() -> None:
    assert suggest(["ts_code", "Trade Time", "close", "vol", "amount", "open"]) == {
        "time": "Trade Time", "code": "ts_code", "price": "close", "volume": "vol", "amount": "amount",
    }  # fmt: skip
    assert suggest(["a", "b"]) == {}


BARS = """<TICKER>,<DATE>,<TIME>,<OPEN>,<CLOSE>,<VOL>
AAPL,20240311,93000,171,172.5,100
MSFT,20240311,93000,401,402,10
AAPL,20240311,93100,172,173,x
"""
BARS_MAPPING = {
    "time": "<DATE>+<TIME>", "code": "<TICKER>", "price": "<CLOSE>", "volume": "<VOL>", "amount": "price*volume",
}  # fmt: skip


def test_a_day_and_a_time_in_two_columns_and_an_amount_in_none(tmp_path: Path) -> None:
    path, typed = tmp_path / "bars.csv", tmp_path / "bars.parquet"
    path.write_text(BARS)
    assert suggest(column_names(path)) == BARS_MAPPING
    table = read(path, BARS_MAPPING)
    assert table.column("time").to_pylist() == ["20240311 93000", "20240311 93000", "20240311 93100"]
    assert table.column("amount").fill_null(-1).to_pylist()[:2] == [17250.0, 4020.0]
    lots = pa.Table.from_batches(list(read_ticks(path, replace(SPEC, volume_unit="lots"), mapping=BARS_MAPPING)))
    assert lots.column("amount").to_pylist()[:2] == [1725000.0, 402000.0]
    names = [name.strip("<>").lower() for name in column_names(path)]
    pa.parquet.write_table(
        pa.table([["AAPL"], [date(2024, 3, 11)], [time(9, 30)], [171.0], [172.5], [100]], names=names), typed
    )
    fields, said = infer(typed, mapping=suggest(names))
    assert fields["calendar"] == "XNYS" and "amount is price times volume: it has no column of its own." in said


def test_an_amount_of_running_totals_is_not_made_up_and_none_is_without_being_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(BARS)
    with pytest.raises(SourceError, match="volume is cumulative"):
        list(read_ticks(path, replace(SPEC, volume_mode="cumulative"), mapping=BARS_MAPPING))
    with pytest.raises(MissingColumn, match="no column amount") as raised:
        read(path, {field: column for field, column in BARS_MAPPING.items() if field != "amount"})
    assert raised.value.guess.endswith("amount=price*volume")
    with pytest.raises(SourceError, match=r"no column price\*volume \(for price\)"):
        find_fields(["a"], "f", {"price": "price*volume"})
    with pytest.raises(SourceError, match=r"no column a\+b \(for time\)"):
        find_fields(["a", "c"], "f", {"time": "a+b"})


def test_a_time_without_its_day_is_told_where_the_day_is(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("date,time,code,price,volume,amount\n2024-03-11,09:30:00,AAPL,172,1,172\n")
    with pytest.raises(SourceError, match=r"time=date\+time reads it from two columns"):
        infer(path)
    assert infer(path, mapping={"time": "date+time"})[0]["zone"] == "America/New_York"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.zip", b"no zip at all", "cannot be read as CSV"),
        ("a.csv.gz", gzip.compress(b"x" * 9999, mtime=0)[:40], "cannot be read as CSV"),
        ("a.parquet", b"PAR1 but no more", "cannot be read as Parquet"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "begins with an empty line"),
        ("a.csv", b"\x00\r\x01,\rno text at all", "cannot be read as CSV"),
        ("a.csv", "time".encode("utf-16") + b"\x00", "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_none_is_told_by_name(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    for use in (column_names, lambda each: list(read_ticks(each, SPEC))):
        with pytest.raises(SourceError, match=said) as raised:
            use(path)
        assert str(path) in str(raised.value)


def test_an_empty_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zipfile.ZipFile(path, "w").close()
    with pytest.raises(SourceError, match="holds no file"):
        list(read_ticks(path, SPEC))


def test_a_zip_is_unpacked_in_bounded_pieces_and_broken_lines_are_counted(tmp_path: Path) -> None:
    path, tally = tmp_path / "a.zip", Tally()
    lines = [tick("09:31:01", f"{code:06}") for code in range(100_000)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "\n".join([HEADER, *lines, "a,b"]))
    rows = sum(batch.num_rows for batch in read_ticks(path, SPEC, tally))
    assert rows == 100_000 and tally.rejected == {"broken_line": 1}


@pytest.mark.parametrize("stray", ['09:31:"00', 'x,"y'])
def test_a_quote_that_does_not_close_costs_its_own_line_only(tmp_path: Path, stray: str) -> None:
    path, tally = tmp_path / "a.csv", Tally()
    lines = [tick("09:31:01", f"{code:06}") for code in range(1_000)]
    lines[5] = f'"{stray},000005,10,,1,1,0'
    lines[6] = lines[6].replace("000006", '"000006"')
    path.write_text("\n".join([HEADER, *lines]))
    codes = [code for batch in read_ticks(path, SPEC, tally) for code in batch.column("code").to_pylist()]
    kept = [f"{code:06}" for code in range(1_000) if code != 5]
    assert (codes, tally.rejected) == (kept, {"broken_line": 1})


def test_a_column_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,code,price,price,volume,amount\n2021-12-01 09:30:00,600000,1,2,3,4\n")
    with pytest.raises(SourceError, match="more than one column price"):
        list(read_ticks(path, SPEC))


def test_what_macos_adds_to_a_zip_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", f"{HEADER}\n{tick('09:31:01', '600000')}\n")
        archive.writestr("__MACOSX/._a.csv", b"\x00\x05\x16\x07")
        archive.writestr(".DS_Store", b"\x00")
    assert sum(batch.num_rows for batch in read_ticks(path, SPEC)) == 1


def test_a_code_that_is_a_list_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(
        pa.table({"time": [1638322263000], "code": [["a"]], "price": [1.0], "volume": [1], "amount": [1.0]}), path
    )
    with pytest.raises(SourceError, match="expected text"):
        infer(path)
    assert preview(path, 5)[1] == [["1638322263000", "['a']", "1.0", "1", "1.0"]]


def test_a_file_that_goes_back_in_time_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [tick(f"09:31:{second:02}", code) for second in range(40) for code in ("600000", "000001")]
    path.write_text("\n".join([HEADER, *reversed(lines)]))
    times = read(path).column("time").to_pylist()
    assert times == sorted(times) and len(times) == 80


def test_a_file_whose_rows_are_a_little_out_of_order_is_left_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [tick(f"09:31:{second + late:02}", f"{code:06}") for second in range(0, 50, 3) for code, late in
             ((1, 2), (2, 1), (3, 0))]  # fmt: skip
    path.write_text("\n".join([HEADER, *lines]))
    assert read(path).column("code").to_pylist()[:4] == ["000001", "000002", "000003", "000001"]


def test_what_a_file_means_is_inferred_through_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    lines = [f"{code};2021-12-01 09:31:{second:02};x;10.5;{second};{second * 1050}"
             for second in range(0, 60, 3) for code in ("000001", "600000")]  # fmt: skip
    path.write_text("\n".join(["id;when;junk;p;v;a", *lines]))
    fields, _ = infer(path, mapping=MAPPING)
    assert (fields["interval_ms"], fields["volume_unit"], fields["calendar"]) == (3000, "lots", "XSHG")
