"""One platform for the tests that only use it; tests that kill its parts start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import postgres_server
import pytest
from kafka_broker import Broker
from platform_process import Platform, running

_shared: list[Platform] = []


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), UPLOAD_MB="3") as found:
        _shared.append(found)
        yield found


@pytest.fixture(scope="module", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """What a module started on the common platform would take the machine's time from all that follow."""
    yield
    for found in _shared:
        for task in found.http.get("/api/tasks", params={"page_size": 500}).json()["results"]:
            if "stop" in task["actions"]:
                found.ask(task["id"], "stop")


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[Platform]:
    with running(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def common_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka broker, which a test before may have left dead."""
    found = Broker(tmp_path_factory.mktemp("kafka"))
    yield found
    found.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    if postgres_server.programs() is None:
        pytest.skip("this machine has no PostgreSQL server (initdb)")
    with postgres_server.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind that the platform runs on."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/race.sqlite3"
    return postgres_server.create(request.getfixturevalue("postgres"), f"race_{abs(hash(request.node.name)) % 10**8}")
