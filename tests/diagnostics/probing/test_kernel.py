"""The kernel's view of a connection, against real ones: bytes that arrived, bytes nobody reads, bytes that get lost."""

import socket

import pytest

from diagnostics.evidence import KernelView
from diagnostics.probing import kernel
from tests.diagnostics.peers import FILTER_ONLY, LINUX_ONLY, lose_data
from tests.relay.kit.loopback import fill, reset, tcp_pair
from tests.relay.kit.scripted import wait_until

pytestmark = LINUX_ONLY


def until(sock, wanted):
    """The first view that is as wanted."""
    return wait_until(lambda: view if wanted(view := kernel.view(sock)) else None, "the kernel sees it so")


@pytest.fixture
def pair():
    leg, far = tcp_pair(leg_send=4096, far_receive=4096)
    with leg, far:
        yield leg, far


def test_a_new_connection_owes_nothing(pair):
    assert kernel.view(pair[0]) == KernelView(0, 0, 0)


def test_bytes_that_arrived_are_acknowledged_though_nobody_reads_them(pair):
    pair[0].send(b"x" * 17)
    assert until(pair[0], lambda view: view.unacknowledged == 0) == KernelView(0, 0, 0)


def test_a_full_reader_shows_as_bytes_that_are_not_sent(pair):
    fill(pair[0])
    assert kernel.view(pair[0]).unsent > 0


@FILTER_ONLY
@pytest.mark.slow  # the first retransmission comes after 0.2 s
def test_bytes_that_get_lost_are_not_acknowledged_and_sent_again(pair):
    lose_data(pair[1])
    pair[0].send(b"x" * 17)
    view = until(pair[0], lambda view: view.retransmits)
    assert (view.unacknowledged, view.unsent) == (1, 17)


def test_a_connection_that_was_reset_tells_nothing(pair):
    pair[0].send(b"x")
    reset(pair[1])
    assert until(pair[0], lambda view: view.unsent is None) == KernelView()


@pytest.mark.parametrize("kind", ["closed", "not connected", "not TCP"])
def test_any_other_socket_is_unknown(kind):
    with socket.socket(type=socket.SOCK_DGRAM if kind == "not TCP" else socket.SOCK_STREAM) as sock:
        if kind == "closed":
            sock.close()
        assert kernel.view(sock) == KernelView()


def test_a_system_without_tcp_info_is_unknown(pair, monkeypatch):
    monkeypatch.setattr(kernel, "_LINUX", False)
    assert kernel.view(pair[0]) == KernelView()
