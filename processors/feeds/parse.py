"""Turn Arrow columns, text or typed, into NumPy arrays, a whole column at a time; what cannot be read is marked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NO_TIME = np.iinfo(np.int64).min
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_CLOCK = r"(\d{1,2}:\d\d(:\d\d)?|\d{6})(\.\d+)?"
_LOCAL = rf"^\d{{4}}[-/.]?\d{{1,2}}[-/.]?\d{{1,2}}([T ]+{_CLOCK})?$"  # a day, and mostly a time of it
_ZONED = rf"^\d{{4}}[-/.]?\d{{1,2}}[-/.]?\d{{1,2}}[T ]+{_CLOCK} ?([Zz]|[+-]\d\d(:?\d\d)?)$"
_WHOLE, _BROKEN = r"^[1-9]\d{7,18}$", r"^[1-9]\d{7,15}\.\d+$"  # numbers: see _of_numbers
_SPELLED = (
    (r"^(\d{8}) (\d{5}|\d{8})$", r"\1 0\2"),  # a number has lost its leading zero
    (r"^(\d{8}) (\d{6})(\d{3})$", r"\1 \2.\3"),
    (r"(:\d\d),(\d+)", r"\1.\2"),
    (r" ?(UTC|GMT)$", "Z"),
)
# Unix times from July 1979 to 2200 in s, ms, µs and ns: these ranges share no number with each other, with a clock's
# (93003500), or with a day that is written out (20211201, 202112010930, 20211201093003).
_UNITS = ((1, 1000, 1), (1_000, 1, 1), (1_000_000, 1, 1_000), (1_000_000_000, 1, 1_000_000))
_FIRST_S, _LAST_S = 300_000_000, 7_258_118_400
_WRITTEN = ((1, 1), (10**4, 10**5), (10**6, 10**3), (10**9, 1))  # what stands behind the day, and ms in its last place
_TYPES = {"": 0, "0": 0, "N": 0, "1": 1, "+1": 1, "B": 1, "-1": -1, "S": -1}


def is_text(column: pa.Array) -> bool:
    kind = column.type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_number(column: pa.Array) -> bool:
    kind = column.type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def plain(column: pa.Array | pa.ChunkedArray, *, encoded: bool = False) -> pa.Array:
    """Return a column in one piece, its text readable: what is no UTF-8 is replaced. Dictionaries are resolved unless
    they may stay (``encoded``)."""
    column = flat(column)
    if pa.types.is_dictionary(column.type):
        if encoded:
            return pa.DictionaryArray.from_arrays(column.indices, plain(column.dictionary))
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if is_text(column):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raw = column.cast(pa.large_binary()).to_pylist()
            column = pa.array([None if each is None else each.decode("utf-8", "replace") for each in raw], pa.string())
    return column


def shown(value: pa.Scalar) -> str:
    """Return a value as text for people, whatever it holds."""
    try:
        return "" if not value.is_valid else str(value.as_py())
    except (ValueError, ArithmeticError, LookupError):  # beyond Python's dates, an unknown zone, broken text
        return "unreadable"


def numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (float64 values, NaN where there is none; mask of what is there but is no finite number)."""
    if is_text(column):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    given = column.is_valid().to_numpy(zero_copy_only=False)
    values = _floats(column)
    return values, given & ~np.isfinite(values)


def _floats(column: pa.Array) -> np.ndarray:
    if not (is_text(column) or _is_number(column)):
        return np.full(len(column), np.nan)
    try:
        column = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        column = pc.if_else(pc.match_substring_regex(column, _NUMBER), column, None).cast(pa.float64())
    return column.to_numpy(zero_copy_only=False)


def trade_types(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (int8 sign, 0 where there is none; mask of what is none of 1, -1, 0, B, S, N)."""
    if _is_number(column):
        values = np.nan_to_num(_floats(column), posinf=9, neginf=9)
        unknown = ~np.isin(values, (-1, 0, 1))
        return np.where(unknown, 0, values).astype(np.int8), unknown
    if not is_text(column):
        return np.zeros(len(column), np.int8), column.is_valid().to_numpy(zero_copy_only=False)
    encoded = column.dictionary_encode()
    words = [word.strip().upper().removesuffix(".0") for word in encoded.dictionary.to_pylist()]
    meaning = np.array([_TYPES.get(word, 9) for word in words] + [0], dtype=np.int8)
    values = meaning[encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)]
    return np.where(values == 9, 0, values).astype(np.int8), values == 9


def times(column: pa.Array, zone: str) -> np.ndarray:
    """Return int64 ms UTC, ``NO_TIME`` where there is none.

    A time without a zone is local to ``zone`` (the earlier one where the clock is put back). A number is a Unix time
    in s, ms, µs or ns, or a day written out, with a clock behind it or without.
    """
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _of_numbers(column, zone)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        return _instants(column, zone)
    if not is_text(column):
        return np.full(len(column), NO_TIME)
    column = pc.utf8_trim_whitespace(column)
    try:
        return _instants(column.cast(pa.timestamp("us")), zone)
    except pa.ArrowInvalid:
        return _mixed_times(column, zone)


def _of_numbers(column: pa.Array, zone: str) -> np.ndarray:
    """Tell by its size what a number means; each for itself, whatever stands beside it."""
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "u":
        values = np.where(values < 2**63, values, 0)
    values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    out = np.full(len(values), NO_TIME)
    for per_s, times_by, divided_by in _UNITS:
        unix = (values >= _FIRST_S * per_s) & (values < _LAST_S * per_s)
        scaled = values[unix] * times_by
        out[unix] = np.rint(scaled / divided_by) if scaled.dtype.kind == "f" else scaled // divided_by
    for behind, ms in _WRITTEN:
        spelled = (values >= 19_000_101 * behind) & (values < 21_000_101 * behind)
        if spelled.any():
            out[spelled] = _written_out(values[spelled], behind, ms, zone)
    return out


def _written_out(values: np.ndarray, behind: int, ms: int, zone: str) -> np.ndarray:
    """Return the instants of numbers such as 20211201093003: a day, and behind it a clock down to ``ms``."""
    if values.dtype.kind == "f" and behind > 10**6:
        return np.full(len(values), NO_TIME)  # more digits than such a number holds
    whole = values.astype(np.int64)
    day, clock = whole // behind, whole % behind * (ms if behind > 1 else 0)  # clock: HHMMSSmmm
    months = ((day // 10_000 - 1970) * 12 + day // 100 % 100 - 1).astype("datetime64[M]")
    first, after = (each.astype("datetime64[D]").astype(np.int64) for each in (months, months + 1))
    hour, minute, second = clock // 10**7, clock // 10**5 % 100, clock // 1000 % 100
    right = (whole == values) & (day // 100 % 100 >= 1) & (day // 100 % 100 <= 12)
    right &= (day % 100 >= 1) & (day % 100 <= after - first) & (hour < 24) & (minute < 60) & (second < 60)
    local = (first + day % 100 - 1) * 86_400_000 + (hour * 3600 + minute * 60 + second) * 1000 + clock % 1000
    return np.where(right, _instants(pa.array(np.where(right, local, 0)).cast(pa.timestamp("ms")), zone), NO_TIME)


def _instants(column: pa.Array, zone: str) -> np.ndarray:
    if column.type.tz is None:
        column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
    per_unit = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}[column.type.unit]
    ticks = column.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    there = np.abs(ticks // per_unit[1]) < 2**53  # beyond it seconds in ms would wrap around
    return np.where(there, np.where(there, ticks, 0) * per_unit[0] // per_unit[1], NO_TIME)


def _mixed_times(column: pa.Array, zone: str) -> np.ndarray:
    """Read texts one by one (in C) where some are broken, numbers, or carry a zone of their own."""
    import pandas as pd

    for pattern, spelled in _SPELLED:
        column = pc.replace_substring_regex(column, pattern, spelled)
    whole, broken, local, zoned = (_matches(column, pattern) for pattern in (_WHOLE, _BROKEN, _LOCAL, _ZONED))
    out = np.full(len(column), NO_TIME)
    for mask, kind in ((whole, pa.uint64()), (broken, pa.float64())):
        out[mask] = _of_numbers(column.filter(pa.array(mask)).cast(kind), zone)
    for mask, utc in ((zoned, True), (local & ~whole, False)):
        texts = column.filter(pa.array(mask)).to_pandas()
        read = pd.Series(pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=utc))
        out[mask] = _instants(
            pa.Array.from_pandas(read.astype("datetime64[ms, UTC]" if utc else "datetime64[ms]")), zone
        )
    return out


def _matches(column: pa.Array, pattern: str) -> np.ndarray:
    return pc.fill_null(pc.match_substring_regex(column, pattern), False).to_numpy(zero_copy_only=False)
