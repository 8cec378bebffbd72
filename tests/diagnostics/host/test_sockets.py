"""The host's side: tables of /proc as they are written, netlink against them, and real listeners in every state."""

import contextlib
import socket
import struct

import pytest

from diagnostics.evidence import DialSeen, HostView, ListeningSocket
from diagnostics.host import sockets
from diagnostics.host.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_SENT, SocketRow
from tests.diagnostics.peers import LINUX_ONLY, black_hole
from tests.relay.kit.scripted import HAS_IPV6, free_port, wait_until

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TAIL = " 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n"


def line(local, remote, state, queues="00000000:00000000"):
    return f"   0: {local} {remote} {state} {queues}{TAIL}"


V4, V4_PEER = "0100007F:0FA3", "0100007F:9C40"
V6_ANY = "0" * 32 + ":0FA1"
MAPPED = "0000000000000000FFFF00000100007F:0FA2"
TABLES = (
    (
        "a listener with two waiting",
        line(V4, "00000000:0000", "0A", "00000000:00000002"),
        [SocketRow(LISTEN, "127.0.0.1", 4003, 0, 2, None, "0.0.0.0")],
    ),
    ("the wildcard of IPv6", line(V6_ANY, "0" * 32 + ":0000", "0A"), [SocketRow(LISTEN, "::", 4001, 0, 0, None, "::")]),
    (
        "a mapped IPv4 address",
        line(MAPPED, "0" * 32 + ":0000", "0A"),
        [SocketRow(LISTEN, "127.0.0.1", 4002, 0, 0, None, "::")],
    ),
    (
        "a peer that is gone",
        line(V4, V4_PEER, "08", "00000000:00000012"),
        [SocketRow(CLOSE_WAIT, "127.0.0.1", 4003, 40000, 18, None, "127.0.0.1")],
    ),
    (
        "a dial",
        line(V4_PEER, V4, "02", "00000001:00000000"),
        [SocketRow(SYN_SENT, "127.0.0.1", 40000, 4003, 0, None, "127.0.0.1")],
    ),
    ("a client", line(V4, V4_PEER, "01"), [SocketRow(ESTABLISHED, "127.0.0.1", 4003, 40000, 0, None, "127.0.0.1")]),
    ("states that do not matter", line(V4, V4_PEER, "03") + line(V4, V4_PEER, "06"), []),
    ("cut in the middle", line(V4, "00000000:0000", "0A")[:30], []),
    ("no hexadecimal", line("gggggggg:0FA3", "00000000:0000", "0A"), []),
    ("an address of three bytes", line("010000:0FA3", "00000000:0000", "0A"), []),
    ("not a table at all", "\n\0\xff one two\n" * 3, []),
)


@pytest.mark.skipif(struct.pack("=H", 1) == b"\0\1", reason="the texts were written on a little-endian machine")
@pytest.mark.parametrize("text, rows", [case[1:] for case in TABLES], ids=[case[0] for case in TABLES])
def test_a_table_of_proc_is_read(text, rows):
    assert list(sockets.parse(HEAD + text)) == rows


def test_only_the_ports_asked_about_count():
    rows = [
        SocketRow(LISTEN, "0.0.0.0", 4003, 0, 1, 128),
        SocketRow(LISTEN, "0.0.0.0", 22, 0, 0, 128),
        SocketRow(CLOSE_WAIT, "127.0.0.1", 4003, 40000, 18),
        SocketRow(CLOSE_WAIT, "127.0.0.1", 40000, 4003, 0),  # the other end: a client of ours
        SocketRow(SYN_SENT, "127.0.0.1", 40002, 4003, 0, None, "127.0.0.2"),
        SocketRow(SYN_SENT, "127.0.0.1", 4003, 443, 0),
        SocketRow(ESTABLISHED, "127.0.0.1", 4003, 40001, 0),
        SocketRow(ESTABLISHED, "127.0.0.1", 40001, 4003, 0, None, "127.0.0.1"),
    ]
    dials = (DialSeen("127.0.0.2", 4003, 40002, True), DialSeen("127.0.0.1", 4003, 40001, False))
    assert sockets.summary(rows, {4003}) == HostView((ListeningSocket("0.0.0.0", 4003, 1, 128),), 1, 1, 1, dials=dials)


def test_a_client_of_a_relay_is_not_counted_twice():
    rows = [SocketRow(ESTABLISHED, "127.0.0.1", port, 40000 + at, 0) for port in (4002, 4003) for at in range(20)]
    assert sockets.summary(rows, {4002, 4003}).established == 20
    assert sockets.summary(rows, ()).established == 0


def test_a_thousand_listeners_are_not_kept():
    rows = [SocketRow(LISTEN, "127.0.0.1", 4003, 0, 0)] * 1000
    assert len(sockets.summary(rows, {4003}).listeners) == sockets.MAX_LISTENERS


def test_a_thousand_dials_are_not_kept():
    rows = [SocketRow(ESTABLISHED, "127.0.0.1", 40000, 4003, 0, None, "127.0.0.1")] * 1000
    assert len(sockets.summary(rows, {4003}).dials) == sockets.MAX_DIALS


def test_without_the_tables_it_is_unknown(tmp_path):
    assert sockets.from_files(str(tmp_path)) is None


@contextlib.contextmanager
def listeners():
    """A listener with backlog 5 and one client that came and went, one on IPv6, and a dial that is not answered."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_server(("127.0.0.1", free_port()), backlog=5))
        socket.create_connection(first.getsockname()).close()
        second = None
        if HAS_IPV6:
            second = stack.enter_context(
                socket.create_server(("::", free_port("::")), family=socket.AF_INET6, backlog=3)
            )
        lost = stack.enter_context(black_hole())
        dial = stack.enter_context(socket.socket())
        dial.setblocking(False)
        dial.connect_ex(("127.0.0.1", lost))
        yield first.getsockname()[1], second and second.getsockname()[1], lost


def by_port(view):
    return {one.port: one for one in view.listeners}


@LINUX_ONLY
def test_real_sockets_are_seen():
    with listeners() as (first, second, lost):
        view = wait_until(
            lambda: (seen := sockets.look({first, second, lost})).close_wait and seen, "the FIN has arrived"
        )
        assert by_port(view)[first] == ListeningSocket("127.0.0.1", first, 1, 5)
        assert second is None or by_port(view)[second] == ListeningSocket("::", second, 0, 3)
        assert (view.close_wait, view.syn_sent, view.established) == (1, 1, 1)  # what fills the black hole
        assert {(one.address, one.port) for one in view.dials} == {("127.0.0.1", lost)} and len(view.dials) == 2


@LINUX_ONLY
def test_the_files_say_the_same_without_the_limit(monkeypatch):
    with listeners() as (first, second, lost):
        wait_until(lambda: sockets.look({first}).close_wait, "the FIN has arrived")
        with_kernel = sockets.look({first, second, lost})
        monkeypatch.setattr(sockets, "from_kernel", lambda: None)
        files = sockets.look({first, second, lost})
    assert by_port(files)[first] == ListeningSocket("127.0.0.1", first, 1, None)
    assert (files.close_wait, files.syn_sent) == (with_kernel.close_wait, with_kernel.syn_sent) == (1, 1)
    assert set(by_port(files)) == set(by_port(with_kernel)) and set(files.dials) == set(with_kernel.dials)


@LINUX_ONLY
def test_a_kernel_that_cannot_be_asked_is_not_asked(monkeypatch):
    monkeypatch.setattr(sockets, "_SOCK_DIAG", 31)  # no such netlink family
    assert sockets.from_kernel() is None


def message(kind, body=b""):
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


ONE = struct.pack("=BBxx2s2s16s32xIIII", socket.AF_INET, LISTEN, b"\x0f\xa3", b"\0\0", b"\x7f\0\0\1", 2, 5, 0, 0)
DATAGRAMS = (
    ("one socket and no end yet", message(20, ONE), 1, None),
    ("the end", message(3, b"\0" * 4), 0, 3),
    ("a socket, then the end", message(20, ONE) + message(3), 1, 3),
    ("an error", message(2, b"\0" * 20), 0, 2),
    ("a length of zero", struct.pack("=IHHII", 0, 20, 0, 1, 0), 0, 2),
    ("a length beyond the datagram", message(20, ONE)[:-8], 0, None),
    ("another type", message(7, ONE), 0, None),
    ("nothing", b"", 0, None),
)


@pytest.mark.parametrize("data, count, end", [case[1:] for case in DATAGRAMS], ids=[case[0] for case in DATAGRAMS])
def test_an_answer_of_the_kernel_is_read(data, count, end):
    rows = []
    assert sockets.read_answer(data, rows) == end
    assert rows == [SocketRow(LISTEN, "127.0.0.1", 4003, 0, 2, 5, "0.0.0.0")] * count
