"""The TCP feed and the server that pushes, over real sockets: cut, stalled, broken and made again."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from feed_support import ALWAYS, HEADER, QUOTED, Running, Valkey, content, held, published, tick, until
from test_feed_replay import head, named, play

from processors.feeds import uniform
from processors.feeds.doors import MOST_PEERS
from processors.feeds.files import read_ticks
from processors.feeds.produce import LineServer
from processors.feeds.sample import DEMO_SPEC
from processors.feeds.tcp import Tcp, TcpParams

GOOD = (tick("09:31:01") + "\n").encode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return door.getsockname()[1]


@contextlib.contextmanager
def serving(chunks: Iterable[bytes], header: bytes = b"") -> Iterator[LineServer]:
    server, stopping = LineServer("127.0.0.1", 0, header=header), threading.Event()
    thread = threading.Thread(target=server.serve, args=(chunks, stopping), daemon=True)
    thread.start()
    yield server
    stopping.set()
    thread.join(10)


def feed(port: int, url: str, **more: object) -> Running:
    return Running(Tcp(), TcpParams(port=port, **more), ALWAYS, url)  # type: ignore[arg-type]


def received(run: Running, count: int) -> None:
    until(lambda: run.facts.get("received", 0) >= count)


def source(run: Running) -> dict[str, object]:
    return run.facts["sources"][0]


@pytest.mark.parametrize("quotes", [False, True])
def test_what_is_pushed_is_published_as_a_replay_would(valkey: Valkey, sample: Path, quotes: bool) -> None:
    lines = uniform.Lines("Asia/Shanghai", quotes=quotes)
    pushed = head(sample, valkey.folder, 3_000)
    chunks = [lines(part) for part in uniform.small(read_ticks(pushed, DEMO_SPEC))]
    if not quotes:
        pushed = valkey.folder / "pushed.csv"
        pushed.write_bytes(HEADER.encode() + b"\n" + b"".join(chunks))
    play(valkey.url, pushed, named("replayed")).wait()
    whole = content(published(valkey.url, named("replayed")))
    with serving(chunks, lines.header if quotes else b"") as server:
        run = Running(Tcp(), TcpParams(port=server.address[1]), named("pushed"), valkey.url)
        until(lambda: held(valkey.url, named("pushed")) == len(whole), 40)
        run.stop()
    assert len(whole) > 100 and content(published(valkey.url, named("pushed"))) == whole
    assert (run.facts["rejected"], run.facts["received"]) == ({}, 3_000)


def test_a_connection_that_breaks_in_a_line_is_made_again(valkey: Valkey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        run = feed(door.getsockname()[1], valkey.url)
        first, _ = door.accept()
        first.sendall(GOOD + b"2021-12-01 09:3")
        received(run, 1)
        first.close()
        second, _ = door.accept()
        second.sendall(GOOD.replace(b":01,", b":02,"))
        received(run, 3)
        assert run.facts["rejected"] == {"half_line": 1}
        until(lambda: (source(run)["state"], source(run)["opened"]) == ("connected", 2))
        assert run.stop() < 0.5
        second.close()


def test_nobody_there_is_told_and_tried_again_until_somebody_is(valkey: Valkey) -> None:
    port = free_port()
    run = feed(port, valkey.url)
    until(lambda: "refused" in run.facts.get("sources", [{"error": ""}])[0]["error"])
    assert source(run)["active"] is False
    with socket.create_server(("127.0.0.1", port)) as door:
        peer, _ = door.accept()
        peer.sendall(GOOD)
        received(run, 1)
        peer.close()
    assert run.stop() < 0.5


@pytest.mark.parametrize("dribble", [b"", b"x"])
def test_a_peer_that_brings_no_line_is_hung_up_on_and_called_again(valkey: Valkey, dribble: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        run = feed(door.getsockname()[1], valkey.url, stall_s=0.4)
        stalled, _ = door.accept()
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begin < 5 and not run.facts.get("stalls"):
                stalled.sendall(dribble)
                time.sleep(0.02)
        again, _ = door.accept()
        again.sendall(GOOD)
        received(run, 1)
        assert run.facts["stalls"] == 1
        run.stop()


def test_a_line_that_never_ends_is_counted_once_and_not_kept(valkey: Valkey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        run = feed(door.getsockname()[1], valkey.url)
        peer, _ = door.accept()
        for _ in range(64):
            peer.sendall(b"7" * 2**20)
        peer.sendall(b"\n" + GOOD)
        received(run, 2)
        assert run.facts["rejected"] == {"endless_line": 1}
        assert len(run.facts["samples"]["endless_line"][0]) == 300
        run.stop()


def test_a_listening_feed_takes_from_several_peers_and_not_from_too_many(valkey: Valkey) -> None:
    port = free_port()
    run = feed(port, valkey.url, listen=True)
    until(lambda: run.facts.get("sources"))
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_PEERS)]
    for number, peer in enumerate(peers):
        peer.sendall(GOOD.replace(b"600000", b"6000%02d" % number) + (b"\xff\xfe\x00rubbish\n" if number == 3 else b""))
    received(run, MOST_PEERS + 1)
    assert run.facts["rejected"] == {"broken_line": 1}
    assert source(run)["state"] == f"{MOST_PEERS} connected"
    refused = socket.create_connection(("127.0.0.1", port))
    refused.settimeout(5)
    assert refused.recv(1) == b""
    run.stop()
    ((shot, _),) = published(valkey.url, ALWAYS) or [(None, None)]
    assert shot is None or shot.received == MOST_PEERS


def test_the_last_interval_closes_when_nothing_comes_any_more(valkey: Valkey) -> None:
    spec = named("short", interval_ms=500, calendar="24/7", zone="UTC")
    with socket.create_server(("127.0.0.1", 0)) as door:
        run = Running(Tcp(), TcpParams(port=door.getsockname()[1]), spec, valkey.url)
        peer, _ = door.accept()
        peer.sendall(GOOD)
        ((shot, _),) = until(lambda: published(valkey.url, spec))
        assert shot.received == 1
        run.stop()


def test_a_header_line_names_the_columns(valkey: Valkey) -> None:
    line = "2021-12-01 09:31:01,600000,10.0,,100,1000,1,9.9,10.1,100,200"
    with socket.create_server(("127.0.0.1", 0)) as door:
        run = feed(door.getsockname()[1], valkey.url)
        peer, _ = door.accept()
        peer.sendall(f"{QUOTED}\n{line}\n{tick('09:31:02')}\n".encode())
        received(run, 2)
        assert run.facts["rejected"] == {"broken_line": 1}
        run.stop()


def test_a_port_that_is_taken_is_an_error_with_its_name(valkey: Valkey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        run = feed(door.getsockname()[1], valkey.url, listen=True).wait()
        assert f"cannot listen on 127.0.0.1:{door.getsockname()[1]}" in str(run.error)


# ---- the server


def test_a_file_waits_for_somebody_to_listen_and_every_client_gets_whole_lines() -> None:
    lines = [b"%06d," % number + b"x" * 56 + b"\n" for number in range(400)]
    with serving([line * 1024 for line in lines], header=b"n,x\n") as server:  # more than all buffers hold
        time.sleep(0.2)
        one = socket.create_connection(server.address).makefile("rb")
        assert [one.readline() for _ in range(3)] == [b"n,x\n", lines[0], lines[0]]
        other = socket.create_connection(server.address).makefile("rb")
        assert other.readline() == b"n,x\n"
        with ThreadPoolExecutor() as pool:
            rest, part = pool.map(lambda stream: stream.read(), (one, other))
    assert rest == b"".join(line * 1024 for line in lines)[2 * 64 :]
    assert part and part == rest[-len(part) :] and len(part) % (64 * 1024) == 0


def test_a_client_that_leaves_takes_nobody_with_it() -> None:
    chunk = b"x" * 2**16 + b"\n"
    with serving(iter([chunk] * 400)) as server:
        leaves = socket.create_connection(server.address)
        stays = socket.create_connection(server.address).makefile("rb")
        leaves.recv(10)
        leaves.close()
        first = stays.readline()
        assert first == chunk
        assert len(stays.read()) % len(chunk) == 0


def test_a_paced_file_comes_at_its_pace(sample: Path) -> None:
    stopping, begin, count = threading.Event(), time.monotonic(), 0
    for rows in uniform.of_file(sample, "Asia/Shanghai", pace=20, loop=False, stopping=stopping):
        count += rows.num_rows
        if time.monotonic() - begin > 2:
            break
    per_second = 31602 / 3600 * 20
    assert 0.5 * 2 * per_second < count < 2 * 2 * per_second + 60


def test_lines_of_the_bus_are_local_and_empty_where_nothing_is_known() -> None:
    import pyarrow as pa

    rows = pa.table({"time": [1638322263250], "code": ["000001"], "price": [10.5], "volume": [float("nan")]})
    assert uniform.Lines("Asia/Shanghai")(rows) == b"2021-12-01 09:31:03.250,000001,10.5,,,,\n"
    assert DEMO_SPEC.zone == "Asia/Shanghai"
