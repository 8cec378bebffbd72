"""relay/net/dial.py: every address of a name, one at a time, `done` called once or never."""

import asyncio
import errno
import os
import resource
import socket

import pytest

from relay.net import tcp
from relay.net.dial import Dial, DialFailed, Reached, literal_address
from relay.net.own_dials import OwnDials
from relay.net.poller import READ, poller_of
from relay.net.resolver import Resolver
from tests.relay.kit.loopback import HOST, RESET, hanging_port, until, unused_port

KEEP_ALIVE = tcp.KeepAlive(idle=7, interval=3, count=2, user_timeout=11)
V4 = socket.AF_INET


class Server:
    """A listening socket, on 127.0.0.1 unless told otherwise."""

    def __init__(self, host=HOST):
        self.sock = socket.create_server((host, unused_port(host)), family=socket.AF_INET6 if ":" in host else V4)
        self.host, self.port = host, self.sock.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()


def dial(host, port, known=None):
    """A dial under way and the list its results go to."""
    loop, results = asyncio.get_running_loop(), []
    one = Dial(poller_of(loop), Resolver(loop), OwnDials(), host, port, KEEP_ALIVE, results.append)
    one.start(literal_address(host, port) if known is None else known)
    return one, results


async def result_of(results):
    await until(lambda: results, "the dial is over")
    await asyncio.sleep(0)
    assert len(results) == 1
    return results[0]


LITERALS = [
    ("127.0.0.1", [(V4, ("127.0.0.1", 4002))]),
    ("::1", [(socket.AF_INET6, ("::1", 4002, 0, 0))]),
    ("fe80::1%eth0", []),
    ("localhost", []),
    ("gw.example", []),
    ("127.1", []),
    ("", []),
]


@pytest.mark.parametrize("host, addresses", LITERALS, ids=[host or "empty" for host, _ in LITERALS])
def test_an_ip_literal_needs_no_look_up(host, addresses):
    assert literal_address(host, 4002) == addresses


async def test_a_dial_gives_a_connected_socket_with_its_options_set():
    with Server() as server:
        _, results = dial(HOST, server.port)
        reached = await result_of(results)
        with reached.sock as sock:
            assert reached == Reached(sock, (HOST, server.port), False)
            assert sock.getpeername() == (HOST, server.port)
            assert sock.getblocking() is False
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            assert sock.get_inheritable() is False
            poller_of(asyncio.get_running_loop()).watch(sock.fileno(), READ, print)  # nobody else watches it any more
            poller_of(asyncio.get_running_loop()).unwatch(sock.fileno())


async def test_nothing_listens():
    port = unused_port()
    _, results = dial(HOST, port)
    assert await result_of(results) == DialFailed("connection_refused", "ECONNREFUSED", f"{HOST}:{port} refuses")


async def test_there_is_no_route():
    _, results = dial("224.0.0.1", 4002)  # a group: TCP cannot go there
    failed = await result_of(results)
    assert failed.reason in ("unreachable", "connect_timeout")
    assert failed.error_type in ("ENETUNREACH", "EHOSTUNREACH", "EINVAL", "EACCES", "EPERM", "ETIMEDOUT")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64])
async def test_a_name_that_cannot_be_looked_up_is_a_dns_error(host):
    _, results = dial(host, 4002)
    failed = await result_of(results)
    assert (failed.reason, failed.detail.startswith(f"{host}: ")) == ("dns_error", True)
    assert failed.error_type.startswith(("EAI_", "Unicode", "gaierror"))


async def test_a_name_is_looked_up_and_dialled():
    with Server() as server:
        _, results = dial("localhost", server.port)
        reached = await result_of(results)
        reached.sock.close()
        assert reached.address[0] == HOST


async def test_the_next_address_is_tried_when_one_refuses():
    with Server() as server:
        known = [(V4, (HOST, unused_port())), (V4, ("127.0.0.2", server.port)), (V4, (HOST, server.port))]
        _, results = dial("gw", server.port, known)
        reached = await result_of(results)
        reached.sock.close()
        assert reached.address == (HOST, server.port)


async def test_the_last_error_is_the_one_that_is_told():
    port = unused_port()
    _, results = dial("gw", port, [(V4, ("224.0.0.1", port)), (V4, (HOST, port))])
    failed = await until(lambda: results, "the dial is over", within=5)
    assert failed[0].error_type == "ECONNREFUSED"


async def test_an_address_that_does_not_answer_can_be_given_up_for_the_next():
    with Server() as server, hanging_port() as hanging:
        one, results = dial("gw", server.port, [(V4, (HOST, hanging)), (V4, (HOST, server.port))])
        await asyncio.sleep(0)
        assert (results, one.address) == ([], (HOST, hanging))
        assert one.next_address() is True
        reached = await result_of(results)
        reached.sock.close()
        assert reached.address == (HOST, server.port)


async def test_the_last_address_cannot_be_given_up():
    with hanging_port() as hanging:
        one, results = dial(HOST, hanging)
        assert one.next_address() is False
        assert one.too_long(5) == DialFailed("connect_timeout", "ETIMEDOUT", f"no answer in 5 s ({HOST}:{hanging})")
        one.cancel()
        assert results == []


async def test_a_hanging_address_followed_by_one_that_refuses():
    port = unused_port()
    with hanging_port() as hanging:
        one, results = dial("gw", port, [(V4, (HOST, hanging)), (V4, (HOST, port))])
        assert one.next_address() is True
        assert (await result_of(results)).reason == "connection_refused"
        assert one.sock is None


async def test_a_cancelled_dial_is_silent_and_leaves_no_socket():
    with hanging_port() as hanging:
        one, results = dial(HOST, hanging)
        fd = one.sock.fileno()
        one.cancel()
        one.cancel()
        assert fd not in poller_of(asyncio.get_running_loop())._watched
        assert (one.sock, results) == (None, [])


async def test_a_cancelled_look_up_is_silent():
    loop = asyncio.get_running_loop()
    other = []
    one, results = dial("localhost", 1)
    assert one.too_long(5).detail == "looking the name up in 5 s (localhost:1)"
    one.cancel()
    Resolver(loop).look_up("localhost", 1, other.append)
    await until(lambda: other, "another look-up, which takes as long")
    await asyncio.sleep(0)
    assert results == []


async def test_a_refusal_that_is_known_at_once_comes_before_start_returns_and_only_once():
    port = unused_port()
    _, results = dial(HOST, port)
    count = len(results)
    await result_of(results)
    assert count in (0, 1)


async def test_a_dial_that_meets_itself_is_refused():
    """What the kernel may choose as the dial's own port, too, where that is of the ephemeral range."""
    loop, results, port = asyncio.get_running_loop(), [], unused_port()

    class Meeting(Dial):
        def _connect(self, sock):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(self.address)
            return sock.connect_ex(self.address)

    one = Meeting(poller_of(loop), Resolver(loop), OwnDials(), HOST, port, KEEP_ALIVE, results.append)
    one.start(literal_address(HOST, port))
    assert (await result_of(results)).reason == "connection_refused"
    assert one.sock is None


async def test_an_upstream_that_resets_at_once_was_reached():
    with Server() as server:
        loop, results = asyncio.get_running_loop(), []

        class ResetAtOnce(Dial):
            def _connect(self, sock):
                code = super()._connect(sock)
                peer, _ = server.sock.accept()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                peer.close()
                return code or errno.EINPROGRESS  # as on a real network: the reset is there before we look

        one = ResetAtOnce(poller_of(loop), Resolver(loop), OwnDials(), HOST, server.port, KEEP_ALIVE, results.append)
        one.start(literal_address(HOST, server.port))
        reached = await result_of(results)
        reached.sock.close()
        assert (reached.address, reached.reset) == ((HOST, server.port), True)


async def test_without_a_descriptor_left_the_dial_says_so():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        _, results = dial(HOST, 4002)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in opened:
            os.close(fd)
    assert results == [DialFailed("resource_exhausted", "EMFILE", f"no socket left to dial {HOST}:4002")]


@pytest.mark.skipif(not hasattr(socket, "AF_INET6"), reason="no IPv6")
async def test_ipv6():
    try:
        server = Server("::1")
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    with server:
        _, results = dial("::1", server.port)
        reached = await result_of(results)
        reached.sock.close()
        assert reached.address[:2] == ("::1", server.port)
