"""The other end of a TCP feed: a server that pushes CSV lines to whoever connects, until the connection is closed."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterable

import structlog

log = structlog.get_logger()
HELD_CHUNKS = 64  # per client
PATIENCE_S = 10.0  # a client whose chunks are not taken for this long is let go, for the others wait with it


class LineServer:
    """Pushes the same chunks of whole lines to every client. With ``hold`` the lines wait until there is a client, and
    each client holds up the others for at most ``PATIENCE_S``; without it what nobody listens to is gone.

    ``header`` is sent first to each. ``port`` 0 takes a free one; ``address`` tells which.
    """

    def __init__(self, host: str, port: int, *, header: bytes = b"", hold: bool = True) -> None:
        self.header, self.hold = header, hold
        self._door = socket.create_server((host, port))
        self._door.settimeout(0.2)
        self.address: tuple[str, int] = self._door.getsockname()[:2]
        self._clients: list[Client] = []
        self._came = threading.Condition()

    def serve(self, chunks: Iterable[bytes], stopping: threading.Event) -> None:
        """Push the chunks until they end or ``stopping`` is set; what the clients were given still goes out."""
        threading.Thread(target=self._accept, args=(stopping,), name="accept", daemon=True).start()
        for chunk in chunks:
            while self.hold and not self._present() and not stopping.is_set():
                with self._came:
                    self._came.wait(0.2)
            if stopping.is_set():
                break
            for client in self._present():
                client.offer(chunk)
        for client in self._present():
            client.finish()
        self._door.close()

    def _present(self) -> list[Client]:
        self._clients = [client for client in self._clients if client.alive]
        return self._clients

    def _accept(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                connection, (host, port, *_) = self._door.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # closed: the lines have ended
            connection.setblocking(True)
            log.info("client connected", client=f"{host}:{port}")
            with self._came:
                self._clients = [*self._clients, Client(connection, f"{host}:{port}", self.header)]
                self._came.notify_all()


class Client:
    """One connection, written by a thread of its own behind a bounded queue."""

    def __init__(self, connection: socket.socket, name: str, header: bytes) -> None:
        self.connection, self.name, self.alive = connection, name, True
        self._chunks: queue.Queue[bytes | None] = queue.Queue(HELD_CHUNKS)
        if header:
            self._chunks.put(header)
        self._writer = threading.Thread(target=self._write, name=f"to-{name}", daemon=True)
        self._writer.start()

    def offer(self, chunk: bytes | None) -> None:
        try:
            self._chunks.put(chunk, timeout=PATIENCE_S)
        except queue.Full:
            log.warning("client takes nothing, let go", client=self.name)
            self._close()

    def finish(self) -> None:
        """Close once everything is written."""
        self.offer(None)
        self._writer.join(PATIENCE_S)
        self._close()

    def _write(self) -> None:
        try:
            while (chunk := self._chunks.get()) is not None:
                self.connection.sendall(chunk)
        except OSError as error:
            log.info("client gone", client=self.name, why=str(error))
        self._close()

    def _close(self) -> None:
        self.alive = False
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer has closed it already
        self.connection.close()
