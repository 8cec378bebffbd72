"""A name with several addresses is judged as common clients dial it: each row is dialled by them and by ib-diagnose.

Two network namespaces: a client with an /etc/hosts of its own, and the gateway's machine, of whose addresses some lead
nowhere. Run it as root:

    python -X dev -W error -m pytest tests/host/test_names.py
"""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.diagnostics.peers import practice
from tests.host.namespaces import Namespace, join, why_not

reason = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(reason), reason=reason)]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds; it takes five, on a machine that has time
# Addresses of the client's network. The resolver puts IPv6 before IPv4, and of two IPv4 addresses that one first which
# has more bits in common with the client's own (RFC 6724, rule 9).
NAME, PORT = "gateway.example", 4002
CLIENT, CLIENT_6 = "10.98.0.1", "fd00:98::1"
GATEWAY, GATEWAY_6 = "10.98.0.9", "fd00:98::9"
CLOSED = "10.98.0.3"  # the gateway's machine, too; nothing listens there
NOBODY, NOBODY_ELSE = "10.98.0.4", "10.98.0.5"  # three seconds of ARP for each
SWALLOWED, SWALLOWED_6 = "10.98.0.2", "fd00:98::2"  # the client has a hardware address for them, which nobody has

# What ib_async and ib_insync do, by default for 4 s, and what ibapi does, for as long as the kernel does.
ASYNCIO = """
import asyncio, sys
async def connect():
    _, writer = await asyncio.wait_for(asyncio.open_connection(*sys.argv[1:]), 4.0)
    writer.close()
asyncio.run(connect())
"""
IBAPI = """
import socket, sys
with socket.socket() as sock:
    sock.settimeout(4.0)
    sock.connect((sys.argv[1], int(sys.argv[2])))
"""


class Scene:
    """A client and the machine of the gateway."""

    def __init__(self, stack: contextlib.ExitStack, hosts: Path) -> None:
        self.client, self.machine = (stack.enter_context(Namespace(role)) for role in ("client", "machine"))
        self.hosts = hosts
        end, other = join(self.client, f"{CLIENT}/24", self.machine, f"{GATEWAY}/24")
        self.machine.ip("address", "add", f"{CLOSED}/24", "dev", other)
        for host, device, address in ((self.client, end, CLIENT_6), (self.machine, other, GATEWAY_6)):
            host.ip("address", "add", f"{address}/64", "dev", device, "nodad")
        for address in (SWALLOWED, SWALLOWED_6):
            self.client.ip("neighbour", "add", address, "lladdr", "02:00:00:00:00:99", "dev", end)

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A Python at the client, where the name `gateway.example` is what `hosts` says."""
        script = f'mount --bind {self.hosts} /etc/hosts && exec "$@"'
        command = ["ip", "netns", "exec", self.client.name, "sh", "-c", script, "sh", sys.executable, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)


@pytest.fixture
def scene(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Scene(stack, tmp_path / "hosts")


# (the addresses of the name, where the gateway listens, does asyncio get there, does ibapi, the finding, exit code)
ROWS = (
    ("IPv6 is swallowed", (SWALLOWED_6, GATEWAY), (GATEWAY,), False, True, "IBD108", 2),
    ("the first IPv4 address is swallowed", (SWALLOWED, GATEWAY), (GATEWAY,), False, False, "IBD108", 2),
    ("two addresses before it that nobody has", (NOBODY, NOBODY_ELSE, GATEWAY), (GATEWAY,), False, False, "IBD108", 2),
    ("IPv6 is refused and IPv4 is swallowed", (GATEWAY_6, SWALLOWED), (), False, False, "IBD205", 2),
    ("IPv6 is refused", (GATEWAY_6, GATEWAY), (GATEWAY,), True, True, "IBD103", 0),
    ("the first IPv4 address is refused", (CLOSED, GATEWAY), (GATEWAY,), True, False, "IBD109", 0),
    ("IPv6 and nothing else", (GATEWAY_6,), (GATEWAY_6,), True, False, "IBD109", 0),
    ("both work", (GATEWAY_6, GATEWAY), (GATEWAY_6, GATEWAY), True, True, "", 0),
)


@pytest.mark.parametrize(
    "addresses, listening, by_asyncio, by_ibapi, code, exit_code",
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_a_name_works_if_it_works_for_the_clients(scene, addresses, listening, by_asyncio, by_ibapi, code, exit_code):
    scene.hosts.write_text("".join(f"{address} {NAME}\n" for address in addresses))
    with contextlib.ExitStack() as stack:
        with scene.machine.inside():
            for address in listening:
                stack.enter_context(practice(host=address, port=PORT))
        clients = [scene.python("-c", client, NAME, str(PORT)).returncode for client in (ASYNCIO, IBAPI)]
        report = scene.python("-m", "diagnostics", "--target", f"{NAME}:{PORT}")
        check = scene.python("-m", "diagnostics", "check", "--target", f"{NAME}:{PORT}")
    assert [ended == 0 for ended in clients] == [by_asyncio, by_ibapi]
    assert (report.returncode, check.returncode) == (exit_code, exit_code), report.stdout + check.stdout
    assert f" {code}: " in report.stdout if code else "IBD" not in report.stdout
    if code == "IBD108":
        assert report.stdout.startswith(f"Works via {GATEWAY}:{PORT}: session usable")
        assert f": connect TIMED_OUT: {code} " in check.stdout and f"{GATEWAY} answered" in check.stdout
