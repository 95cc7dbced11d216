"""The closed set of messages of ``/ws/live`` and what they carry: the one home of their types.

JSON Schema, the AsyncAPI document, the API's Item and Task, the front end's TypeScript and the Python client are all
made from these. The web process sends what Redis holds as it is: the types describe it, tests check it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter

Kind = Literal["feed", "stream", "batch"]
Action = Literal["start", "stop", "retry"]
StatusName = Literal["Initial", "Started", "Running", "Finished", "Stopped", "Terminated"]
ITEM_ID = r"[0-9]{1,19}-[0-9]{1,19}"
ItemId = Annotated[str, Field(pattern=f"^{ITEM_ID}$", examples=["1795450006000-0"])]


def sort_of(message: Any) -> str:
    """Return what tells the messages apart."""
    told = message if isinstance(message, dict) else vars(message) if isinstance(message, BaseModel) else {}
    kind, topic = told.get("type"), told.get("topic")
    return f"{kind} {topic}" if topic and kind != "unsubscribe" else str(kind)


class Strict(BaseModel):
    """Nothing but the fields that are named."""

    model_config = ConfigDict(extra="forbid")


class Open(BaseModel):
    """What a processor tells: it may tell more than the fields that are named."""

    model_config = ConfigDict(extra="allow")


# ---- what messages carry


class Ratio(Open):
    """How good forecasts were: error as ratio to that of the last price; null before there was anything to score."""

    rmse_ratio: float | None
    mae_ratio: float | None
    n: int


class Coverage(Open):
    """Share of returns inside a band, its edges included: of all, and of those that were not 0."""

    coverage: float | None
    coverage_moved: float | None


class Score(Ratio):
    """The whole score of a forecaster. Intervals are 95 % ones of the ratios; null while too little is known."""

    rmse_interval: tuple[float, float] | None = None
    mae_interval: tuple[float, float] | None = None
    hit_rate: float | None = Field(None, description="Of forecasts of a move that were followed by one: right sign")
    silent_share: float | None = Field(None, description="Share of forecasts that are the last price")
    band80: Coverage | None = None
    band95: Coverage | None = None
    interval_score_ratio: float | None = Field(None, description="Of the 80 % band, to ± 1.28 σ around the last price")


class Cluster(Open):
    """One cluster in one result. Predictions are for the result's target time."""

    id: int
    size: int
    price: float | None = Field(description="Mean of the members' prices")
    index: float | None = Field(None, description="Chain-linked index, 100 at the cluster's start")
    predicted_price: float | None
    predicted_index: float | None = None
    predicted_bp: float | None = None
    predicted_median_bp: float | None = None
    band80_bp: tuple[float, float] | None = Field(None, description="Where the return lies in 80 % of the cases")
    band95_bp: tuple[float, float] | None = None
    fallback: bool = Field(False, description="The guard fell back on the last price")
    score: Ratio | None = None


class Scores(Open):
    since_start: Score
    recent: Score


class Counts(Open):
    predicted: int
    scored: int
    no_truth: int


class ResultEvent(Open):
    """Something that happened between two results, such as a changed number of clusters."""

    kind: str


class Numbers(Open):
    """What a stream processor says of one snapshot: the same at every replay. Times in ms since 1970, UTC."""

    run: int
    index: int
    time: int
    target_time: int
    session: str
    trading: bool
    feature_set: str | None = None
    regression: str | None = None
    silhouette: float | None = None
    k: int | None = None
    stocks: int
    real: int
    clusters: list[Cluster]
    scores: Scores | None
    counts: Counts | None = None
    events: list[ResultEvent]


class Meta(Strict):
    """When a result was made, and how late: wall times in ms since 1970, UTC."""

    seq: int
    feed: str
    attempt: int
    handed_ms: int = Field(description="When the snapshot's last row was handed to the feed")
    published_ms: int
    begun_ms: int = Field(description="When an executor began with it")
    mapped_ms: int = Field(description="When its columns were on the driver")
    step_ms: float = Field(description="What the processor's last stretch took")
    result_ms: int
    lag_ms: float = Field(description="From publishing to the result")
    late: bool
    missed: int = Field(description="Snapshots since the task's start that were trimmed from the bus unread")


class Item(Strict):
    """One result."""

    id: ItemId
    numbers: Numbers
    meta: Meta


class Queue(Strict):
    """A place in the queue for a free slot."""

    position: int = Field(description="1: the next to get a slot")
    taken: int = Field(description="Slots in use")
    slots: int = Field(description="Of all workers; 0: there is no worker")


class Progress(Open):
    """What an attempt tells of itself, and what is seen of it from outside. Each fact is there when it is known."""

    stage: str | None = Field(None, description="What a batch task is doing")
    stage_number: int | None = Field(None, description="1 is the first stage")
    stages: int | None = None
    share: float | None = Field(None, description="Share done, 0 to 1")
    batches: int | None = Field(None, description="Of this attempt")
    rows: int | None = Field(None, description="Of this attempt")
    rows_per_s: float | None = Field(None, description="Over the last ten seconds")
    last_batch_at: int | None = Field(None, description="ms since 1970, UTC")
    lag_ms: float | None = None
    missed: int | None = Field(None, description="Snapshots since the task's start that could not be read any more")
    behind: int | None = Field(None, description="Snapshots that wait on the bus")
    stalled: bool | None = None
    heap_mb: float | None = Field(None, description="In use of the JVM's heap")
    jvm_mb: float | None = Field(None, description="Resident")
    python_mb: float | None = Field(None, description="Resident, of all its Python processes")
    saved_at: int | None = Field(None, description="When its checkpoint was written; ms since 1970, UTC")
    unsaved: str | None = Field(None, description="Why its checkpoint could not be written; empty: it could")


class Task(Strict):
    """One run order of one processor."""

    id: int
    processor: str
    title: str
    kind: Kind
    feed: str | None
    params: dict[str, Any]
    status: StatusName
    stopping: bool
    attempt: int
    reason: str
    error: str = Field(description="End of the traceback, secrets masked")
    created_by: str | None
    created_at: AwareDatetime
    queued_at: AwareDatetime | None
    started_at: AwareDatetime | None
    running_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    progress: Progress
    actions: list[Action] = Field(description="What may be asked of the task in its state")
    live_params: list[str] = Field(description="Parameters that may change while it runs")
    code_hash: str = Field(description="Of the code that its newest attempt ran; empty before one did")
    memory_mb: int = Field(description="Heap of its JVM, if it has one")
    on_loss: Literal["resume", "end"] = Field(description="What follows when its process or worker dies")
    keep: bool = Field(description="Whether its results are kept, to be looked at later")
    queue: Queue | None = Field(description="Where it stands while it waits for a free slot")
    stalled: bool = Field(description="Alive, but no batch although snapshots wait")


class StockColumns(Strict):
    """Columns of equal length, one row per stock; null where there is no value. Those of the forecast are left out by
    a processor that predicts nothing."""

    code: list[str]
    cluster: list[int | None]
    price: list[float | None]
    forecast: list[float | None] | None = None
    median: list[float | None] | None = None
    band80_bp: list[float | None] | None = Field(None, description="Half-width around the forecast, in bp")
    band95_bp: list[float | None] | None = None
    return_bp: list[float | None]
    age_s: list[float | None]
    fallback: list[bool | None] | None = None


# ---- from the server


class Hello(Strict):
    """The first message."""

    type: Literal["hello"]
    user: str
    now: AwareDatetime


class Pong(Strict):
    type: Literal["pong"]


class ResultsSnapshot(Strict):
    """What a client lacks of a task's results; ``restart``: forget what you have."""

    type: Literal["snapshot"]
    topic: Literal["results"]
    task: int
    items: list[Item]
    restart: bool


class ResultsUpdate(Strict):
    """One more result. When ``prev`` is not the last id you have, subscribe again with ``after``."""

    type: Literal["update"]
    topic: Literal["results"]
    task: int
    prev: ItemId | None
    item: Item


class TasksSnapshot(Strict):
    type: Literal["snapshot"]
    topic: Literal["tasks"]
    tasks: list[Task]


class TasksUpdate(Strict):
    type: Literal["update"]
    topic: Literal["tasks"]
    task: Task


class Stocks(Strict):
    """Per-stock columns of the newest result: all rows when ``full``, else those that changed; at most 500."""

    type: Literal["stocks"]
    task: int
    id: ItemId
    full: bool
    total: int
    columns: StockColumns


class Error(Strict):
    """A message that can't be followed; it says what was expected."""

    type: Literal["error"]
    detail: str


ServerMessage = Annotated[
    Annotated[Hello, Tag("hello")]
    | Annotated[Pong, Tag("pong")]
    | Annotated[ResultsSnapshot, Tag("snapshot results")]
    | Annotated[ResultsUpdate, Tag("update results")]
    | Annotated[TasksSnapshot, Tag("snapshot tasks")]
    | Annotated[TasksUpdate, Tag("update tasks")]
    | Annotated[Stocks, Tag("stocks")]
    | Annotated[Error, Tag("error")],
    Discriminator(sort_of),
]

# ---- from the client


class SubscribeTasks(Strict):
    """All tasks and their changes."""

    type: Literal["subscribe"]
    topic: Literal["tasks"]


class SubscribeResults(Strict):
    """Results of a task: the newest 600 that Redis holds, or what came after an id, and then each new one."""

    type: Literal["subscribe"]
    topic: Literal["results"]
    task: int
    after: ItemId | None = None


class SubscribeStocks(Strict):
    """Per-stock columns of a task's newest result, of one cluster or all, of codes that contain a text."""

    type: Literal["subscribe"]
    topic: Literal["stocks"]
    task: int
    cluster: int | None = None
    query: str = ""


class Unsubscribe(Strict):
    type: Literal["unsubscribe"]
    topic: Literal["tasks", "results", "stocks"]
    task: int | None = None


class Ping(Strict):
    type: Literal["ping"]


ClientMessage = Annotated[
    Annotated[SubscribeTasks, Tag("subscribe tasks")]
    | Annotated[SubscribeResults, Tag("subscribe results")]
    | Annotated[SubscribeStocks, Tag("subscribe stocks")]
    | Annotated[Unsubscribe, Tag("unsubscribe")]
    | Annotated[Ping, Tag("ping")],
    Discriminator(sort_of),
]

SERVER: TypeAdapter[ServerMessage] = TypeAdapter(ServerMessage)
CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)

FROM_CLIENT: tuple[type[Strict], ...] = (SubscribeTasks, SubscribeResults, SubscribeStocks, Unsubscribe, Ping)
FROM_SERVER: tuple[type[Strict], ...] = (
    Hello, Pong, ResultsSnapshot, ResultsUpdate, TasksSnapshot, TasksUpdate, Stocks, Error,
)  # fmt: skip
