"""What the MongoDB store promises beyond the contract, on a server that speaks the wire protocol."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pymongo
import pytest
from history_support import SPEC, all_rows, expected_rows, kept_market
from mongo_history import open_at
from pymongo.errors import AutoReconnect

from processors.history.store import Unavailable
from tasks_app.history_mongo.store import MongoHistory


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"mongo_{abs(hash(str(tmp_path))) % 10**8}"


@pytest.fixture
def store(mongo_url: str, name: str, django_db_blocker: pytest.Item) -> Iterator[MongoHistory]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        found = open_at(mongo_url, name)
        found.describe(SPEC)
        yield found


def test_documents_are_readable_in_mongodbs_own_tools(store: MongoHistory, mongo_url: str, name: str) -> None:
    [snapshot] = kept_market(1, stocks=8)
    store.append(SPEC.name, [snapshot])
    with pymongo.MongoClient(mongo_url) as client:
        [document] = client[name].rows.find()
    rows = expected_rows([snapshot])
    assert document["feed"] == SPEC.name and document["day"] == "2021-12-01"
    assert document["at"].isoformat() == "2021-12-01T01:30:00"
    assert document["code"] == rows["code"].to_pylist() and document["bid"] == rows["bid"].to_pylist()


def test_a_writer_that_dies_between_rows_and_headers_leaves_nothing_that_is_read(
    store: MongoHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = kept_market(10)
    store.append(SPEC.name, snapshots[:5])

    def dies(headers: list) -> int:
        raise AutoReconnect("connection reset")

    with monkeypatch.context() as patched:
        patched.setattr(store, "_commit", dies)
        with pytest.raises(Unavailable, match="connection reset"):
            store.append(SPEC.name, snapshots)
    assert all_rows(store).equals(expected_rows(snapshots[:5]))
    assert store.append(SPEC.name, snapshots) == 5
    assert all_rows(store).equals(expected_rows(snapshots))
    assert store._rows.count_documents({}) == 15
    store.compact(SPEC.name, now_ms=4 * 10**12)
    assert store._rows.count_documents({}) == 10
    assert all_rows(store).equals(expected_rows(snapshots))


def test_a_market_too_big_for_one_document(store: MongoHistory) -> None:
    snapshots = kept_market(2, stocks=60_000)
    store.append(SPEC.name, snapshots)
    assert store._rows.count_documents({}) == 6
    assert all_rows(store).equals(expected_rows(snapshots))
    assert not list(store.check(SPEC.name))


def test_missing_and_changed_documents_are_told(store: MongoHistory) -> None:
    store.append(SPEC.name, kept_market(4))
    first, second = store._rows.find(limit=2).sort("time", 1)
    store._rows.update_one({"_id": first["_id"]}, {"$set": {"price": first["price"][:-1]}})
    assert "price has" in next(store.check(SPEC.name))
    store._rows.update_one({"_id": first["_id"]}, {"$set": {"price": first["price"]}})
    store._rows.delete_one({"_id": second["_id"]})
    assert "0 documents of rows, expected 1" in next(store.check(SPEC.name))


def test_threads_and_forked_processes_have_connections_that_live(
    store: MongoHistory, mongo_url: str, name: str
) -> None:
    snapshots = kept_market(4)
    store.append(SPEC.name, snapshots[:1])
    thread = threading.Thread(target=lambda: open_at(mongo_url, name).append(SPEC.name, snapshots[1:2]))
    thread.start()
    thread.join()
    child = os.fork()
    if child == 0:
        os._exit(0 if open_at(mongo_url, name).append(SPEC.name, snapshots[2:3]) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    store.append(SPEC.name, snapshots[3:])
    assert all_rows(store).equals(expected_rows(snapshots))


def test_a_server_that_is_away_is_told_within_the_limit(store: MongoHistory) -> None:
    away = open_at("mongodb://127.0.0.1:1/", "away", limit_ms=200)
    with pytest.raises(Unavailable, match="does not take it"):
        away.append(SPEC.name, kept_market(1))
    with pytest.raises(Unavailable):
        away.feeds()


def test_a_snapshot_of_a_shrunken_market(store: MongoHistory) -> None:
    [snapshot] = kept_market(1)
    empty = replace(snapshot, rows=snapshot.rows.slice(0, 0), header=replace(snapshot.header, received=0))
    assert store.append(SPEC.name, [empty]) == 1
    assert store.read(SPEC.name).read_all().num_rows == 0
    assert isinstance(store.read(SPEC.name), pa.RecordBatchReader)
