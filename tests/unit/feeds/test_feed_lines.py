"""Lines from a peer that is not to be trusted: cut anywhere, without an end, with wrong bytes, in another shape."""

from __future__ import annotations

import numpy as np
import pytest
from feed_support import ALWAYS, HEADER, QUOTED

from processors.feeds.codebook import Codebook
from processors.feeds.fields import UNIFORM
from processors.feeds.lines import LineBuffer, LineParser, columns_of_header
from processors.feeds.tally import SourceError, Tally
from processors.feeds.validate import Validator

GOOD = b"2021-12-01 09:30:03,000001,10.5,0.1,100,1050,1\n"


def parser(columns: str = UNIFORM) -> tuple[LineParser, Tally]:
    tally = Tally()
    return LineParser(columns.split(","), tally, "test"), tally


def test_lines_are_whole_however_they_are_cut() -> None:
    text = b"".join(b"line %d\n" % number for number in range(300))
    random = np.random.default_rng(1)
    for _ in range(20):
        cuts = sorted(random.integers(0, len(text), 40))
        buffer, out = LineBuffer(), b""
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            lines, given_up = buffer.add(text[start:end])
            assert not given_up and (not lines or lines.endswith(b"\n"))
            out += lines
        assert out == text and buffer.rest == b""


def test_a_line_without_an_end_is_given_up_once_and_what_follows_it_is_read() -> None:
    buffer = LineBuffer(longest=100)
    told = [buffer.add(b"x" * 60) for _ in range(50)]
    assert [bool(given_up) for _, given_up in told] == [False, True] + [False] * 48
    assert len(buffer.rest) <= 100
    assert buffer.add(b"end\nnext\nha") == (b"next\n", [])
    assert buffer.rest == b"ha"


def test_a_line_that_is_too_long_is_given_up_in_one_piece_as_in_many() -> None:
    text = b"a\n" + b"x" * 101 + b"\nb\n" + b"y" * 100 + b"\nc\n"
    for size in (1, 7, 64, len(text)):
        buffer, kept, told = LineBuffer(longest=100), b"", 0
        for start in range(0, len(text), size):
            lines, given_up = buffer.add(text[start : start + size])
            kept, told = kept + lines, told + len(given_up)
        assert (kept, told) == (b"a\nb\n" + b"y" * 100 + b"\nc\n", 1)


def test_what_is_no_csv_is_a_broken_line() -> None:
    parse, tally = parser()
    assert columns_of_header(b"hello\rworld") is None
    assert parse(b'"a\rb",1\n') is None and sum(tally.rejected.values()) == tally.received > 0


def test_rows_have_our_names_and_leading_zeros_live() -> None:
    parse, tally = parser()
    table = parse(GOOD)
    assert table is not None and table.column_names[:2] == ["time", "code"]
    assert table.column("code").to_pylist() == ["000001"] and table.column("price").to_pylist() == [10.5]
    assert not tally.rejected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"only,three,cells\n", "broken_line"),
        (GOOD[:-1] + b",8\n", "broken_line"),
        (b'2021-12-01 09:30:03,"000002,10.5,0.1,100,1050,1\n', "broken_line"),
        (b"2021-12-01 09:30:03,000002,ten,0.1,100,1050,1\n", "bad_number"),
        (b"2021-12-01 09:30:03,000002,nan,0.1,100,1050,1\n", "bad_number"),
        (b"yesterday,000002,10.5,0.1,100,1050,1\n", "bad_time"),
        (b"2021-12-01 09:30:03,\xff\x00\xfe,10.5,0.1,100,1050,1\n", "bad_code"),
        (b"2021-12-01 09:30:03,000002,0,0.1,100,1050,1\n", "price_not_positive"),
    ],
)
def test_one_wrong_line_is_counted_and_takes_no_other_with_it(line: bytes, reason: str) -> None:
    parse, tally = parser()
    table = parse(GOOD + line + GOOD.replace(b"000001", b"000003") + b"\n\r\n")
    assert table is not None
    ticks = Validator(ALWAYS, Codebook(2), tally)(table)
    assert len(ticks["code"]) == 2
    assert tally.rejected == {reason: 1} and tally.received == 3


def test_typed_and_text_rows_are_the_same_ticks() -> None:
    good = b"2021-12-01T09:30:03.250,000001,10.5,,100,1050,B\n2021-12-01 09:30:04,600000, 7.25 ,-0.5,0,0,\n"
    found = []
    for text in (good, good + b"broken\n"):
        parse, tally = parser()
        table = parse(text)
        assert table is not None
        found.append(Validator(ALWAYS, Codebook(2), tally)(table))
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


def test_quoted_cells_are_read() -> None:
    parse, tally = parser()
    table = parse(b'"2021-12-01 09:30:03","000001","10.5","0.1","100","1050","1"\r\n')
    assert table is not None and table.column("code").to_pylist() == ["000001"]
    assert not tally.rejected


def test_a_header_is_told_from_a_row() -> None:
    assert columns_of_header((QUOTED + "\r\n").encode()) == QUOTED.split(",")
    assert columns_of_header(GOOD) is None
    assert columns_of_header(b"\xff\x00") is None
    parse, _ = parser(HEADER)
    assert parse(b"\n") is None
    with pytest.raises(SourceError, match="price"):
        parser("time,code,volume,amount")
