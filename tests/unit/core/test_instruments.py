"""What codes stand for: from files and vendors, once, with every row that is not right named; found by name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from vendor_server import Handler, vendors_at_hand

from tasks_app.instruments import codes_listed, codes_named
from tasks_app.live import StockView
from tasks_app.models import Feed, Instrument, Processor, Task

pytestmark = pytest.mark.django_db
FIELDS = ("code", "name", "sector", "tick_size", "lot_size", "listed", "delisted")


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Iterator[type[Handler]]:
    settings.STATE_DIR = tmp_path
    with vendors_at_hand(monkeypatch) as found:
        yield found


def bring(*command: Any) -> tuple[str, str]:
    out, wrong = io.StringIO(), io.StringIO()
    call_command("import_instruments", *map(str, command), stdout=out, stderr=wrong)
    return out.getvalue(), wrong.getvalue()


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding)
    return path


def there() -> list[tuple[Any, ...]]:
    return list(Instrument.objects.values_list(*FIELDS))


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("code,name,sector,tick_size,lot_size,listed,delisted", "utf-8"),
        ("证券代码,证券简称,所属行业,最小报价单位,每手股数,上市日期,退市日期", "gb18030"),
        ("TS_CODE;Name;Industry;tick;lot;list_date;delist_date", "utf-8-sig"),
    ],
)
def test_files_are_read_under_their_usual_names(tmp_path: Path, header: str, encoding: str) -> None:
    rows = "000001.SZ,平安银行,银行,0.01,100,1991-04-03,\nsh600001,邯郸钢铁,,,,19980122,2009/12/29\n"
    text = f"{header}\n{rows.replace(',', ';') if ';' in header else rows}"
    told, wrong = bring(written(tmp_path / "stocks.csv", text, encoding))
    assert "2 new, 0 changed, 0 the same, 0 not right" in told and wrong == ""
    assert there() == [
        ("000001", "平安银行", "银行", Decimal("0.01"), 100, date(1991, 4, 3), None),
        ("600001", "邯郸钢铁", "", None, None, date(1998, 1, 22), date(2009, 12, 29)),
    ]


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    table = pa.table({"symbol": ["BRK.B"], "name": ["Berkshire"], "listed": [date(1996, 5, 9)], "tick_size": [0.01]})
    pq.write_table(table, tmp_path / "us.parquet")
    bring(tmp_path / "us.parquet", "--calendar", "XNYS")
    assert there() == [("BRK.B", "Berkshire", "", Decimal("0.01"), None, date(1996, 5, 9), None)]
    assert Instrument.objects.get().calendar == "XNYS"


def test_rows_that_are_not_right_are_named_and_the_others_are_taken(tmp_path: Path) -> None:
    text = (
        "code,name,tick_size,lot_size,listed,delisted\n600000,浦发银行,0.01,100,1999-11-10,\n,nobody,,,,\n"
        "600002,,,,,\n600003,a,free,,,\n600004,b,,1.5,,\n600005,c,,,yesterday,\n6000 06,d,,,,\n"
        "600007,e,,,2020-01-02,2019-01-02\n"
    )
    told, wrong = bring(written(tmp_path / "stocks.csv", text))
    assert "1 new, 0 changed, 0 the same, 7 not right" in told
    assert wrong.splitlines() == [
        "line 3: code is empty: expected a text",
        "line 4: name is empty: expected a text",
        "line 5: tick_size 'free': expected a number above 0, such as 0.01",
        "line 6: lot_size '1.5': expected a whole number above 0, such as 100",
        "line 7: listed 'yesterday': expected a day as YYYY-MM-DD or YYYYMMDD",
        "line 8: code '6000 06': expected at most 32 characters of ASCII without blank and comma",
        "line 9: delisted 2019-01-02: expected a day after 2020-01-02, when it was listed",
    ]


def test_the_same_again_changes_nothing_and_an_empty_cell_says_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "code,name,sector,listed\n600000,浦发银行,银行,1999-11-10\n000001,平安银行,,\n")
    bring(file)
    assert "0 new, 0 changed, 2 the same" in bring(file)[0]
    newer = written(tmp_path / "b.csv", "code,name,sector\n600000,浦发,\n688001,华兴源创,专用机械\n")
    assert "1 new, 1 changed, 0 the same" in bring(newer)[0]
    assert there()[1][:3] == ("600000", "浦发", "银行") and there()[1][5] == date(1999, 11, 10)


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), ("a,b\n1,2\n", "has no column code .* and no name"), (None, "cannot be read")],
)
def test_a_file_of_no_use_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "stocks.csv"
    if content is not None:
        written(path, content)
    with pytest.raises(CommandError, match=said):
        bring(path)
    with pytest.raises(CommandError, match="a file or --vendor, one of them"):
        bring()


def test_tushare_tells_also_what_is_delisted(vendors: type[Handler]) -> None:
    assert "5 new" in bring("--vendor", "tushare")[0]
    assert ("600001", "邯郸钢铁", "", None, None, date(1998, 1, 22), date(2009, 12, 29)) in there()
    assert ("830799", "艾融软件", "软件服务", None, None, date(2021, 1, 4), None) in there()
    assert "0 new, 0 changed, 5 the same" in bring("--vendor", "tushare")[0]


def test_akshare_tells_what_the_exchanges_lists_have(vendors: type[Handler]) -> None:
    assert "4 new" in bring("--vendor", "akshare")[0]
    assert there() == [
        ("000001", "平安银行", "银行", None, None, date(1991, 4, 3), None),
        ("600000", "浦发银行", "", None, None, date(1999, 11, 10), None),
        ("688001", "华兴源创", "", None, None, None, None),
        ("830799", "艾融软件", "软件服务", None, None, date(2021, 1, 4), None),
    ]


@pytest.mark.parametrize("vendor", ["tushare", "akshare"])
@pytest.mark.parametrize("mood", ["empty", "html", "500", "cut"])
def test_a_vendor_on_a_bad_day_changes_nothing(vendors: type[Handler], vendor: str, mood: str) -> None:
    getattr(vendors, vendor).mood = mood
    with pytest.raises(CommandError, match=vendor):
        bring("--vendor", vendor)
    assert there() == []


def test_codes_are_found_by_market_day_and_name() -> None:
    Instrument.objects.create(code="600000", name="浦发银行", listed=date(1999, 11, 10))
    Instrument.objects.create(code="600001", name="邯郸钢铁", delisted=date(2009, 12, 29))
    Instrument.objects.create(code="SIM", name="银行", calendar="24/7")
    assert codes_listed("XSHG", date(2021, 1, 1), date(2021, 1, 2)) == ["600000"]
    assert codes_listed("XSHG", date(1999, 1, 1), date(1999, 1, 2)) == ["600001"]
    processor = Processor.objects.create(name="stock_avg", kind="stream", class_path="x:Y")
    feed = Feed.objects.create(name="ashare", processor=processor)
    task = Task.objects.create(processor=processor, kind="stream", feed=feed)
    assert codes_named(task.pk, "银行") == ["600000"]
    assert codes_named(task.pk + 1, "银行") == []


def test_a_search_shows_the_stocks_that_are_named_so_and_those_whose_code_has_it() -> None:
    batch = pa.record_batch({"code": ["600000", "000001", "600016"], "cluster": [1, 2, 1], "price": [1.0, 2.0, 3.0]})
    named = StockView(1, None, "银行", ["600000", "000001"]).message("1-0", batch)
    assert named and named["columns"]["code"] == ["600000", "000001"] and named["total"] == 2
    both = StockView(1, 1, "0016", ["600000", "000001"]).message("1-0", batch)
    assert both and both["columns"]["code"] == ["600000", "600016"]
