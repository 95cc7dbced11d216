"""The client for programs: tasks by plain calls, results as an async stream. Needs httpx, websockets and pydantic only.

with Client("http://127.0.0.1:8000", token=TOKEN) as platform:
    task = platform.create("cluster_regression", "ashare", k=4)

async for item in stream("http://127.0.0.1:8000", TOKEN, task.id):
    print(item.numbers.time, item.numbers.clusters)
"""

from tasks_app.client.calls import (
    Client,
    Event,
    Feed,
    HistoryDay,
    HistoryFeed,
    HistoryPage,
    Instrument,
    Log,
    Page,
    Problem,
    Processor,
)
from tasks_app.client.live import Ended, stream

__all__ = [
    "Client",
    "Ended",
    "Event",
    "Feed",
    "HistoryDay",
    "HistoryFeed",
    "HistoryPage",
    "Instrument",
    "Log",
    "Page",
    "Problem",
    "Processor",
    "stream",
]
