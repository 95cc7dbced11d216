"""Plain calls of the REST API, each answer as a type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tasks_app.messages import Item, Kind, Task

Row = TypeVar("Row", bound=BaseModel)


class Problem(Exception):
    """What the platform said against a call; ``errors`` maps a field to what is wrong with it."""

    def __init__(self, status: int, detail: str, errors: dict[str, list[str]] | None = None):
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.errors = status, detail, errors or {}


class _Told(BaseModel):
    model_config = ConfigDict(populate_by_name=True)


class Processor(_Told):
    name: str
    kind: Kind
    title: str
    description: str
    schema_: dict[str, Any] = Field(alias="schema")
    enabled: bool
    code_hash: str


class Feed(_Told):
    name: str
    title: str
    interval_ms: int
    zone: str
    calendar: str
    simulated: bool
    processor: str
    params: dict[str, Any]
    live_task: int | None


class Instrument(_Told):
    """What a code stands for; null is what nobody told."""

    code: str
    name: str
    calendar: str
    sector: str
    tick_size: float | None
    lot_size: int | None
    listed: date | None
    delisted: date | None


class Event(_Told):
    at: AwareDatetime
    attempt: int
    kind: str
    from_: str = Field(alias="from")
    to: str
    actor: str
    reason: str
    details: dict[str, Any]


class Log(_Told):
    attempt: int
    attempts: list[int]
    size: int
    truncated: bool
    text: str


class HistoryFeed(_Told):
    name: str
    title: str
    zone: str
    interval_ms: int
    days: int
    first: int | None
    last: int | None
    snapshots: int
    rows: int
    size_bytes: int


class HistoryDay(_Told):
    day: str
    snapshots: int
    rows: int
    expected: int
    first: int
    last: int
    complete: float | None


class HistoryPage(_Told):
    """Rows or bars; ``next`` is the ``start`` of the next page. Times in ms UTC."""

    columns: list[str]
    rows: list[list[Any]]
    next: int | None


class KeptDay(_Told):
    day: str
    results: int
    first: int
    last: int


class KeptResult(_Told):
    seq: int
    numbers: dict[str, Any]


class Page(_Told, Generic[Row]):
    count: int
    next: str | None
    previous: str | None
    results: list[Row]


class Client:
    """The API as one user, by a token. Raises Problem for what the platform refuses, httpx.HTTPError for the way."""

    def __init__(self, url: str, token: str, *, timeout_s: float = 20.0):
        self.url, self.token = url.rstrip("/"), token
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # ---- looking

    def processors(self) -> list[Processor]:
        return [Processor.model_validate(row, extra="allow") for row in self._get("processors").json()]

    def feeds(self) -> list[Feed]:
        return [Feed.model_validate(row, extra="allow") for row in self._get("feeds").json()]

    def instruments(
        self,
        codes: Sequence[str] | None = None,
        *,
        search: str | None = None,
        calendar: str | None = None,
        page: int = 1,
        page_size: int = 500,
    ) -> Page[Instrument]:
        """Return one page of instruments, in order of code; ``search`` finds in code and name."""
        chosen = None if codes is None else ",".join(codes)
        asked = {"codes": chosen, "search": search, "calendar": calendar, "page": page, "page_size": page_size}
        return _read(Page[Instrument], self._get("instruments", **asked))

    def task(self, task: int) -> Task:
        return _read(Task, self._get(f"tasks/{task}"))

    def tasks(self, *, page: int = 1, **filters: Any) -> Page[Task]:
        """Return one page of tasks, newest first; filters are those of the API: kind, status, feed, search, order …"""
        return _read(Page[Task], self._get("tasks", page=page, **filters))

    def all_tasks(self, **filters: Any) -> Iterator[Task]:
        """Yield every task, page by page."""
        number, more = 1, True
        while more:
            page = self.tasks(page=number, **filters)
            yield from page.results
            number, more = number + 1, page.next is not None

    def events(self, task: int, *, page: int = 1, page_size: int = 500) -> Page[Event]:
        found = self._get(f"tasks/{task}/events", page=page, page_size=page_size)
        return _read(Page[Event], found)

    def log(self, task: int, *, attempt: int | None = None, tail: int = 200) -> Log:
        """Return the last lines of an attempt's log, the newest attempt's unless told."""
        return _read(Log, self._get(f"tasks/{task}/log", attempt=attempt, tail=tail))

    def result(self, task: int) -> Item:
        """Return the newest result; Problem 404 when there is none."""
        return _read(Item, self._get(f"tasks/{task}/result"))

    def results(self, task: int, *, after: str | None = None, limit: int = 600) -> list[Item]:
        """Return results after an id, oldest first; the newest ones without an id."""
        found = self._get(f"tasks/{task}/results", after=after, limit=limit).json()
        return [Item.model_validate(item, extra="allow") for item in found["items"]]

    # ---- the history: ranges are `start`, `end` (ms or ISO), `codes`, `columns` or `every`, `limit`, as in the API

    def history(self) -> list[HistoryFeed]:
        return [HistoryFeed.model_validate(row, extra="allow") for row in self._get("history/feeds").json()]

    def history_days(self, feed: str) -> list[HistoryDay]:
        found = self._get(f"history/feeds/{feed}/days").json()
        return [HistoryDay.model_validate(row, extra="allow") for row in found]

    def history_rows(self, feed: str, **asked: Any) -> Iterator[list[Any]]:
        """Yield rows, each in the order of the columns asked for, page by page."""
        return self._pages(f"history/feeds/{feed}/rows", asked)

    def history_bars(self, feed: str, **asked: Any) -> Iterator[list[Any]]:
        """Yield bars: begin, end, code, open, high, low, close, volume, amount, rows."""
        return self._pages(f"history/feeds/{feed}/bars", asked)

    def download(
        self, feed: str, path: str | Path, kind: str = "parquet", what: Literal["rows", "bars"] = "rows", **asked: Any
    ) -> None:
        """Write a range to a file as it comes: csv, parquet or arrow."""
        self._save(f"history/feeds/{feed}/{what}", path, {**_query(asked), "as": kind})

    def _save(self, call: str, path: str | Path, query: dict[str, Any]) -> None:
        with self._http.stream("GET", f"/api/{call}", params=query) as answer:
            if not answer.is_success:
                answer.read()
            checked(answer)
            with Path(path).open("wb") as file:
                for part in answer.iter_bytes():
                    file.write(part)

    # ---- kept results: ranges are `start` and `end`

    def kept_days(self, task: int) -> list[KeptDay]:
        return [KeptDay.model_validate(row, extra="allow") for row in self._get(f"tasks/{task}/kept/days").json()]

    def kept(self, task: int, **asked: Any) -> Iterator[KeptResult]:
        """Yield the kept results of a task, oldest first, page by page."""
        query: dict[str, Any] | None = asked
        while query is not None:
            page = self._get(f"tasks/{task}/kept", **query).json()
            yield from (KeptResult.model_validate(row) for row in page["results"])
            query = None if page["next"] is None else {**query, "after": page["next"]}

    def download_kept(self, task: int, path: str | Path, kind: str = "parquet", **asked: Any) -> None:
        """Write a row per stock and kept result to a file as it comes: csv, parquet or arrow."""
        self._save(f"tasks/{task}/kept", path, {**asked, "as": kind})

    def _pages(self, path: str, asked: dict[str, Any]) -> Iterator[list[Any]]:
        query: dict[str, Any] | None = _query(asked)
        while query is not None:
            page = _read(HistoryPage, self._get(path, **query))
            yield from page.rows
            query = None if page.next is None else {**query, "start": page.next}

    # ---- acting

    def create(
        self,
        processor: str,
        feed: str | None = None,
        *,
        start: bool = True,
        memory_mb: int | None = None,
        on_loss: str = "resume",
        keep: bool = False,
        key: str | None = None,
        **params: Any,
    ) -> Task:
        """Create a task. With an idempotency key the call may be repeated: the same key gives the same task."""
        body: dict[str, Any] = {"processor": processor, "feed": feed, "params": params, "start": start}
        body |= {"memory_mb": memory_mb, "on_loss": on_loss, "keep": keep}
        return self._post("tasks", body, {"Idempotency-Key": key} if key else {})

    def create_feed(self, name: str, processor: str, params: dict[str, Any], **fields: Any) -> Feed:
        """Make a feed; ``fields`` are its others by name: zone, calendar, interval_ms …"""
        body = {"name": name, "processor": processor, "params": params, **fields}
        return Feed.model_validate(checked(self._http.post("/api/feeds", json=body)).json(), extra="allow")

    def change_feed(self, name: str, /, **fields: Any) -> Feed:
        """Change a feed that no task feeds just now."""
        return Feed.model_validate(checked(self._http.patch(f"/api/feeds/{name}", json=fields)).json(), extra="allow")

    def delete_feed(self, name: str) -> None:
        """Delete a feed that has no tasks; what the history holds of it stays."""
        checked(self._http.delete(f"/api/feeds/{name}"))

    def reload_processors(self) -> list[str]:
        """Check `processors.toml` and take it over, all or nothing; Problem 422 says what is broken and where."""
        return checked(self._http.post("/api/processors/reload")).json()["processors"]

    def start(self, task: int) -> Task:
        return self._post(f"tasks/{task}/start", {})

    def stop(self, task: int, reason: str = "") -> Task:
        return self._post(f"tasks/{task}/stop", {"reason": reason})

    def retry(self, task: int, *, fresh: bool = False, memory_mb: int | None = None) -> Task:
        return self._post(f"tasks/{task}/retry", {"fresh": fresh, "memory_mb": memory_mb})

    def set_live(self, task: int, name: str, value: Any) -> Task:
        return self._post(f"tasks/{task}/live", {"name": name, "value": value})

    # ---- the way

    def _get(self, path: str, **query: Any) -> httpx.Response:
        given = {name: value for name, value in query.items() if value is not None}
        return checked(self._http.get(f"/api/{path}", params=given))

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Task:
        return _read(Task, checked(self._http.post(f"/api/{path}", json=body, headers=headers)))


def _query(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the query of a range; lists are joined by commas."""
    return {name: ",".join(value) if isinstance(value, list | tuple) else value for name, value in asked.items()}


def _read(kind: type[Row], answer: httpx.Response) -> Row:
    """Return an answer as a type; a newer platform may tell more than the type names."""
    return kind.model_validate_json(answer.content, extra="allow")


def checked(answer: httpx.Response) -> httpx.Response:
    """Return the answer; raise Problem for one that refuses."""
    if answer.is_success:
        return answer
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        told = answer.json()
        raise Problem(answer.status_code, told["detail"], told.get("errors"))
    raise Problem(answer.status_code, answer.text[:200] or answer.reason_phrase)
