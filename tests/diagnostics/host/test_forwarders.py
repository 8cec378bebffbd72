"""Command lines to forwarders, and those of this machine: a real process that is called like one."""

import shutil
import subprocess

import pytest

from diagnostics.evidence import Forwarder
from diagnostics.host.forwarders import forwarders, look
from tests.relay.kit.loopback import until

UP = "127.0.0.1:4002"
RELAY = "/usr/bin/python3 -I -S /usr/local/lib/ib-relay/ib-relay.pyz run"
LINES = [
    ("socat TCP-LISTEN:4003,fork,bind=0.0.0.0 TCP:127.0.0.1:4002", Forwarder("socat", "0.0.0.0", 4003, UP)),
    ("/usr/bin/socat -d tcp-l:4003,fork tcp:127.0.0.1:4002", Forwarder("socat", "0.0.0.0", 4003, UP)),
    ("socat TCP6-LISTEN:4003,bind=[::1]:x TCP6:[::1]:4002,x", Forwarder("socat", "::1", 4003, "[::1]:4002")),
    ("socat TCP4-LISTEN:4003,bind=127.0.0.1 TCP-CONNECT:gw:4001", Forwarder("socat", "127.0.0.1", 4003, "gw:4001")),
    ("socat TCP-LISTEN:4003 EXEC:cat", Forwarder("socat", "0.0.0.0", 4003)),
    ("socat TCP-LISTEN:4003,fork,range=10.0.0.0/8 TCP:127.0.0.1:4002", Forwarder("socat", "0.0.0.0", 4003, UP, False)),
    ("socat TCP-LISTEN:4003,tcpwrap TCP:127.0.0.1:4002", Forwarder("socat", "0.0.0.0", 4003, UP, False)),
    ("socat - TCP:127.0.0.1:4002", None),
    (
        "docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 4002 -container-ip 172.17.0.2 -container-port 4004",
        Forwarder("docker-proxy", "0.0.0.0", 4002, "172.17.0.2:4004"),
    ),
    (
        "docker-proxy -proto tcp -host-ip :: -host-port 4002 -container-ip fd00::2 -container-port 4004",
        Forwarder("docker-proxy", "::", 4002, "[fd00::2]:4004"),
    ),
    ("docker-proxy -proto tcp -host-ip :: -host-port 4002 -container-ip x", Forwarder("docker-proxy", "::", 4002)),
    ("docker-proxy -proto udp -host-ip 0.0.0.0 -host-port 4002", None),
    ("docker-proxy", None),
    ("docker-proxy -proto tcp -host-port x", None),
    (RELAY, Forwarder("ib-relay", "", 4003, UP, False, True)),
    ("python3 /venv/bin/ib-relay run --config x.toml", Forwarder("ib-relay", "", 4003, UP, False, True)),
    ("python3 -m relay run --upstream 127.0.0.1:4001", Forwarder("ib-relay", "", 4003, "127.0.0.1:4001", False, True)),
    (f"{RELAY} --listen=auto:5003 --upstream={UP}", Forwarder("ib-relay", "", 5003, UP, False, False)),
    (f"{RELAY} --listen [::1]:4003 --upstream gw:4001", Forwarder("ib-relay", "::1", 4003, "gw:4001", False, False)),
    (f"{RELAY} --listen systemd:ib-relay", None),
    ("ib-relay practice --listen 127.0.0.1:4002", None),
    ("ib-relay check-config", None),
    ("vi ib-relay run.txt", None),
    ("python bot.py TCP-LISTEN:4003", None),
    ("", None),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_what_a_command_line_forwards(line, expected):
    assert forwarders(tuple(line.split(" "))) == ((expected,) if expected else ())


def test_a_relay_that_listens_on_several_ports_is_one_forwarder_for_each():
    words = f"{RELAY} --listen 127.0.0.1:4003 --listen auto:4005 --upstream {UP}"
    assert [one.port for one in forwarders(tuple(words.split(" ")))] == [4003, 4005]


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


def test_one_that_is_known_to_have_another_network_is_a_containers(tmp_path):
    for number, network in (("17", "net:[1]"), ("18", "net:[2]"), ("self", "net:[1]"), ("19", None)):
        (tmp_path / number / "ns").mkdir(parents=True)
        (tmp_path / number / "cmdline").write_bytes(f"socat\0TCP-LISTEN:4003,bind=10.0.0.{number}".encode())
        if network:
            (tmp_path / number / "ns" / "net").symlink_to(network)
    assert {one.address for one in look({4003}, str(tmp_path))} == {"10.0.0.17", "10.0.0.19"}


@pytest.mark.parametrize(("ports", "found"), [({4003}, 1), ({4002}, 0)])
def test_only_the_ports_asked_about_count(tmp_path, ports, found):
    for number in ("17", "18"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes(b"socat\0TCP-LISTEN:4003,fork\0TCP:127.0.0.1:4002\0")
    assert len(look(ports, str(tmp_path))) == found
