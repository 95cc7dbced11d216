"""What a day's directory holds: the manifest names every file that counts, with its size and SHA-256.

A file that the manifest does not name is not there, whatever lies in the directory: so a day goes from one state to the
next with one rename. Files that were replaced stay for a while, for those who read them just then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from processors.durable import writing
from processors.history.store import Damaged, Day

NAME = "manifest.json"
RETIRED_MS = 3_600_000  # how long a file that was replaced can still be read


@dataclass(frozen=True)
class File:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Chunk:
    """Row groups ``begin`` to ``end`` (exclusive) of a segment's rows, and the times of their first and last snapshot.
    What a chunk covers is read at once and put in order in memory."""

    begin: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Segment:
    """Snapshots that were written together: a file of rows, one of headers. ``by_code``: rows within a chunk are in
    order of (code, snapshot), else of (snapshot, code)."""

    rows_file: File
    headers_file: File
    rows: int
    snapshots: int
    expected: int
    chunks: tuple[Chunk, ...]
    by_code: bool = False

    @property
    def first(self) -> int:
        return self.chunks[0].first

    @property
    def last(self) -> int:
        return self.chunks[-1].last


@dataclass(frozen=True)
class Manifest:
    segments: tuple[Segment, ...] = ()
    retired: dict[str, int] = field(default_factory=dict)  # file name → when it was replaced, ms of wall time

    def add(self, segment: Segment) -> Manifest:
        return replace(self, segments=(*self.segments, segment))

    def put_together(self, parts: tuple[Segment, ...], whole: Segment, now_ms: int) -> Manifest:
        """Return the manifest with ``whole`` in the place of its parts, whose files are retired."""
        left = tuple(each for each in self.segments if each not in parts)
        gone = {file.name: now_ms for part in parts for file in (part.rows_file, part.headers_file)}
        return Manifest((whole, *left), {**self.retired, **gone})

    def files(self) -> Iterator[File]:
        for segment in self.segments:
            yield from (segment.rows_file, segment.headers_file)

    def day(self, name: str) -> Day:
        segments = self.segments
        return Day(
            day=name,
            snapshots=sum(each.snapshots for each in segments),
            rows=sum(each.rows for each in segments),
            expected=sum(each.expected for each in segments),
            first=min(each.first for each in segments),
            last=max(each.last for each in segments),
            size_bytes=sum(each.size for each in self.files()),
            compacted=len(segments) == 1 and segments[0].by_code,
        )


def load(directory: Path) -> Manifest:
    """Return a day's manifest, an empty one for a day that is not here; raise Damaged for one that does not fit."""
    path = directory / NAME
    try:
        found = json.loads(path.read_bytes())
        content = found["content"]
        if _digest(content) != found["sha256"]:
            raise Damaged(f"{path} has another checksum than it says")
        segments = tuple(_segment(each) for each in content["segments"])
        return Manifest(segments, content["retired"])
    except FileNotFoundError:
        return Manifest()
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is no manifest: {type(error).__name__}: {error}") from error


def save(directory: Path, manifest: Manifest) -> None:
    """Make a manifest the truth about a day; its files are there already."""
    content = {"segments": [asdict(each) for each in manifest.segments], "retired": manifest.retired}
    text = json.dumps({"version": 1, "content": content, "sha256": _digest(content)})
    with writing(directory / NAME) as file:
        file.write(text.encode())


def describe(path: Path) -> File:
    """Return a file as a manifest names it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return File(path.name, path.stat().st_size, digest)


def _segment(content: dict) -> Segment:
    files = {name: File(**content[name]) for name in ("rows_file", "headers_file")}
    chunks = tuple(Chunk(**each) for each in content["chunks"])
    return Segment(**{**content, **files, "chunks": chunks})


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
