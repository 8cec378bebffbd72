"""Command lines to forwarders, and those of this machine: a real process that is called like one."""

import shutil
import subprocess

import pytest

from diagnostics.evidence import Forwarder
from diagnostics.host.forwarders import forwarder, look
from tests.relay.kit.loopback import until

HERE = ("127.0.0.1", 4002)
LINES = [
    ("socat TCP-LISTEN:4003,fork,bind=0.0.0.0 TCP:127.0.0.1:4002", Forwarder("socat", "0.0.0.0", 4003, *HERE)),
    ("/usr/bin/socat -d tcp-l:4003,fork tcp:127.0.0.1:4002", Forwarder("socat", "0.0.0.0", 4003, *HERE)),
    ("socat TCP6-LISTEN:4003,bind=[::1]:x,fork TCP:127.0.0.1:4002", Forwarder("socat", "::1", 4003, *HERE)),
    ("socat TCP4-LISTEN:4003,bind=127.0.0.1 TCP4:127.0.0.1:4002,nodelay", Forwarder("socat", "127.0.0.1", 4003, *HERE)),
    ("socat TCP-LISTEN:4003 TCP6-CONNECT:[FD00::2]:4001", Forwarder("socat", "0.0.0.0", 4003, "fd00::2", 4001)),
    ("socat TCP-LISTEN:4003 TCP:ib-gateway:4004", Forwarder("socat", "0.0.0.0", 4003)),
    ("socat TCP-LISTEN:4003 TCP:127.0.0.1:99999", Forwarder("socat", "0.0.0.0", 4003)),
    ("socat TCP-LISTEN:4003 UNIX-CONNECT:/run/x", Forwarder("socat", "0.0.0.0", 4003)),
    ("socat TCP-LISTEN:4003", Forwarder("socat", "0.0.0.0", 4003)),
    ("socat TCP-LISTEN:4003,fork,range=10.0.0.0/8 TCP:127.0.0.1:4002", None),
    ("socat TCP-LISTEN:4003,tcpwrap TCP:127.0.0.1:4002", None),
    ("socat - TCP:127.0.0.1:4002", None),
    (
        "docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 4002 -container-ip 172.17.0.2 -container-port 4004",
        Forwarder("docker-proxy", "0.0.0.0", 4002, "172.17.0.2", 4004),
    ),
    ("docker-proxy -proto tcp -host-ip :: -host-port 4002 -container-ip x", Forwarder("docker-proxy", "::", 4002)),
    ("docker-proxy -proto udp -host-ip 0.0.0.0 -host-port 4002", None),
    ("docker-proxy", None),
    ("docker-proxy -proto tcp -host-port x", None),
    ("python bot.py TCP-LISTEN:4003", None),
    ("", None),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_what_a_command_line_forwards(line, expected):
    assert forwarder(tuple(line.split(" "))) == expected


@pytest.fixture
def waiting():
    """A process that waits, under the name and with the words of a socat."""
    words = ["socat", "-", "TCP-LISTEN:65003,bind=0.0.0.0"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, executable=shutil.which("cat"), **pipes) as process:
        yield process


async def test_a_process_of_this_machine_is_seen(waiting):
    await until(lambda: look({65003}) == (Forwarder("socat", "0.0.0.0", 65003),), "it to be seen")


def test_where_nothing_can_be_read_there_is_none(tmp_path):
    assert look({4003}, str(tmp_path / "missing")) == ()
    (tmp_path / "17").mkdir()
    assert look({4003}, str(tmp_path)) == ()


@pytest.mark.parametrize(("ports", "found"), [({4003}, 1), ({4002}, 0)])
def test_only_the_ports_asked_about_count(tmp_path, ports, found):
    for number in ("17", "18"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes(b"socat\0TCP-LISTEN:4003,fork\0TCP:127.0.0.1:4002\0")
    assert len(look(ports, str(tmp_path))) == found
