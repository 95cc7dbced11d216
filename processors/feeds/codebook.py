"""Number the codes of a feed in the order they are first seen, so that everything after works on integers."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.contract import slice_of

_CODE = re.compile(r"[!-+\--~]{1,32}")  # printable ASCII without blank and comma; BRK.B, 000001, ^GSPC
_NO_CODE = frozenset({"nan", "NaN", "null", "NULL", "None"})


class Codebook:
    """``codes[i]`` is the text of number i, ``slices[i]`` the slice it belongs to. Numbers are never given twice."""

    def __init__(self, slices: int) -> None:
        self.codes: list[str] = []
        self.slices = np.empty(0, dtype=np.int64)
        self._slice_count = slices
        self._texts = text_column([])
        self._numbers: dict[str, int] = {}
        self._last: tuple[pa.Array, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def texts(self, numbers: np.ndarray) -> pa.StringArray:
        """Return the codes of some numbers, taken in Arrow: stocks come and go with most snapshots of a big market."""
        if len(self._texts) < len(self.codes):
            self._texts = pa.concat_arrays([self._texts, text_column(self.codes[len(self._texts) :])])
        return self._texts.take(pa.array(numbers))

    def numbers(self, column: pa.Array) -> np.ndarray:
        """Return the int64 number of each code of a text (or dictionary of text) column, -1 where it is none."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        meaning = self._of_dictionary(encoded.dictionary)
        indices = encoded.indices.cast(pa.int64()).fill_null(len(meaning) - 1)
        return meaning[indices.to_numpy(zero_copy_only=False)]

    def _of_dictionary(self, words: pa.Array) -> np.ndarray:
        """Return the number of each word and a last -1 for null; a dictionary that comes again costs nothing."""
        if self._last is not None and _same(self._last[0], words):
            return self._last[1]
        meaning = np.array([self._number(word) for word in words.cast(pa.string()).to_pylist()] + [-1], dtype=np.int64)
        if len(self.codes) > len(self.slices):
            new = slice_of(self.codes[len(self.slices) :], self._slice_count)
            self.slices = np.concatenate([self.slices, new])
        self._last = (words, meaning)
        return meaning

    def _number(self, word: str | None) -> int:
        number = self._numbers.get(word, -1) if word is not None else -1
        if number >= 0 or word is None:
            return number
        code = word.strip()
        if code in _NO_CODE or not _CODE.fullmatch(code):
            return -1
        number = self._numbers.setdefault(code, len(self.codes))
        if number == len(self.codes):
            self.codes.append(code)
        return number


def _same(one: pa.Array, other: pa.Array) -> bool:
    """True for the same memory; comparing the texts would cost as much as it saves."""
    return (
        len(one) == len(other)
        and one.offset == other.offset
        and all(
            (a is None) == (b is None) and (a is None or a.address == b.address)
            for a, b in zip(one.buffers(), other.buffers(), strict=True)
        )
    )


def text_column(codes: list[str]) -> pa.StringArray:
    return pc.cast(pa.array(codes), pa.string())
