"""Which process has a port: seen of this very one; and nothing where nobody has it, or nothing can be seen."""

import os
import socket
import sys

import psutil

from relay.cli.holder import holders_of
from tests.relay.kit.loopback import HOST, unused_port


def test_the_process_that_listens_is_named():
    with socket.create_server((HOST, 0)) as taken:
        held = f"it is held by {psutil.Process().name()} (process {os.getpid()})"
        assert holders_of(taken.getsockname()[1]) == held


def test_nobody_and_a_client_of_the_port_are_no_holders():
    assert holders_of(unused_port()) == ""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert holders_of(client.getsockname()[1]) == ""


def test_without_psutil_nothing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    with socket.create_server((HOST, 0)) as taken:
        assert holders_of(taken.getsockname()[1]) == ""
