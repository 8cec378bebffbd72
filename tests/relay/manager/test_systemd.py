"""relay/manager/systemd.py: datagrams on real sockets, a manager that does not read, descriptors come and go."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from relay.manager import systemd
from tests.relay.kit import managers
from tests.relay.kit.managers import NotifySocket

ROOT = Path(__file__).parents[3]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux' own")


@pytest.fixture
def manager(tmp_path):
    with NotifySocket(tmp_path / "notify") as manager:
        yield manager


# Out

SAID = [
    ("ready", lambda env: systemd.ready("listening", env), ["READY=1", "STATUS=listening"]),
    ("stopping", lambda env: systemd.stopping("draining", env), ["STOPPING=1", "STATUS=draining"]),
    ("status", lambda env: systemd.tell_status("3 live sessions", env), ["STATUS=3 live sessions"]),
    ("alive", lambda env: systemd.watchdog(environ=env), ["WATCHDOG=1"]),
    ("alive, with news", lambda env: systemd.watchdog("1 live session", env), ["WATCHDOG=1", "STATUS=1 live session"]),
    ("anything", lambda env: systemd.notify("ERRNO=2", environ=env), ["ERRNO=2"]),
    (
        "a line feed begins no second assignment",
        lambda env: systemd.tell_status("refused:\nMAINPID=1\n", env),
        ["STATUS=refused: MAINPID=1"],
    ),
    (
        "too long is cut between letters",
        lambda env: systemd.tell_status("a" + "é" * 5000, env),
        ["STATUS=a" + "é" * ((systemd.STATUS_LIMIT - 1) // 2)],
    ),
    ("what is no text", lambda env: systemd.tell_status("file \udcff", env), ["STATUS=file ?"]),
]


@pytest.mark.parametrize("say, lines", [one[1:] for one in SAID], ids=[one[0] for one in SAID])
def test_what_is_said_is_one_datagram(manager, say, lines):
    assert say(manager.environ) is True
    notice = manager.receive()
    assert (notice.lines, notice.fds) == (lines, [])


def test_reloading_comes_with_the_moment_in_the_same_datagram(manager):
    before = time.monotonic_ns() // 1000
    assert systemd.reloading(manager.environ)
    notice = manager.receive()
    assert notice.lines[0] == "RELOADING=1" and len(notice.lines) == 2
    assert before <= int(notice["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


@linux_only
def test_an_abstract_address_is_one_too():
    with NotifySocket(f"@ib-relay-test-{os.getpid()}") as manager:
        assert systemd.ready("here", manager.environ)
        assert manager.receive()["STATUS"] == "here"


NOBODY = [
    ("no manager", {}),
    ("an empty address", {"NOTIFY_SOCKET": ""}),
    ("an at sign alone", {"NOTIFY_SOCKET": "@"}),
    ("a relative path", {"NOTIFY_SOCKET": "notify"}),
    ("a virtual machine's", {"NOTIFY_SOCKET": "vsock:2:1234"}),
    ("a path that is not there", {"NOTIFY_SOCKET": "/nonexistent/notify"}),
    ("a path too long for a socket", {"NOTIFY_SOCKET": "/" + "x" * 300}),
    ("a path with a zero", {"NOTIFY_SOCKET": "/x\0y"}),
]


@pytest.mark.parametrize("environ", [one[1] for one in NOBODY], ids=[one[0] for one in NOBODY])
def test_without_a_manager_nothing_is_sent_and_nothing_raised(environ):
    assert systemd.ready("here", environ) is False
    assert systemd.barrier(0.01, environ) is False
    assert systemd.store({"a": 0}, environ=environ) == set()
    assert systemd.managed(environ) == environ.get("NOTIFY_SOCKET", "").startswith("/")


def test_a_manager_that_has_gone_is_no_error(manager):
    manager.sock.close()
    assert systemd.watchdog(environ=manager.environ) is False


def test_a_manager_that_does_not_read_never_holds_up_what_is_sent_again_anyway(manager, timeouts):
    sent = managers.fill(lambda: systemd.watchdog(environ=manager.environ))
    assert systemd.tell_status("here", manager.environ) is False
    assert systemd.store({"a": 0, "b": 0}, environ=manager.environ) == set()
    assert systemd.unstore(["a", "b"], environ=manager.environ) == set()
    assert sent > 0 and timeouts == [0] * (sent + 1 + 3)


def test_what_matters_waits_for_a_manager_that_is_busy(manager, timeouts):
    managers.fill(lambda: systemd.watchdog(environ=manager.environ))
    timeouts.clear()
    reader = threading.Timer(0.05, manager.receive)
    reader.start()
    assert systemd.ready("here", manager.environ) is True
    reader.join()
    assert timeouts == [systemd.WAIT]


def test_what_matters_waits_but_not_for_ever_and_without_a_busy_loop(manager):
    managers.fill(lambda: systemd.watchdog(environ=manager.environ))
    begun, used = time.monotonic(), time.thread_time()
    assert systemd.notify("READY=1", wait=0.3, environ=manager.environ) is False
    assert 0.25 < time.monotonic() - begun < 3
    assert time.thread_time() - used < 0.05  # a sixth of the time; a loop takes half a processor and more


def test_nothing_is_left_open(manager):
    before = os.listdir("/dev/fd")
    systemd.ready("here", manager.environ)
    systemd.barrier(0.01, manager.environ)
    systemd.barrier(0.01, {})
    while manager.seen:
        manager.seen.pop().close()
    assert len(os.listdir("/dev/fd")) == len(before)


# The watchdog

OURS = str(os.getpid())
INTERVALS = [
    ("none", {}, None),
    ("ten seconds", {"WATCHDOG_USEC": "10000000"}, 10.0),
    ("for us", {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": OURS}, 0.5),
    ("for somebody else", {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
    ("off", {"WATCHDOG_USEC": "0"}, None),
    ("not a number", {"WATCHDOG_USEC": "soon"}, None),
    ("not a process", {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "me"}, None),
]


@pytest.mark.parametrize("environ, seconds", [one[1:] for one in INTERVALS], ids=[one[0] for one in INTERVALS])
def test_the_watchdogs_interval(environ, seconds):
    assert systemd.watchdog_interval(environ) == seconds


# The barrier


def test_a_barrier_ends_when_the_manager_has_come_to_it(manager):
    def manage():
        assert manager.receive().lines == ["READY=1", "STATUS=here"]
        notice = manager.receive()
        assert (notice.lines, len(notice.fds)) == (["BARRIER=1"], 1)
        reached.append(time.monotonic())
        notice.close()

    reached = []
    systemd.ready("here", manager.environ)
    thread = threading.Timer(0.05, manage)
    thread.start()
    assert systemd.barrier(managers.PATIENCE, manager.environ) is True
    assert reached and reached[0] <= time.monotonic()
    thread.join()


def test_a_barrier_gives_up_at_its_bound(manager):
    begun = time.monotonic()
    assert systemd.barrier(0.05, manager.environ) is False
    assert 0.04 < time.monotonic() - begun < 2


# The store


def test_each_stored_descriptor_has_a_datagram_and_a_name_of_its_own(manager):
    reading, writing = os.pipe()
    try:
        assert systemd.store({"c1-r": reading, "c1-w": writing}, environ=manager.environ) == {"c1-r", "c1-w"}
        first, second = manager.receive(), manager.receive()
        assert first.lines == ["FDSTORE=1", "FDPOLL=0", "FDNAME=c1-r"]
        assert second.lines == ["FDSTORE=1", "FDPOLL=0", "FDNAME=c1-w"]
        os.write(second.fds[0], b"kept")
        assert os.read(first.fds[0], 8) == b"kept"
    finally:
        os.close(reading)
        os.close(writing)


def test_what_is_taken_out_of_the_store_is_named_one_by_one(manager):
    assert systemd.unstore(["a", "b"], environ=manager.environ) == {"a", "b"}
    assert manager.receive().lines == ["FDSTOREREMOVE=1", "FDNAME=a"]
    assert manager.receive().lines == ["FDSTOREREMOVE=1", "FDNAME=b"]


@pytest.mark.parametrize("name", ["", "a:b", "a\nFDSTOREREMOVE=1", "ä", "x" * 256])
def test_a_name_that_systemd_would_not_take_is_a_fault_of_ours(manager, name):
    with pytest.raises(ValueError, match="no name for a stored descriptor"):
        systemd.store({name: 0}, environ=manager.environ)
    with pytest.raises(ValueError, match="no name for a stored descriptor"):
        systemd.unstore([name], environ=manager.environ)


@pytest.mark.parametrize("environ, limit", [({}, None), ({"FDSTORE": "1024"}, 1024), ({"FDSTORE": "many"}, None)])
def test_how_much_the_store_takes_is_known_where_it_is_said(environ, limit):
    assert systemd.store_limit(environ) == limit


# In

# A process of its own: its descriptors 3 and up are what systemd made them. Prints what it took, and what it took the
# second time, also after turning itself into another program.
TAKER = """
import json, os, socket, stat, sys
from relay.manager import systemd
def look():
    found = {"listening": systemd.take_listening(), "stored": systemd.take_stored()}
    fds = [fd for fds in found["listening"].values() for fd in fds] + list(found["stored"].values())
    ports = {fd: socket.socket(fileno=os.dup(fd)).getsockname()[1] for fds in found["listening"].values() for fd in fds}
    read = {name: os.read(fd, 8).decode() for name, fd in found["stored"].items()}
    listening = {name: [ports[fd] for fd in fds] for name, fds in found["listening"].items()}
    return [listening, read, any(map(os.get_inheritable, fds))]
print(json.dumps([look(), look()]), flush=True)
if "again" not in sys.argv:
    os.execv(sys.executable, [sys.executable, "-c", open(sys.argv[1]).read(), sys.argv[1], "again"])
"""


def taken(tmp_path, fds, names, environ=None):
    """What the program found: [listening, stored, whether any would be inherited], four looks."""
    script = tmp_path / "taker.py"
    script.write_text(TAKER)
    command = [sys.executable, str(script), str(script)]
    environ = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"} | (environ or {})
    with managers.process(command, fds, names, environ) as process:
        out, err = process.communicate(timeout=managers.PATIENCE)
    assert process.returncode == 0, err.decode()
    return [look for line in out.decode().splitlines() for look in json.loads(line)]


@contextlib.contextmanager
def descriptors():
    """Two listening sockets, a readable pipe and a connected socket with something to read."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        two = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        left, right = (stack.enter_context(sock) for sock in socket.socketpair())
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        os.write(writing, b"pipe")
        right.send(b"socket")
        yield one, two, left, reading


NOTHING = [{}, {}, False]


@pytest.mark.slow
def test_sockets_that_listen_and_what_was_stored_are_told_apart_by_name_in_any_order_and_given_once(tmp_path):
    with descriptors() as (one, two, left, reading):
        fds = [left.fileno(), one.fileno(), reading, two.fileno()]
        looks = taken(tmp_path, fds, "c1-client:paper:c1-pipe:paper")
        ports = [one.getsockname()[1], two.getsockname()[1]]
        assert looks == [
            [{"paper": ports}, {"c1-client": "socket", "c1-pipe": "pipe"}, False],
            NOTHING,
            NOTHING,
            NOTHING,
        ]


@pytest.mark.slow
def test_descriptors_without_names_are_unknown(tmp_path):
    with descriptors() as (one, *_):
        assert taken(tmp_path, [one.fileno()], "-")[0] == [{"unknown": [one.getsockname()[1]]}, {}, False]


@pytest.mark.slow
def test_two_stored_under_one_name_are_one(tmp_path):
    with descriptors() as (_, _, left, reading):
        assert taken(tmp_path, [left.fileno(), reading], "a:a")[0] == [{}, {"a": "socket"}, False]


NOT_FOR_US = [
    ("nothing", {}),
    ("no process", {"LISTEN_FDS": "1"}),
    ("another process", {"LISTEN_FDS": "1", "LISTEN_PID": "1"}),
    ("no count", {"LISTEN_FDS": "x", "LISTEN_PID": OURS}),
    ("a count below zero", {"LISTEN_FDS": "-1", "LISTEN_PID": OURS}),
    ("a count beyond reason", {"LISTEN_FDS": "99999999999", "LISTEN_PID": OURS}),
    ("all taken", {"LISTEN_FDS": "2", "LISTEN_PID": OURS, "LISTEN_FDNAMES": ":"}),
]


@pytest.mark.parametrize("environ", [one[1] for one in NOT_FOR_US], ids=[one[0] for one in NOT_FOR_US])
def test_what_is_not_for_this_process_is_left_alone(environ):
    before = dict(environ)
    assert (systemd.take_listening(environ), systemd.take_stored(environ)) == ({}, {})
    assert environ == before


def test_a_number_without_a_descriptor_is_no_descriptor():
    fd = 3
    while True:  # the first free number from 3 on
        try:
            os.fstat(fd)
        except OSError:
            break
        fd += 1
    names = ":".join([""] * (fd - 3) + ["gone"])
    environ = {"LISTEN_FDS": str(fd - 2), "LISTEN_PID": OURS, "LISTEN_FDNAMES": names}
    assert (systemd.take_listening(environ), systemd.take_stored(environ)) == ({}, {})
