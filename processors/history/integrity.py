"""Says what is wrong with a day of the Parquet history: every byte is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from processors.history import manifest
from processors.history.manifest import Segment
from processors.history.store import Damaged, local_day


def check_day(directory: Path, day: str, zone: str) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong."""
    try:
        found = manifest.load(directory)
    except Damaged as error:
        yield str(error)
        return
    whole = []
    for file in found.files():
        problem = _file_problem(directory, file)
        if problem:
            yield problem
        else:
            whole.append(file)
    readable = [each for each in found.segments if each.rows_file in whole and each.headers_file in whole]
    times: Counter[int] = Counter()
    for segment in readable:
        yield from _segment_problems(directory, segment, times)
    twice = sum(1 for count in times.values() if count > 1)
    if twice:
        yield f"{directory}: {twice} snapshots are there twice"
    elsewhere = sum(1 for time in times if local_day(time, zone) != day)
    if elsewhere:
        yield f"{directory}: {elsewhere} snapshots are of another day"


def _file_problem(directory: Path, file: manifest.File) -> str | None:
    path = directory / file.name
    try:
        now = manifest.describe(path)
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    if now.size != file.size:
        return f"{path} has {now.size} bytes, the manifest says {file.size}"
    return None if now.sha256 == file.sha256 else f"{path} has another checksum than the manifest says"


def _segment_problems(directory: Path, segment: Segment, times: Counter[int]) -> Iterator[str]:
    """Compare rows and headers of a segment with each other and the manifest; add its times to ``times``."""
    path = directory / segment.rows_file.name
    try:
        headers = pq.read_table(directory / segment.headers_file.name, columns=["time", "received"])
        snapshots = pq.read_table(path, columns=["snapshot"]).column("snapshot").cast(pa.int64()).to_numpy()
    except (pa.ArrowException, OSError) as error:
        yield f"{path} is no Parquet file of the history: {error}"
        return
    if (len(snapshots), headers.num_rows) != (segment.rows, segment.snapshots):
        yield (
            f"{path} has {len(snapshots)} rows of {headers.num_rows} snapshots, "
            f"the manifest says {segment.rows} of {segment.snapshots}"
        )
    found = dict(zip(*(part.tolist() for part in np.unique(snapshots, return_counts=True)), strict=True))
    expected = dict(
        zip(headers.column("time").cast(pa.int64()).to_pylist(), headers["received"].to_pylist(), strict=True)
    )
    times.update(expected.keys())
    wrong = [time for time in found.keys() | expected.keys() if found.get(time, 0) != expected.get(time)]
    if wrong:
        yield f"{path}: {len(wrong)} snapshots have other rows than their headers say, the first at {min(wrong)}"
