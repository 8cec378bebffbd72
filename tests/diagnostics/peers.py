"""Peers for the tests of probing: the practice gateway beside a blocking test, and sockets that lose what is sent."""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
import threading

import pytest

from relay.net.poller import new_event_loop
from relay.practice import Practice, PracticeGateway
from tests.relay.kit.scripted import PATIENCE, free_port

LOOPBACK = "127.0.0.1"

LINUX_ONLY = pytest.mark.skipif(
    sys.platform != "linux", reason="needs TCP_INFO, /proc/net or the way Linux treats a full queue"
)
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h


@contextlib.contextmanager
def practice(behaviour="normal", log=None, host=LOOPBACK, port=0, **settings):
    """A practice gateway on a thread of its own; `log` is called there. Host "" is every IPv4 address."""
    loop = new_event_loop()
    gateway = PracticeGateway(Practice.named(behaviour, **settings), log)
    loop.run_until_complete(gateway.start(host, port or free_port(host)))
    thread = threading.Thread(target=loop.run_forever, name="practice gateway")
    thread.start()
    try:
        yield gateway
    finally:
        asyncio.run_coroutine_threadsafe(gateway.close(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


@contextlib.contextmanager
def accepting(serve, host=LOOPBACK, port=0):
    """A port on which every connection is given to `serve(sock, address)`, one after the other, on a thread.

    Yields the port number.
    """

    def accept():
        with contextlib.suppress(OSError):
            while True:
                serve(*listener.accept())

    with socket.create_server((host, port or free_port(host))) as listener:
        thread = threading.Thread(target=accept, name="scripted peer")
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


# Classic BPF (linux/filter.h); what a filter keeps 0 bytes of is lost. It sees a segment from the TCP header on:
# 40 bytes of that are a SYN, 32 an ACK, anything longer carries data. In words: ld len; jgt 40; ret 0; ret -1.
_LOSE_DATA = ((0x80, 0, 0, 0), (0x25, 0, 1, 40), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def lose_data(sock):
    """From now on every byte sent to this socket, or to one that a listener accepts, is lost.

    Recent kernels want root.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in _LOSE_DATA))
    place = struct.pack("@HP", len(_LOSE_DATA), ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, place)


def _may_lose_data():
    if sys.platform != "linux":
        return False
    with socket.socket() as sock, contextlib.suppress(OSError):
        lose_data(sock)
        return True
    return False


FILTER_ONLY = pytest.mark.skipif(not _may_lose_data(), reason="may not attach a socket filter")


@contextlib.contextmanager
def data_hole(host=LOOPBACK, port=0):
    """A port that takes connections, and no byte ever arrives there: a hole behind the handshake. The port number."""
    with socket.create_server((host, port or free_port(host))) as listener:
        lose_data(listener)
        yield listener.getsockname()[1]


@contextlib.contextmanager
def black_hole(host=LOOPBACK, port=0):
    """A port whose SYNs get no answer, as behind a firewall that drops: on Linux, one whose queue is full.

    Yields the port number.
    """
    with (
        socket.create_server((host, port or free_port(host)), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield listener.getsockname()[1]


@contextlib.contextmanager
def silent(host=LOOPBACK, port=0, backlog=8):
    """A listener that never accepts: its kernel takes connections and bytes until the queue is full.

    Yields the port number.
    """
    with socket.create_server((host, port or free_port(host)), backlog=backlog) as listener:
        yield listener.getsockname()[1]
