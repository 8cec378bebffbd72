"""relay/service/owner.py: a connection nobody has accepted, and one that a process has."""

import os
import socket
import subprocess
import sys

import pytest

from relay.service import owner
from tests.relay.kit.scripted import LOOPBACK, wait_until

pytestmark = pytest.mark.skipif(not owner.CAN_LOOK, reason="Linux")


@pytest.fixture(params=[LOOPBACK, "::1"])
def server(request):
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listening = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip("no such address here")
    with listening:
        yield listening


def test_a_connection_in_the_queue_of_a_listening_socket_is_not_taken(server):
    with socket.create_connection(server.getsockname()[:2]) as client:
        seen, inode = owner.wait_until_taken(client, 0.05)
    assert (seen, inode) == ("no process has accepted the connection within 0.05 s", 0)


def test_who_has_accepted_it_has_it(server):
    with socket.create_connection(server.getsockname()[:2]) as client, server.accept()[0]:
        seen, inode = owner.wait_until_taken(client, 5)
        assert seen == "" and owner.has_descriptor(os.getpid(), inode) is True
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            # Popen is back when exec has closed one of the descriptors; maybe not yet this one, and without words yet.
            wait_until(lambda: owner.has_descriptor(other.pid, inode) is False, "it has not inherited the connection")
            words = wait_until(lambda: owner.command_line(other.pid), "exec is done")
            assert words[1:] == ("-c", "input()")
            other.communicate(b"\n")
    assert owner.has_descriptor(other.pid, inode) is None and owner.command_line(other.pid) is None


def test_whoever_has_ended_it_has_taken_it(server):
    with socket.create_connection(server.getsockname()[:2]) as client:
        server.accept()[0].close()
        assert owner.wait_until_taken(client, 5) == ("", 0)
