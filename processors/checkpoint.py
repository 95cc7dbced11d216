"""A stream task's state on disk: written whole or not at all, checked when read."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.durable import writing

_META = "__meta__"


class CheckpointError(Exception):
    """A checkpoint that is there but can't be used; the message says why."""


def save(path: Path, state: dict[str, Any], meta: dict[str, Any]) -> None:
    """Write state and meta under a temporary name, fsync, rename. ``state`` is a tree of dicts with NumPy arrays,
    Arrow string arrays without nulls, and JSON values as leaves; every part of the file carries a checksum (zip)."""
    arrays: dict[str, np.ndarray] = {}
    tree = _split(state, "", arrays)
    text = json.dumps({"meta": meta, "state": tree}).encode()
    with writing(path) as file:
        np.savez(file, allow_pickle=False, **{_META: np.frombuffer(text, dtype=np.uint8), **arrays})  # type: ignore[arg-type]


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return (state, meta), None where there is no checkpoint; raise CheckpointError for one that is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            content = json.loads(file[_META].tobytes())
            return _join(content["state"], file), content["meta"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"checkpoint {path.name} is damaged: {error}") from error


def copy(state: Any, into: Any = None) -> Any:
    """Return a deep copy of a state tree, so that it may be written while the original goes on.

    The arrays of ``into``, an older copy that nobody needs, are written over where they fit: new memory costs more
    than the copying. Arrow's arrays never change, and are not copied.
    """
    if isinstance(state, dict):
        older = into if isinstance(into, dict) else {}
        return {key: copy(value, older.get(key)) for key, value in state.items()}
    if isinstance(state, list):
        return [copy(value) for value in state]
    if not isinstance(state, np.ndarray):
        return state
    if isinstance(into, np.ndarray) and (into.shape, into.dtype) == (state.shape, state.dtype):
        np.copyto(into, state)
        return into
    return state.copy()


def _split(node: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(node, pa.StringArray):
        if node.null_count:
            raise ValueError(f"state {path}: {node.null_count} of {len(node)} texts are null, expected none")
        flat = pa.concat_arrays([node, node[:0]])  # a slice of a longer array has the longer one's buffers
        arrays[f"{path}.lengths"] = pc.binary_length(flat).to_numpy()
        arrays[f"{path}.text"] = np.frombuffer(flat.buffers()[2] or b"", dtype=np.uint8)
        return {"__text__": path}
    if isinstance(node, np.ndarray):
        if node.dtype.kind == "O":
            return {"__list__": node.tolist()}
        arrays[path] = node
        return {"__array__": path}
    if isinstance(node, dict):
        return {key: _split(value, f"{path}.{key}" if path else key, arrays) for key, value in node.items()}
    return node.item() if isinstance(node, np.generic) else node


def _join(node: Any, arrays: Any) -> Any:
    if isinstance(node, dict):
        if "__array__" in node:
            return arrays[node["__array__"]]
        if "__text__" in node:
            path = node["__text__"]
            return _texts(arrays[f"{path}.lengths"], arrays[f"{path}.text"])
        if "__list__" in node:
            return np.array(node["__list__"], dtype=object)
        return {key: _join(value, arrays) for key, value in node.items()}
    return node


def _texts(lengths: np.ndarray, text: np.ndarray) -> pa.StringArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(text))


class Saver:
    """Writes checkpoints on a thread of its own, one at a time; the newest offered wins.

    ``told`` is called after each: with the error when it could not be written (disk full, or not a state; the task
    goes on without), else with None.
    """

    def __init__(self, path: Path, told: Callable[[Exception | None], None]):
        self.path, self._told = path, told
        self._next: tuple[dict, dict] | None = None
        self._spare: dict | None = None  # a copy that has been written
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def offer(self, state: dict[str, Any], meta: dict[str, Any]) -> None:
        with self._wake:
            spare, self._spare = self._next[0] if self._next else self._spare, None
            self._next = (copy(state, spare), meta)
            self._wake.notify()

    def close(self, timeout_s: float) -> None:
        """Write what was offered last, then end; give up waiting after the timeout."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._next or self._closing)
                offered, self._next = self._next, None
            if offered is None:
                return
            try:
                save(self.path, *offered)
                self._told(None)
            except (OSError, ValueError) as error:
                self._told(error)
            with self._wake:
                self._spare = offered[0]
