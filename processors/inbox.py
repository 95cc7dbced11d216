"""The way of the columns from Spark's executors to the driver: a socket, with nobody in between.

Through Redis each snapshot's columns were copied four times and, with its append-only file, went to disk. On one
machine the socket is a file in the runner's scratch directory, on a cluster a port; who sends must know the key.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import queue
import secrets
import socket
import threading
from pathlib import Path

_LENGTH_BYTES, _KEY_BYTES = 8, 32
_HELLO_LIMIT_S = 5.0


class Inbox:
    """The driver's side: messages of any sender, each whole, in the order in which their last byte came."""

    def __init__(self, directory: Path | None, host: str = ""):
        """Listen in a directory, or on a port of a host where other machines send."""
        self.key = secrets.token_hex(_KEY_BYTES // 2)
        self._messages: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        if directory is None:
            self._socket = socket.create_server(("", 0))
            self.address = f"{host}:{self._socket.getsockname()[1]}"
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self.address = str(directory / f"inbox-{self.key[:8]}")
            self._socket.bind(self.address)
            self._socket.listen()
        threading.Thread(target=self._accept, name="inbox", daemon=True).start()

    def take(self, timeout_s: float) -> bytearray | None:
        """Return the next message, None if none came in time."""
        try:
            return self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who accepts, on Linux
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._listen, args=(connection,), name="inbox", daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        """Take one sender's messages until it goes; one without the key is not listened to."""
        with connection:
            try:
                connection.settimeout(_HELLO_LIMIT_S)
                if not hmac.compare_digest(_receive(connection, _KEY_BYTES), self.key.encode()):
                    return
                connection.settimeout(None)
                while True:
                    length = int.from_bytes(_receive(connection, _LENGTH_BYTES), "big")
                    self._messages.put(_receive(connection, length))
            except (EOFError, OSError):
                return  # a worker of Spark that ended; what it had not sent whole, another one sends again


class Outbox:
    """A sender's side. Raises OSError when the driver is gone."""

    def __init__(self, address: str, key: str):
        host, _, port = address.rpartition(":")
        if os.path.isabs(address):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address)
        else:
            self._socket = socket.create_connection((host, int(port)))
        self._socket.sendall(key.encode())

    def send(self, message: memoryview | bytes) -> None:
        self._socket.sendall(len(message).to_bytes(_LENGTH_BYTES, "big"))
        self._socket.sendall(message)


def _receive(connection: socket.socket, length: int) -> bytearray:
    """Return exactly so many bytes; raise EOFError when the sender goes before."""
    message = bytearray(length)
    view = memoryview(message)
    while view:
        count = connection.recv_into(view, flags=socket.MSG_WAITALL)
        if not count:
            raise EOFError
        view = view[count:]
    return message
