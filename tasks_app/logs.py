"""The log of a task's attempts: where it is, its end in bounded pieces, and what must not be shown in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

TAIL_BYTES = 2**20
DOWNLOAD_BYTES = 16 * 2**20
_HIDDEN = "***"
# Each begins with a word and is bounded behind it: a log of any content is masked in linear time.
_SECRETS = (
    re.compile(r"(?P<keep>://[^\s:/@]{0,200}:)[^\s/]{1,500}(?=@)"),  # user:password@ of a URL
    re.compile(r"(?P<keep>lsp_)\w+"),
    re.compile(r"(?P<keep>[Bb]earer {1,3})[\w.~+/=-]+"),
    re.compile(
        r"(?P<keep>(?:password|passwd|secret|token|api[_-]?key|credential)[\w.-]{0,40}[\"']?\s{0,3}[=:]\s{0,3})"
        r"(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'|[\"']?[^\s\"',;&)}]+)",
        re.IGNORECASE,
    ),
)


class NoLog(Exception):
    """There is no log of this attempt; the message names those that there are."""


@dataclass(frozen=True)
class Excerpt:
    """The end of a log: ``truncated`` when something stands before it."""

    attempt: int
    attempts: list[int]
    size: int
    truncated: bool
    text: str


def path_of(task: int, attempt: int) -> Path:
    return settings.STATE_DIR / "tasks" / str(task) / f"attempt-{attempt}.log"


def attempts(task: int) -> list[int]:
    """Return the attempts that have a log."""
    found = path_of(task, 0).parent.glob("attempt-*.log")
    return sorted(int(path.stem.partition("-")[2]) for path in found)


def read(task: int, attempt: int | None = None, *, lines: int | None = None) -> Excerpt:
    """Return the last lines of an attempt's log (of the newest that has one), or all that a download may hold.

    Secrets are masked. Raises NoLog.
    """
    there = attempts(task)
    chosen = attempt if attempt is not None else (there[-1] if there else 0)
    try:
        data, size = _end_of(path_of(task, chosen), DOWNLOAD_BYTES if lines is None else TAIL_BYTES)
    except FileNotFoundError as error:
        known = ", ".join(map(str, there)) or "none"
        raise NoLog(f"task {task} has no log of attempt {chosen or 'any'}; there are: {known}") from error
    found = data.decode(errors="replace").splitlines(keepends=True)
    if len(data) < size:
        del found[:1]  # what is left of its first line may be half a secret
    shown = found if lines is None else found[-lines:]
    return Excerpt(chosen, there, size, len(data) < size or len(shown) < len(found), mask("".join(shown)))


def _end_of(path: Path, limit: int) -> tuple[bytes, int]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - limit))
        return file.read(limit), size


def mask(text: str) -> str:
    """Return a text without passwords, tokens and the platform's own key."""
    text = text.replace(settings.SECRET_KEY, _HIDDEN)
    for secret in _SECRETS:
        text = secret.sub(rf"\g<keep>{_HIDDEN}", text)
    return text
