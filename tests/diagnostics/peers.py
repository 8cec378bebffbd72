"""Peers for the tests of probing: the practice gateway beside a blocking test, and sockets that lose what is sent to them."""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
import threading

import pytest

from relay.poller import new_event_loop
from relay.practice import Practice, PracticeGateway

LOOPBACK = "127.0.0.1"
PATIENCE = 10.0  # seconds for what takes milliseconds

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs a socket filter, TCP_INFO or /proc/net")
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h


@contextlib.contextmanager
def practice(behaviour="normal", log=None, **settings):
    """A practice gateway on a thread of its own; `log` is called there."""
    loop = new_event_loop()
    gateway = PracticeGateway(Practice.named(behaviour, **settings), log)
    loop.run_until_complete(gateway.start())
    thread = threading.Thread(target=loop.run_forever, name="practice gateway")
    thread.start()
    try:
        yield gateway
    finally:
        asyncio.run_coroutine_threadsafe(gateway.close(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


def lose_everything(sock):
    """From now on every segment that comes for this socket is lost; on a listener that means SYNs.

    A classic BPF program of one instruction, `ret 0`: keep no byte. The kernel lets everybody do that to his own sockets.
    """
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


@contextlib.contextmanager
def black_hole(host=LOOPBACK, port=0):
    """A port whose SYNs get lost, as behind a firewall that drops; the port number."""
    with socket.create_server((host, port)) as listener:
        lose_everything(listener)
        yield listener.getsockname()[1]


@contextlib.contextmanager
def silent(host=LOOPBACK, port=0, backlog=8):
    """A listener that never accepts: its kernel takes connections and bytes until the queue is full. The port number."""
    with socket.create_server((host, port), backlog=backlog) as listener:
        yield listener.getsockname()[1]
