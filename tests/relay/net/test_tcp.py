"""relay/net/tcp.py: what the kernel really does with what we ask of it."""

import contextlib
import socket

import pytest

from relay.config.load import PortMap
from relay.entry.listen_address import ListenAddress, bind
from relay.net import offsets, tcp
from relay.net.tcp import KeepAlive
from tests.relay.kit.loopback import HOST, SMALL, fill, tcp_pair, unused_port, waiting
from tests.relay.kit.scripted import wait_until

linux_only = pytest.mark.skipif(not tcp.LINUX, reason="asks the kernel what only Linux tells")

KEEP_ALIVE = KeepAlive(idle=7, interval=3, count=2, user_timeout=11.5)
OFF = KeepAlive(idle=0, interval=3, count=2, user_timeout=0)


def options(sock):
    """NODELAY, keep-alive on, idle, interval, count, user time-out in milliseconds."""
    ask = sock.getsockopt
    return (
        ask(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0,
        ask(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0,
        ask(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        ask(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        ask(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        ask(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    )


@pytest.fixture
def pair():
    """Our end and the peer's, with small buffers."""
    leg, far = tcp_pair(SMALL, SMALL)
    with leg, far:
        yield leg, far


def end_of(sock):
    """The word "fin" or "rst", once it is there; the kernel tells a reset only once."""
    seen = []
    wait_until(lambda: seen.append(waiting(sock)) or seen[-1] != "nothing", "an end")
    return seen[-1]


# Options


@linux_only
def test_every_option_is_set(pair):
    tcp.set_options(pair[0], KEEP_ALIVE)
    assert options(pair[0]) == (True, True, 7, 3, 2, 11_500)


@linux_only
def test_zero_turns_a_timer_off_also_when_it_was_on(pair):
    tcp.set_options(pair[0], KEEP_ALIVE)
    tcp.set_options(pair[0], OFF)
    assert options(pair[0])[:2] == (True, False)
    assert options(pair[0])[5] == 0


@linux_only
@pytest.mark.parametrize("keep_alive, expected", [(KEEP_ALIVE, (True, True, 7, 3, 2, 11_500)), (OFF, (True, False))])
def test_an_accepted_socket_inherits_them_from_its_listener(keep_alive, expected):
    place = ListenAddress(socket.AF_INET, HOST, unused_port(), "listen")
    with bind(place, keep_alive) as server, socket.create_connection(server.getsockname()):
        server.setblocking(True)
        accepted, _ = server.accept()
        with accepted:
            assert options(accepted)[: len(expected)] == expected


@linux_only
def test_a_listener_whose_options_change_passes_on_the_new_ones():
    with bind(ListenAddress(socket.AF_INET, HOST, unused_port(), "listen"), KEEP_ALIVE) as server:
        tcp.set_options(server, OFF)
        with socket.create_connection(server.getsockname()):
            server.setblocking(True)
            accepted, _ = server.accept()
            with accepted:
                assert options(accepted)[1] is False


@linux_only
def test_a_socket_that_is_dialled_has_them_before_it_is_connected():
    with socket.socket() as sock:
        tcp.set_options(sock, KEEP_ALIVE)
        assert options(sock) == (True, True, 7, 3, 2, 11_500)


def buffers(sock):
    """The receive buffer, bytes; how much may wait to be sent."""
    ask = sock.getsockopt
    return ask(socket.SOL_SOCKET, socket.SO_RCVBUF), ask(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)


@linux_only
def test_what_a_leg_may_hold_in_the_kernel_is_bounded_also_where_a_manager_listens():
    expected = (2 * tcp.RECEIVE_BUFFER, tcp.MOST_UNSENT)
    with bind(ListenAddress(socket.AF_INET, HOST, unused_port(), "listen"), KEEP_ALIVE) as server:
        server.setblocking(True)
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            assert buffers(accepted) == expected
    with socket.create_server((HOST, 0)) as server:  # listens before it is ours
        tcp.bound_buffers(server)
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            assert buffers(accepted) == expected


def test_the_timers_of_a_map_are_its_settings():
    port_map = PortMap(keepalive_idle=1, keepalive_interval=2, keepalive_count=3, user_timeout=4.5)
    assert tcp.keep_alive_of(port_map) == KeepAlive(1, 2, 3, 4.5)
    assert tcp.keep_alive_of(PortMap()) == KeepAlive()


def test_by_default_a_vanished_peer_is_noticed_within_45_seconds():
    default = KeepAlive()
    assert default.idle + default.interval * default.count <= 45
    assert default.user_timeout + default.interval <= 45


# Reset


def test_a_reset_is_seen_as_one(pair):
    leg, far = pair
    tcp.reset(leg)
    assert end_of(far) == "rst"
    assert leg.fileno() == -1


def test_a_close_is_not(pair):
    leg, far = pair
    leg.close()
    assert end_of(far) == "fin"


def test_a_socket_that_was_reset_by_its_peer_or_closed_can_be_reset(pair):
    leg, far = pair
    tcp.reset(far)
    assert end_of(leg) == "rst"
    tcp.reset(leg)
    tcp.reset(leg)


# What is unsent


def test_nothing_is_unsent_on_a_quiet_connection(pair):
    assert tcp.unsent(pair[0]) == 0


def test_unsent_counts_what_the_peer_has_not_acknowledged(pair):
    leg, far = pair
    sent = fill(leg)
    left = tcp.unsent(leg)
    assert 0 < left <= sent
    got = 0
    while got < sent:
        with contextlib.suppress(BlockingIOError):
            got += len(far.recv(1 << 20))
    wait_until(lambda: tcp.unsent(leg) == 0, "everything is acknowledged")


def test_a_dead_socket_has_nothing_unsent(pair):
    leg, far = pair
    fill(leg)
    tcp.reset(far)
    assert end_of(leg) == "rst"
    assert tcp.unsent(leg) == 0
    leg.close()
    assert tcp.unsent(leg) == 0


def test_a_socket_that_listens_has_nothing_unsent():
    with socket.create_server((HOST, 0)) as server:
        assert not tcp.unsent(server)


# What the peer has not acknowledged


@linux_only
def test_a_send_queue_tells_what_waits_and_since_when(pair):
    leg, far = pair
    assert tcp.send_queue(leg, False)[:2] == (0, False)
    sent, got = fill(leg), 0
    wait_until(lambda: tcp.send_queue(leg, False).shut, "its window is closed")
    queue = tcp.send_queue(leg, False)
    assert sent - queue.unacknowledged == offsets.unread(far)
    wait_until(lambda: tcp.send_queue(leg, False).still > 0.3, "no byte goes out, whatever the probes do")
    assert tcp.send_queue(leg, False)[:2] == queue[:2]
    while got < sent:
        with contextlib.suppress(BlockingIOError):
            got += len(far.recv(1 << 20))
    wait_until(lambda: tcp.send_queue(leg, False)[:2] == (0, False), "everything is acknowledged")


@linux_only
def test_a_fin_is_no_byte_that_waits(pair):
    leg, far = pair
    sent = fill(leg)
    wait_until(lambda: tcp.send_queue(leg, False).shut, "its window is closed")
    before = tcp.send_queue(leg, False).unacknowledged
    leg.shutdown(socket.SHUT_WR)
    assert tcp.send_queue(leg, True)[:2] == (before, True)
    assert len(_all_of(far)) == sent
    wait_until(lambda: tcp.send_queue(leg, True)[:2] == (0, False), "everything is acknowledged")


def _all_of(far):
    far.setblocking(True)
    data = bytearray()
    while part := far.recv(1 << 20):
        data += part
    return data


@linux_only
@pytest.mark.parametrize("finished", [False, True])
def test_a_dead_socket_knows_what_was_acknowledged_unless_a_fin_may_be_in_it(pair, finished):
    leg, far = pair
    sent = fill(leg)
    wait_until(lambda: tcp.send_queue(leg, False).shut, "its window is closed")
    taken = offsets.unread(far)
    if finished:
        leg.shutdown(socket.SHUT_WR)
    tcp.reset(far)
    assert end_of(leg) == "rst"
    assert tcp.send_queue(leg, finished)[:2] == (None if finished else sent - taken, False)


@linux_only
def test_of_a_kernel_that_does_not_understand_the_question_nothing_is_known(pair, monkeypatch):
    monkeypatch.setattr(tcp, "LINUX", False)  # this one does not know SO_NWRITE
    assert tcp.send_queue(pair[0], False) == (None, None, None)


def test_of_a_socket_that_is_closed_nothing_is_known(pair):
    leg, _ = pair
    leg.close()
    assert tcp.send_queue(leg, False) == (None, None, None)


# The reader that does not read


@linux_only
def test_a_peer_with_a_shut_window_is_not_reading(pair):
    leg, far = pair
    fill(leg)
    wait_until(lambda: tcp.is_not_reading(leg), "its window is closed")
    assert not tcp.is_not_reading(far)  # nobody has sent it anything to pass on


@linux_only
def test_a_peer_that_reads_again_is_reading_again(pair):
    leg, far = pair
    sent, got = fill(leg), 0
    wait_until(lambda: tcp.is_not_reading(leg), "its window is closed")
    while got < sent:
        with contextlib.suppress(BlockingIOError):
            got += len(far.recv(1 << 20))
    wait_until(lambda: not tcp.is_not_reading(leg), "its window is open again")
    assert tcp.unsent(leg) == 0


@linux_only
def test_an_idle_connection_is_not_one_that_does_not_read(pair):
    leg, _ = pair
    assert not tcp.is_not_reading(leg)
    leg.send(b"all of it was taken")
    wait_until(lambda: tcp.unsent(leg) == 0, "everything is acknowledged")
    assert not tcp.is_not_reading(leg)


@linux_only
@pytest.mark.parametrize("how", ["reset", "fin", "closed", "never connected"])
def test_a_dead_socket_is_not_one_that_does_not_read(pair, how):
    leg, far = pair
    if how == "reset":
        fill(leg)
        tcp.reset(far)
        assert end_of(leg) == "rst"
    elif how == "fin":
        far.close()
        assert end_of(leg) == "fin"
    elif how == "closed":
        leg.close()
    else:
        leg.close()
        with socket.socket() as lone:
            assert not tcp.is_not_reading(lone)
        return
    assert not tcp.is_not_reading(leg)


@linux_only
def test_a_peer_that_answers_the_window_probes_has_left_none_unanswered(pair):
    leg, _ = pair
    fill(leg)
    wait_until(lambda: tcp.is_not_reading(leg), "its window is closed")
    assert not tcp.has_left_probes_unanswered(leg)
    leg.close()
    assert not tcp.has_left_probes_unanswered(leg)


@linux_only
def test_patience_lifts_the_time_out_and_strictness_brings_it_back(pair):
    leg, _ = pair
    tcp.set_options(leg, KEEP_ALIVE)
    tcp.be_patient(leg)
    assert options(leg) == (True, True, 7, 3, 2, 0)
    with contextlib.suppress(OSError):  # before Linux 6.15 there is no such option
        assert leg.getsockopt(socket.IPPROTO_TCP, tcp._TCP_RTO_MAX_MS) == 10_000
    tcp.be_strict(leg, KEEP_ALIVE)
    assert options(leg) == (True, True, 7, 3, 2, 11_500)


@pytest.mark.slow
@linux_only
def test_the_kernel_does_end_a_reader_that_does_not_read_unless_we_are_patient():
    """The trap this file is about, shown: without `be_patient` 0.3 s of not reading are the end."""
    impatient, far = tcp_pair(SMALL, SMALL)
    patient, other_far = tcp_pair(SMALL, SMALL)
    with impatient, far, patient, other_far:
        for sock in (impatient, patient):
            tcp.set_options(sock, KeepAlive(user_timeout=0.3))
            fill(sock)
            wait_until(lambda sock=sock: tcp.is_not_reading(sock), "its window is closed")
        tcp.be_patient(patient)
        wait_until(lambda: impatient.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0, "the kernel gives it up")
        assert patient.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert tcp.is_not_reading(patient)
