"""How a feed comes by TCP connections: it dials, again and again, or it listens."""

from __future__ import annotations

import random
import select
import socket
import threading
import time

import structlog

log = structlog.get_logger()
CONNECT_S = 3.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 15.0
MOST_PEERS = 16


class Dialer:
    """One connection to a server. Where it breaks it is made again, after a pause that grows with each attempt that
    brought nothing. Dialling, names looked up included, goes on in a thread: it may take seconds."""

    def __init__(self, address: tuple[str, int], stopping: threading.Event) -> None:
        self.address, self.stopping = address, stopping
        self.state, self.error, self.opened = "connecting", "", 0
        self.connections: list[socket.socket] = []
        self._dialled: list[socket.socket | OSError] | None = None  # what the thread came back with; None: no thread
        self._failures = 0
        self._next_try = 0.0

    def ready(self, timeout_s: float) -> list[socket.socket]:
        if not self.connections:
            self._dial(timeout_s)
        if not self.connections:
            return []
        readable, _, _ = select.select(self.connections, [], [], timeout_s)
        return readable

    def _dial(self, timeout_s: float) -> None:
        if self._dialled is None and time.monotonic() >= self._next_try:
            self._dialled = []
            threading.Thread(target=self._connect, args=(self._dialled,), name="dial", daemon=True).start()
        if not self._dialled:
            self.stopping.wait(timeout_s)
            return
        (found,), self._dialled = self._dialled, None
        if isinstance(found, OSError):
            self._failed(str(found))
            return
        self.connections = [found]
        self.state, self.error, self.opened = "connected", "", self.opened + 1

    def _connect(self, answer: list[socket.socket | OSError]) -> None:
        try:
            connection = socket.create_connection(self.address, CONNECT_S)
        except OSError as error:
            answer.append(error)
            return
        answer.append(ready_to_read(connection))

    def _failed(self, why: str) -> None:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failures) * random.uniform(0.5, 1.0)
        self._failures = min(self._failures + 1, 10)
        self._next_try = time.monotonic() + pause_s
        self.state, self.error = "connecting", why

    def closed(self, connection: socket.socket, why: str, *, fruitful: bool) -> None:
        self.connections = []
        self._failures = 0 if fruitful else self._failures
        self._failed(why)

    def close(self) -> None:
        for each in (*self.connections, *(self._dialled or ())):
            if isinstance(each, socket.socket):
                each.close()


class Listener:
    """Up to ``MOST_PEERS`` connections from whoever comes. Raises ``OSError`` if the address cannot be had."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.state, self.error, self.opened = "listening", "", 0
        self.connections: list[socket.socket] = []
        try:
            self._door = socket.create_server(address, backlog=MOST_PEERS)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address[0]}:{address[1]}: {error.strerror}") from error
        self._door.setblocking(False)

    def ready(self, timeout_s: float) -> list[socket.socket]:
        readable, _, _ = select.select([self._door, *self.connections], [], [], timeout_s)
        if self._door in readable:
            readable.remove(self._door)
            self._accept()
        return readable

    def _accept(self) -> None:
        try:
            connection, address = self._door.accept()
        except OSError:
            return  # it is gone already
        if len(self.connections) >= MOST_PEERS:
            log.warning("peer refused", address=address[0], peers=len(self.connections))
            connection.close()
            return
        self.connections.append(ready_to_read(connection))
        self.opened += 1
        self._count("")

    def closed(self, connection: socket.socket, why: str, *, fruitful: bool) -> None:
        self.connections.remove(connection)
        self._count(why)

    def _count(self, error: str) -> None:
        self.state, self.error = (f"{len(self.connections)} connected" if self.connections else "listening"), error

    def close(self) -> None:
        for each in (self._door, *self.connections):
            each.close()


def ready_to_read(connection: socket.socket) -> socket.socket:
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection
