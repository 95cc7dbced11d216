"""Executors hand their columns to the driver: whole, to nobody else, and only with the key."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.inbox import Inbox, Outbox


@pytest.fixture(params=["file", "port"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inbox]:
    found = Inbox(tmp_path) if request.param == "file" else Inbox(None, "127.0.0.1")
    yield found
    found.close()


def test_messages_of_two_senders_come_whole(inbox: Inbox) -> None:
    senders = [Outbox(inbox.address, inbox.key) for _ in range(2)]
    sent = [bytes([number]) * (3_000_000 + number) for number in range(4)] + [b""]
    for number, message in enumerate(sent):
        senders[number % 2].send(message)
    came = [inbox.take(5.0) for _ in sent]
    assert sorted(bytes(message or b"") for message in came) == sorted(sent)
    assert inbox.take(0.0) is None


def test_who_lacks_the_key_is_not_heard(inbox: Inbox) -> None:
    stranger = Outbox(inbox.address, "0" * len(inbox.key))
    with pytest.raises(OSError):
        while True:  # until the driver has hung up
            stranger.send(b"x" * 100_000)
    Outbox(inbox.address, inbox.key).send(b"known")
    assert inbox.take(5.0) == b"known"


def test_half_a_message_of_a_worker_that_died_is_none(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    with socket.socket(socket.AF_UNIX) as dying:
        dying.connect(inbox.address)
        dying.sendall(inbox.key.encode() + (1000).to_bytes(8, "big") + b"half")
    Outbox(inbox.address, inbox.key).send(b"whole")
    assert inbox.take(5.0) == b"whole"
    assert inbox.take(0.0) is None
    inbox.close()


def test_a_driver_that_is_gone_is_an_error(inbox: Inbox) -> None:
    inbox.close()
    with pytest.raises(OSError):
        Outbox(inbox.address, inbox.key)
