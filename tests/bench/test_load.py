"""The load generator must catch a relay that is fast because it is wrong: every fault below, in every kind of work.

Not part of the default tests (they need no compiler); run it with  python -m pytest -o addopts= tests/bench
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench import load

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

AT = 150  # the byte of a direction that is touched: in the session, behind all handshakes
HELLO_AT = 5  # the byte that is touched in work that is over before byte 150
FAULTS: dict[str, Callable[[bytes, int], bytes]] = {
    "changed": lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
    "dropped": lambda data, at: data[:at] + data[at + 1 :],
    "repeated": lambda data, at: data[: at + 1] + data[at:],
}
STREAMS = [
    ("bulk_up", 40, 65_536, "up"),
    ("bulk_down", 40, 65_536, "down"),
    ("stream_up", 2_000, 1, "up"),
    ("stream_up", 2_000, 20, "up"),
    ("stream_down", 2_000, 1, "down"),
    ("stream_down", 2_000, 20, "down"),
]
EXCHANGES = [("round_trips", 200, 10), ("fan_out", 200, 4), ("connections", 40, 4)]
DAY = ("day", 200, 1)  # milliseconds, seed
TICKS, ANSWERS = 8 * 40, 8  # of such a day
QUIET = [("idle", 10, 0), ("ticking", 10, 100)]
ALL = [(what, count, parameter) for what, count, parameter, _ in STREAMS] + EXCHANGES + QUIET
TICK_BYTES = 87
# How a frame begins, and which byte of it is touched; for what comes at its own time.
PLACES: dict[str, tuple[str, bytes, int]] = {
    "what is asked of the gateway": ("up", b"1\x0012\x00", 6),
    "a request": ("up", b"49\x001\x00", 1),
    "an answer's text": ("down", b"49\x001\x00", 1),
    "an answer's number": ("down", b"49\x001\x00", 14),
    **{f"byte {at} of a tick": ("down", b"\x00\x00\x00\x5346\x006\x00", at) for at in range(0, TICK_BYTES, 3)},
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load.build(tmp_path_factory.mktemp("load"))


def run(program: Path, port: int, what: str, count: int, parameter: int) -> dict[str, float]:
    with load.Client(program, "-", port, what, count, parameter) as client:
        return client.work()


@contextlib.contextmanager
def serving(program: Path) -> Iterator[load.Server]:
    server = load.Server(program, "-")
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("work", ALL, ids=lambda work: f"{work[0]}-{work[2]}")
def test_clean_bytes_are_measured_and_nobody_complains(program: Path, work: tuple) -> None:
    server = load.Server(program, "-")
    got = run(program, server.port, *work)
    assert (server.close(), got["count"]) == ("", work[1])


def test_a_day_has_all_its_ticks_and_answers_and_their_times(program: Path) -> None:
    server = load.Server(program, "-")
    got = run(program, server.port, *DAY)
    assert (server.close(), got["count"]) == ("", TICKS + ANSWERS)
    for prefix in ("", "tick_"):
        assert 0 < got[f"{prefix}p50"] <= got[f"{prefix}p99"] <= got[f"{prefix}p999"] < load.END_TIMEOUT


# Without a byte of its last request the gateway waits, and the client waits for 20 s: right, and too long to see twice.
OF_A_DAY = [(place, fault) for place in PLACES for fault in FAULTS if (PLACES[place][0], fault) != ("up", "dropped")]


@pytest.mark.parametrize("place, fault", OF_A_DAY)
def test_a_byte_of_a_day_that_is_wrong_fails_it(program: Path, place: str, fault: str) -> None:
    direction, beginning, at = PLACES[place]
    with (
        serving(program) as server,
        faulty_relay(server.port, FAULTS[fault], {direction: (beginning, at)}) as port,
        pytest.raises(load.LoadError),
    ):
        run(program, port, *DAY)


@pytest.mark.parametrize(
    "work", [("day", 400, 1), ("fan_out", 20_000, 4), ("round_trips", 10_000, 10)], ids=lambda w: w[0]
)
def test_a_client_that_was_stopped_for_a_moment_goes_on(program: Path, work: tuple) -> None:
    over = threading.Event()
    with serving(program) as server, load.Client(program, "-", server.port, *work) as client:

        def disturb() -> None:
            while not over.wait(0.005):
                client.signal(signal.SIGSTOP)
                client.signal(signal.SIGCONT)

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            assert client.work()["count"] > 0
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("work", STREAMS, ids=lambda work: f"{work[0]}-{work[2]}")
def test_a_byte_of_a_stream_that_is_wrong_fails_the_work(program: Path, work: tuple, fault: str) -> None:
    *what, direction = work
    with (
        serving(program) as server,
        faulty_relay(server.port, FAULTS[fault], {direction: AT}) as port,
        pytest.raises(load.LoadError),
    ):
        run(program, port, *what)


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("work", EXCHANGES, ids=lambda work: work[0])
def test_a_byte_of_an_exchange_that_is_wrong_fails_the_work(program: Path, work: tuple, direction: str) -> None:
    at = HELLO_AT if work[0] == "connections" else AT
    with (
        serving(program) as server,
        faulty_relay(server.port, FAULTS["changed"], {direction: at}) as port,
        pytest.raises(load.LoadError),
    ):
        run(program, port, *work)


@pytest.mark.parametrize("work", [("round_trips", 10, 0), DAY], ids=lambda work: work[0])
def test_a_byte_after_the_last_answer_fails_the_work(program: Path, work: tuple) -> None:
    with (
        serving(program) as server,
        faulty_relay(server.port, FAULTS["changed"], {}, last_words=b"\0") as port,
        pytest.raises(load.LoadError),
    ):
        run(program, port, *work)


Place = int | tuple[bytes, int]  # a byte of a direction; or of what begins like this


def found(data: bytes, moved: int, place: Place) -> int | None:
    """Where in `data`, before which `moved` bytes went, this place is."""
    if isinstance(place, int):
        return place - moved if moved <= place < moved + len(data) else None
    beginning, at = place
    start = data.find(beginning)
    return start + at if start >= 0 and start + at < len(data) else None


Fault = Callable[[bytes, int], bytes]


def move(
    source: socket.socket, sink: socket.socket, fault: Fault, at: Place | None = None, last_words: bytes = b""
) -> None:
    moved = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            touched = None if at is None else found(data, moved, at)
            moved += len(data)
            if touched is not None:
                data, at = fault(data, touched), None
            sink.sendall(data)
        sink.sendall(last_words)
    for end in (source, sink):  # a reset is no half-close: what is over is over, in both directions
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RD if end is source else socket.SHUT_WR)


@contextlib.contextmanager
def faulty_relay(upstream: int, fault: Fault, at: dict[str, Place], last_words: bytes = b"") -> Iterator[int]:
    """A thread-per-direction relay that applies `fault` once per connection and direction, at `at[direction]`."""
    sockets: list[socket.socket] = [socket.create_server(("127.0.0.1", 0))]
    threads: list[threading.Thread] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = sockets[0].accept()
                gateway = socket.create_connection(("127.0.0.1", upstream))
                sockets.extend((client, gateway))
                start(move, client, gateway, fault, at.get("up"))
                start(move, gateway, client, fault, at.get("down"), last_words)

    def start(target: Callable, *arguments: object) -> None:
        threads.append(threading.Thread(target=target, args=arguments))
        threads[-1].start()

    start(accept)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for end in sockets:
            end.close()
