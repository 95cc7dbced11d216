"""Files of ticks that people bring: stored, looked at, given a mapping that they confirm, and replayed as a feed."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from processors.feeds.fields import OPTIONAL, REQUIRED, suggest
from processors.feeds.files import preview
from processors.feeds.infer import infer
from processors.feeds.tally import SourceError
from tasks_app import audit, feeds, services
from tasks_app.models import Feed, Processor, Task

SUFFIXES = (".csv", ".txt", ".csv.gz", ".txt.gz", ".zip", ".parquet", ".pq")
SHOWN_ROWS = 5
LONGEST_NAME = 200  # bytes; most file systems take 255


class NoUpload(Exception):
    """There is no upload of this id."""


@dataclass(frozen=True)
class Look:
    """What is in an upload. ``mapping`` (field → column) is suggested, or the one that was asked about; ``inferred``
    are fields of a feed with the sentences why (``said``), or ``error`` tells why nothing could be."""

    id: str
    name: str
    size: int
    columns: list[str]
    rows: list[list[str]]
    mapping: dict[str, str]
    required: list[str] = field(default_factory=lambda: list(REQUIRED))
    optional: list[str] = field(default_factory=lambda: list(OPTIONAL))
    inferred: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def store(name: str, chunks: Iterable[bytes], *, user: Any) -> Look:
    """Write an upload into the state directory and look at it. Raises ``Invalid``, and keeps nothing, for a name of
    another kind, a file above the bound, and one that cannot be read."""
    plain = re.sub(r"[^\w.-]+", "-", Path(name).name).lstrip(".")
    plain = plain.encode()[-LONGEST_NAME:].decode(errors="ignore")
    if not plain.lower().endswith(SUFFIXES):
        raise services.Invalid({"name": [f"{name!r}: expected a file with the ending {', '.join(SUFFIXES)}"]})
    key = secrets.token_hex(8)
    path = _folder() / key / plain
    path.parent.mkdir(parents=True, mode=0o700)
    try:
        _write(path, chunks)
        found = look(key)
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    audit.write("upload", user=user, target=plain, details=f"{found.size} bytes, {key}")
    return found


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    size = 0
    with path.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > settings.UPLOAD_BYTES:
                raise services.Invalid({"file": [f"is larger than {settings.UPLOAD_BYTES // 2**20} MB (UPLOAD_MB)"]})
            file.write(chunk)


def look(key: str, mapping: Mapping[str, str] | None = None) -> Look:
    """Look at an upload, with a mapping or with the suggested one. Raises ``NoUpload``, and ``Invalid`` for a file that
    cannot be read at all."""
    path = _path(key)
    try:
        columns, rows = preview(path, SHOWN_ROWS)
    except SourceError as error:
        raise services.Invalid({"file": [_without_folder(error, path)]}) from error
    chosen = dict(suggest(columns) if mapping is None else mapping)
    seen = Look(key, path.name, path.stat().st_size, columns, rows, chosen)
    try:
        inferred, said = infer(path, mapping=chosen)
    except SourceError as error:
        return Look(**{**asdict(seen), "error": _without_folder(error, path)})
    return Look(**{**asdict(seen), "inferred": inferred, "said": said})


def replay(key: str, *, mapping: dict[str, str], spec: dict[str, Any], pace: float, loop: bool, user: Any) -> Task:
    """Make a feed out of an upload, with its mapping saved in it, and start its replay.

    ``spec`` are fields of ``Feed``. Raises ``NoUpload``, or ``Invalid`` with what does not fit.
    """
    params = {"path": str(_path(key)), "columns": mapping, "pace": pace, "loop": loop}
    feed = feeds.checked(Feed(**spec, processor=Processor.objects.get(name="replay"), params=params))
    with transaction.atomic():
        _path(key)  # nobody deleted it meanwhile
        feeds.save_new(feed)
        task = services.create(processor="replay", feed=feed.name, params=params, user=user)
    audit.write("create feed", user=user, target=feed.name, details=json.dumps({"upload": key, "columns": mapping}))
    return task


def delete(key: str, *, user: Any) -> None:
    """Delete an upload that no feed replays. Raises ``NoUpload`` or ``Conflict``."""
    path = _path(key)
    with transaction.atomic():  # nobody makes a feed of it meanwhile
        using = Feed.objects.filter(params__path=str(path)).first()
        if using is not None:
            raise services.Conflict(f"feed {using.name} replays this upload: delete the feed first")
        shutil.rmtree(path.parent)
    audit.write("delete upload", user=user, target=path.name, details=key)


def _folder() -> Path:
    return Path(settings.STATE_DIR) / "uploads"


def _path(key: str) -> Path:
    if re.fullmatch(r"[0-9a-f]{16}", key):
        found = next((_folder() / key).glob("*"), None)
        if found is not None:
            return found
    raise NoUpload(f"there is no upload {key}")


def _without_folder(error: SourceError, path: Path) -> str:
    return str(error).replace(str(path), path.name)
