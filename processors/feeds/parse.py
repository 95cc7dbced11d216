"""Turn Arrow columns, text or typed, into NumPy arrays, a whole column at a time; what cannot be read is marked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NO_TIME = np.iinfo(np.int64).min
_LOCAL = r"^\d{4}[-/.]?\d{1,2}[-/.]?\d{1,2}([T ]+\d[\d:]*(\.\d+)?)?$"  # a day, and mostly a time of it
_ZONED = r"^\d{4}[-/.]?\d{1,2}[-/.]?\d{1,2}[T ]+\d[\d:]*(\.\d+)? ?([Zz]|[+-]\d\d(:?\d\d)?)$"
_SECONDS, _FINER = r"^\d{9,10}(\.\d+)?$", r"^(\d{12,13}|\d{15,16}|[1-8]?\d{18})$"  # since 1970
_SPELLED = (
    (r"^(\d{8}) (\d{5}|\d{8})$", r"\1 0\2"),  # a number has lost its leading zero
    (r"^((?:19|20)\d\d)(\d\d)(\d\d) ?(\d\d)(\d\d)$", r"\1-\2-\3 \4:\5"),
    (r"^(\d{4})(\d\d)(\d\d) ?(\d\d)(\d\d)(\d\d)$", r"\1-\2-\3 \4:\5:\6"),
    (r"^(\d{4})(\d\d)(\d\d) ?(\d\d)(\d\d)(\d\d)(\d{3})$", r"\1-\2-\3 \4:\5:\6.\7"),
    (r"(:\d\d),(\d+)", r"\1.\2"),
    (r" ?(UTC|GMT)$", "Z"),
)
_TYPES = {"": 0, "0": 0, "N": 0, "1": 1, "+1": 1, "B": 1, "-1": -1, "S": -1}


def is_text(column: pa.Array) -> bool:
    kind = column.type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (float64 values, NaN where there is none; mask of what is there but is no finite number)."""
    if is_text(column):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    given = column.is_valid().to_numpy(zero_copy_only=False)
    values = _floats(column)
    return values, given & ~np.isfinite(values)


def _floats(column: pa.Array) -> np.ndarray:
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    try:
        column = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import pandas as pd  # half a second that a clean file does not cost

        return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return column.to_numpy(zero_copy_only=False)


def trade_types(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (int8 sign, 0 where there is none; mask of what is none of 1, -1, 0, B, S, N)."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = np.nan_to_num(_floats(column), posinf=9, neginf=9)
        unknown = ~np.isin(values, (-1, 0, 1))
        return np.where(unknown, 0, values).astype(np.int8), unknown
    encoded = column.cast(pa.string()).dictionary_encode()
    words = [word.strip().upper().removesuffix(".0") for word in encoded.dictionary.to_pylist()]
    meaning = np.array([_TYPES.get(word, 9) for word in words] + [0], dtype=np.int8)
    values = meaning[encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)]
    return np.where(values == 9, 0, values).astype(np.int8), values == 9


def times(column: pa.Array, zone: str) -> np.ndarray:
    """Return int64 ms UTC, ``NO_TIME`` where there is none.

    A time without a zone is local to ``zone`` (the earlier one where the clock is put back); numbers are Unix times in
    s, ms, µs or ns.
    """
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        if not _is_written_out(column):
            return _since_1970(column)
        column = column.cast(pa.int64(), safe=False).cast(pa.string())
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


def _is_written_out(column: pa.Array) -> bool:
    """True if there are numbers such as 20211201093003, also with milliseconds: no Unix times before the year 2500."""
    values = column.cast(pa.float64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False)
    return any(bool(((values >= 1900 * unit) & (values < 2100 * unit)).any()) for unit in (1e10, 1e13))


def _since_1970(column: pa.Array) -> np.ndarray:
    """Tell the unit by the size: what is taken as milliseconds lies between 1973 and 5138."""
    column = column.cast(pa.float64() if pa.types.is_floating(column.type) else pa.int64())
    values = column.fill_null(-1).to_numpy(zero_copy_only=False)
    there = (values >= 0) & (values < 2.0**63)  # NaN is neither
    values = values[there]
    units = [values < 1e11, values < 1e14, values < 1e17]
    out = np.full(len(column), NO_TIME)
    out[there] = np.rint(np.select(units, [values * 1000, values, values // 1000], values // 1_000_000))
    return out


def _instants(column: pa.Array, zone: str) -> np.ndarray:
    if column.type.tz is None:
        column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
    per_unit = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}[column.type.unit]
    ticks = column.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    return np.where(ticks == NO_TIME, NO_TIME, ticks * per_unit[0] // per_unit[1])


def _mixed_times(column: pa.Array, zone: str) -> np.ndarray:
    """Read texts one by one (in C) where some are broken, numbers, or carry a zone of their own."""
    import pandas as pd

    for pattern, spelled in _SPELLED:
        column = pc.replace_substring_regex(column, pattern, spelled)
    local, zoned, seconds, finer = (_matches(column, pattern) for pattern in (_LOCAL, _ZONED, _SECONDS, _FINER))
    out = np.full(len(column), NO_TIME)
    for mask, kind in ((seconds, pa.float64()), (finer, pa.int64())):
        out[mask] = _since_1970(column.filter(pa.array(mask)).cast(kind))
    for mask, utc in ((zoned, True), (local & ~(seconds | finer), False)):
        texts = column.filter(pa.array(mask)).to_pandas()
        read = pd.Series(pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=utc))
        out[mask] = _instants(
            pa.Array.from_pandas(read.astype("datetime64[ms, UTC]" if utc else "datetime64[ms]")), zone
        )
    return out


def _matches(column: pa.Array, pattern: str) -> np.ndarray:
    return pc.fill_null(pc.match_substring_regex(column, pattern), False).to_numpy(zero_copy_only=False)
