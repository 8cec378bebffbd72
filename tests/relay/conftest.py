"""What several files need: a relay as a process of its own and the server behind it, and waits without a clock."""

import socket
from collections.abc import Iterator

import pytest

from relay.connection import handshake
from tests.relay.kit.blackbox import RelayProcess
from tests.relay.kit.scripted import PATIENCE, Upstream, free_port


@pytest.fixture(scope="module")
def shared_relay() -> Iterator[RelayProcess]:
    """One raw relay with default settings for all tests of a file: starting one costs more than most of them."""
    with RelayProcess(free_port()) as process:
        yield process


@pytest.fixture
def relay(shared_relay: RelayProcess) -> Iterator[RelayProcess]:
    """The shared relay, alive before the test and without any connection after it: each test looks for leaks, too."""
    assert shared_relay.process.poll() is None, "an earlier test ended the relay"
    yield shared_relay
    shared_relay.close_clients()
    assert shared_relay.is_idle()


@pytest.fixture
def upstream(relay: RelayProcess) -> Iterator[Upstream]:
    """The server behind the shared relay, listening."""
    with Upstream(relay.upstream_port) as server:
        yield server


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is glued to a hello waits longer than any test: what comes all the same was let go for another reason."""
    monkeypatch.setattr(handshake, "GLUE_WAIT", 10 * PATIENCE)


@pytest.fixture
def timeouts(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The time-outs given to sockets that are made from here on: how long their sends may wait, without a clock."""
    given = []

    class Noting(socket.socket):
        def settimeout(self, seconds: float | None) -> None:
            given.append(seconds)
            super().settimeout(seconds)

    monkeypatch.setattr(socket, "socket", Noting)
    return given
