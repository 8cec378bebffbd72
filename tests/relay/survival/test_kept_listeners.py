"""relay/survival/kept_listeners.py: listening sockets of our own outlive the process that has bound them."""

import contextlib
import os
import socket

import pytest

from relay.config.limits import KEPT_LISTENERS as MOST
from relay.manager import systemd
from relay.net import offsets
from relay.survival.kept_listeners import KeptListeners, name_of, parse_name
from tests.relay.kit.loopback import PATIENCE
from tests.relay.kit.pid1 import Pid1
from tests.relay.kit.scripted import Peer, Upstream, free_port, wait_until

pytestmark = pytest.mark.skipif(not offsets.SUPPORTED, reason="elsewhere no manager keeps descriptors")

HOST = "127.0.0.1"
NAMES = [
    ("127.0.0.1", 4003, "bound 7f000001 4003"),
    ("172.17.0.1", 1, "bound ac110001 1"),
    ("fd00::1", 65535, "bound fd000000000000000000000000000001 65535"),
]


@pytest.mark.parametrize("host, port, name", NAMES)
def test_the_name_in_the_store_says_where_it_listens(host, port, name):
    assert (name_of(host, port), parse_name(name)) == (name, (host, port))
    assert systemd._checked(name) == name


@pytest.mark.parametrize("name", ["bound ", "bound 7f000001", "bound 7f0000 1", "bound xyz 1", "bound 7f000001 a"])
def test_a_name_nobody_here_has_given_is_not_understood(name):
    assert parse_name(name) is None


@pytest.fixture
def manager(tmp_path, monkeypatch):
    manager = Pid1(tmp_path, [])
    monkeypatch.setenv("NOTIFY_SOCKET", manager.where)
    yield manager
    manager.__exit__()


@pytest.fixture
def listening():
    """`listening(1, 2)` is what Listeners.leave_behind says of these ports; the sockets are real, the ports not."""
    with contextlib.ExitStack() as stack:
        socks = {}

        def on(*ports):
            for port in ports:
                if port not in socks:
                    socks[port] = stack.enter_context(socket.create_server((HOST, 0)))
            return [(HOST, port, socks[port].fileno()) for port in ports]

        yield on


def test_the_manager_has_what_is_listened_on_now(manager, listening):
    kept = KeptListeners()
    kept.keep(listening(1, 2))
    wait_until(lambda: manager.names() == {name_of(HOST, 1), name_of(HOST, 2)}, "both are kept")
    kept.keep(listening(2, 3))
    wait_until(lambda: manager.names() == {name_of(HOST, 2), name_of(HOST, 3)}, "the one is given back, another kept")
    kept.keep(())
    wait_until(lambda: not manager.names(), "nothing is kept any more")


def test_no_more_are_given_away_than_were_reckoned_with(manager, listening):
    kept = KeptListeners()
    wait_until(lambda: kept.keep(listening(*range(1, MOST + 10))), "the manager has had the time")
    wait_until(lambda: len(manager.names()) == MOST, "as many as there is room for")
    wait_until(lambda: kept.keep(listening(MOST + 9, *range(1, MOST))), "the manager has had the time")
    wait_until(lambda: name_of(HOST, MOST + 9) in manager.names(), "the room of one that went is taken")
    assert len(manager.names()) == MOST


def test_a_manager_without_time_is_asked_again(manager, listening):
    kept = KeptListeners()
    manager.deaf.set()
    with contextlib.ExitStack() as stack:
        stack.callback(manager.deaf.clear)
        for _ in range(1000):
            if not systemd.tell_status("so that the queue is full"):
                break
        assert kept.keep(listening(1)) is False
    wait_until(lambda: kept.keep(listening(1)), "it has had the time")
    wait_until(lambda: manager.names() == {name_of(HOST, 1)}, "it is kept")
    assert kept.keep(()) is True


def test_one_that_is_kept_already_is_not_kept_twice(manager, listening):
    """The program after an upgrade in place does not know what the one before has stored."""
    for _ in range(2):
        KeptListeners().keep(listening(1))
        wait_until(lambda: name_of(HOST, 1) in manager.names(), "it is kept")
    assert systemd.barrier(PATIENCE)
    assert [len(copies) for copies in manager.stored.values()] == [1]


def test_what_was_left_is_taken_and_all_else_is_not():
    fds = [os.dup(0) for _ in range(3)]
    stored = {name_of(HOST, 4003): fds[0], "numbers": fds[1], "bound by whom": fds[2]}
    assert KeptListeners().take(stored) == ((HOST, 4003, fds[0]),)
    assert stored == {"numbers": fds[1], "bound by whom": fds[2]}
    for fd in fds:
        os.close(fd)


@pytest.mark.slow
def test_a_client_that_comes_while_the_relay_is_dead_waits_and_is_served(tmp_path):
    port = free_port()
    with Upstream() as upstream:
        arguments = ["--listen", f"{HOST}:{port}", "--upstream", f"{HOST}:{upstream.port}", "--protocol", "raw"]
        with Pid1(tmp_path, arguments) as service:
            wait_until(lambda: name_of(HOST, port) in service.names(), "the socket is kept")
            for how in ("kill", "upgrade", "kill"):
                if how == "kill":
                    service.process.kill()
                    service.process.wait(PATIENCE)
                with Peer.dial((HOST, port)) as client:
                    service.start() if how == "kill" else service.upgrade()
                    client.sendall(b"question")
                    with upstream.accept() as gateway:
                        assert gateway.read_exactly(8) == b"question"
            assert service.names() >= {name_of(HOST, port)}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), 1)


@pytest.mark.slow
def test_a_socket_that_the_next_configuration_does_not_have_is_closed_and_given_back(tmp_path):
    first, second = free_port(), free_port()
    with Upstream() as upstream:
        towards = ["--upstream", f"{HOST}:{upstream.port}"]
        with Pid1(tmp_path, ["--listen", f"{HOST}:{first}", *towards]) as service:
            wait_until(lambda: name_of(HOST, first) in service.names(), "the socket is kept")
            service.command[-3] = f"{HOST}:{second}"
            service.kill()
            wait_until(lambda: name_of(HOST, second) in service.names(), "the new one is kept")
            wait_until(lambda: name_of(HOST, first) not in service.names(), "the old one is given back")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, first), 1)
