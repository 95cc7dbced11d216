"""Columns of numbers as arrays of BSON, written and read whole by NumPy instead of number by number.

A BSON array is a document whose keys are "0", "1", …: each element is a byte of type, the key's digits, a zero byte and
the value (bsonspec.org). For numbers of eight bytes all elements with as many digits are equally long: an array of
records. Any other document or array is left to pymongo's bson.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import bson
import numpy as np

_DTYPES = {0x01: np.dtype("<f8"), 0x12: np.dtype("<i8")}  # by BSON's byte of type
_ARRAY = 0x04
_MOST = 100_000  # elements; a document has 16 MB
_SIZES = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x12: 8}  # of values, by type
_LENGTH_LEAVES_OUT = {0x02: 4, 0x03: 0, 0x04: 0}  # of values that begin with their own length


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return a document as BSON. A value may be an array of float64 or int64, shape (n,), n up to 100,000."""
    plain = {name: value for name, value in fields.items() if not isinstance(value, np.ndarray)}
    parts = [bson.encode(plain)[4:-1]]
    for name, values in fields.items():
        if isinstance(values, np.ndarray):
            parts += [bytes([_ARRAY]), name.encode(), b"\0", _array(values)]
    return _document(parts)


def decode(raw: bytes) -> dict[str, Any]:
    """Return a document of BSON; an array of doubles alone, or of int64, is one of NumPy, shape (n,)."""
    try:
        elements = list(_elements(raw))
    except KeyError:  # a type that nothing here writes
        return bson.decode(raw)
    numbers, others = {}, []
    for name, kind, begin, value, end in elements:
        found = _numbers(raw, value, end) if kind == _ARRAY else None
        if found is None:
            others.append(raw[begin:end])
        else:
            numbers[name] = found
    return bson.decode(_document(others)) | numbers


def _document(parts: list[bytes]) -> bytes:
    return b"".join([struct.pack("<i", sum(map(len, parts)) + 5), *parts, b"\0"])


def _array(values: np.ndarray) -> bytes:
    kind = next(kind for kind, dtype in _DTYPES.items() if dtype == values.dtype)
    parts = []
    for begin, frame in _blocks(len(values)):
        block = frame.copy()
        block["kind"] = kind
        block["value"] = values[begin : begin + len(block)].view("<i8")
        parts.append(block.tobytes())
    return _document(parts)


def _numbers(raw: bytes, begin: int, end: int) -> np.ndarray | None:
    """Return an array's elements if they are all of one type of eight bytes."""
    kind, at, parts = raw[begin + 4], begin + 4, []
    count = _count(end - begin - 5)
    if kind not in _DTYPES or count is None:
        return None
    for _, frame in _blocks(count):
        block = np.frombuffer(raw, frame.dtype, len(frame), at)
        if (block["kind"] != kind).any() or (block["end"] != 0).any():
            return None
        parts.append(np.ascontiguousarray(block["value"]).view(_DTYPES[kind]))
        at += block.nbytes
    return np.concatenate(parts) if parts else np.empty(0, _DTYPES[kind])


def _count(size: int) -> int | None:
    """Return how many elements with values of eight bytes are that long."""
    count = 0
    for digits in range(1, len(str(_MOST))):
        keys, each = len(_frame(digits)), _frame(digits).itemsize
        if size <= keys * each:
            return count + size // each if size % each == 0 else None
        count, size = count + keys, size - keys * each
    return None


def _blocks(count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first key and the frame of the elements of each number of digits, of keys below ``count``."""
    if count > _MOST:
        raise ValueError(f"{count} values: expected at most {_MOST}")
    begin = 0
    for digits in range(1, len(str(_MOST))):
        if begin < count:
            frame = _frame(digits)[: count - begin]
            yield begin, frame
            begin += len(frame)


@lru_cache
def _frame(digits: int) -> np.ndarray:
    """Return all elements with keys of so many digits, their types and values zero."""
    keys = range(10 ** (digits - 1) if digits > 1 else 0, 10**digits)
    frame = np.zeros(len(keys), [("kind", "u1"), ("key", f"S{digits}"), ("end", "u1"), ("value", "<i8")])
    frame["key"] = [str(key) for key in keys]
    return frame


def _elements(raw: bytes) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield each element of a document: name, type, and where it, its value and what follows begin. Raises KeyError for
    a type whose size is not known here."""
    at = 4
    while at < len(raw) - 1:
        kind, named = raw[at], raw.index(b"\0", at)
        value = named + 1
        if kind in _LENGTH_LEAVES_OUT:
            end = value + struct.unpack_from("<i", raw, value)[0] + _LENGTH_LEAVES_OUT[kind]
        else:
            end = value + _SIZES[kind]
        yield raw[at + 1 : named].decode(), kind, at, value, end
        at = end
