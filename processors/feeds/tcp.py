"""A feed of CSV lines over TCP: it connects to a server that pushes them, or listens for whoever pushes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Protocol

import structlog
from pydantic import Field

from processors.contract import Context, FeedProcessor, FeedSpec
from processors.contract import Params as BaseParams
from processors.feeds.doors import Dialer, Listener
from processors.feeds.engine import Engine, Handed, run_feed
from processors.feeds.fields import UNIFORM
from processors.feeds.lines import LineBuffer, LineParser, columns_of_header
from processors.feeds.tally import Tally

log = structlog.get_logger()
READ_BYTES = 2**20
IDLE_S = 0.1


class TcpParams(BaseParams):
    """Where the lines come from, and what is in them."""

    host: str = Field("127.0.0.1", title="Host", min_length=1, description="Of the server, or the address to listen on")
    port: int = Field(title="Port", ge=1, le=65_535)
    listen: bool = Field(False, title="Listen", description="Wait for peers that connect instead of connecting.")
    columns: str = Field(UNIFORM, title="Columns", description="Of a peer that does not begin with a header line.")
    stall_s: float = Field(30.0, ge=0, title="Stall", description="Seconds without a line until hanging up; 0: never")


class Door(Protocol):
    """Opens connections. ``state`` tells how that goes, for people."""

    state: str
    error: str
    opened: int
    connections: list[socket.socket]

    def ready(self, timeout_s: float) -> list[socket.socket]:
        """Return the connections that can be read, waiting up to ``timeout_s``."""

    def closed(self, connection: socket.socket, why: str, *, fruitful: bool) -> None:
        """Take note that a connection is over; ``fruitful`` if lines came over it."""

    def close(self) -> None: ...


class Tcp(FeedProcessor):
    """Takes CSV lines from a TCP peer. A live source: an interval closes by the rows' own time, after a short grace.

    The peer may begin with a header line; without one the lines have ``columns``. A connection that breaks, or brings
    no whole line for ``stall_s``, is closed and made again with a growing pause. The half line at its end, lines
    without an end and lines of another shape are counted. What the peer sends while nobody is connected is lost, for
    TCP remembers nothing.
    """

    title = "TCP socket"
    description = "CSV lines over TCP: connects to a server that pushes them, or listens for peers that push."
    Params = TcpParams

    def run(self, params: TcpParams, spec: FeedSpec, context: Context) -> None:
        """Publish until stopped. Raises ``OSError`` if it cannot listen, ``SourceError`` if columns lack a field."""
        address = (params.host, params.port)
        name = f"tcp://{params.host}:{params.port}"
        engine = Engine(spec, context, name=name)
        LineParser(params.columns.split(","), Tally(), f"columns of {name}")
        door: Door = Listener(address) if params.listen else Dialer(address, context.stopping)
        reader = Reader(params, door, engine)
        try:
            run_feed(engine, lambda _: reader.handed())
        finally:
            door.close()


class Peer:
    """What is known of one connection."""

    def __init__(self) -> None:
        self.buffer = LineBuffer()
        self.parse: LineParser | None = None  # settled by the first line
        self.heard_at = time.monotonic()


class Reader:
    """Reads whoever is connected, in turn."""

    def __init__(self, params: TcpParams, door: Door, engine: Engine) -> None:
        self.params, self.door, self.engine, self.tally = params, door, engine, engine.tally
        self._peers: dict[socket.socket, Peer] = {}

    def handed(self) -> Iterator[Handed]:
        while not self.engine.context.stopping.is_set():
            given = False
            readable = self.door.ready(IDLE_S)
            for connection in self.door.connections:
                self._peers.setdefault(connection, Peer())
            for connection in readable:
                rows = self._read(connection)
                if rows is not None:
                    given = True
                    yield rows
            self._hang_up_on_stalled()
            self._tell()
            if not given:
                yield Handed()

    def _read(self, connection: socket.socket) -> Handed | None:
        peer = self._peers[connection]
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            self._end(connection, str(error))
            return None
        if not data:
            self._end(connection, "closed by the peer")
            return None
        lines, given_up = peer.buffer.add(data)
        for beginning in given_up:
            self._reject("endless_line", beginning)
        return self._parse(peer, lines) if lines else None

    def _parse(self, peer: Peer, lines: bytes) -> Handed | None:
        peer.heard_at = time.monotonic()
        if peer.parse is None:
            first, _, others = lines.partition(b"\n")
            named = columns_of_header(first)
            peer.parse = LineParser(named or self.params.columns.split(","), self.tally, self.engine.name)
            lines = others if named else lines
        rows = peer.parse(lines)
        return Handed(rows) if rows is not None else None

    def _end(self, connection: socket.socket, why: str) -> None:
        peer = self._peers.pop(connection)
        if peer.buffer.rest:
            self._reject("half_line", peer.buffer.rest)
        connection.close()
        self.door.closed(connection, why, fruitful=peer.parse is not None)
        log.info("connection ended", feed=self.engine.spec.name, source=self.engine.name, why=why)

    def _reject(self, reason: str, text: bytes) -> None:
        self.tally.refuse(reason, text[:300].decode("latin-1"))

    def _hang_up_on_stalled(self) -> None:
        if not self.params.stall_s:
            return
        before = time.monotonic() - self.params.stall_s
        for connection in [each for each, peer in self._peers.items() if peer.heard_at < before]:
            self.engine.facts["stalls"] = self.engine.facts.get("stalls", 0) + 1
            self._end(connection, f"no line for {self.params.stall_s:g} s")

    def _tell(self) -> None:
        self.engine.facts["sources"] = [
            {
                "name": self.engine.name,
                "state": self.door.state,
                "active": bool(self.door.connections),
                "opened": self.door.opened,
                "error": self.door.error,
            }
        ]
