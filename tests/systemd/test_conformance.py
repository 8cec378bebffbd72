"""Under its whole sandbox the service does what the relay promises: conformance tests pass, real clients see no change.

Both are made for a plain `ib-relay run`; here they meet the installed unit (see sandboxed.py), whose sessions are moved
and kept as a service does it.
"""

from __future__ import annotations

import asyncio
import collections
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.peers.clients import CLIENTS, PEERS, install_all
from tests.peers.installed import JOURNAL
from tests.systemd.conftest import ZIPAPP
from tests.systemd.machine import ROOT, Machine
from tests.systemd.sandboxed import INSTALLED, NOT_HERE, VARIABLE, as_a_test_wants_it, socket_as_a_test_wants_it

ROUNDS = os.environ.get("IB_RELAY_ROUNDS", "")
NOT_SANDBOX = {
    "Requires",
    "After",
    "OnFailure",
    "Restart",
    "ExecStart",
    "ListenStream",
    "FileDescriptorName",
    "Service",
}
# What every Debian has that was installed and not debootstrapped; names are looked up in it by the relay and by its
# tests.
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"

# For real clients: one map for each case that is played at a time.
PORTS = {4101 + number: 4201 + number for number in range(4)}  # ours -> the gateway's
MAP = """
[[map]]
name = "peers-{listen}"
listen = "127.0.0.1:{listen}"
upstream = "127.0.0.1:{upstream}"
half_close_timeout = 3
"""
# Every library and every version once, and every behaviour once where that is not for the other suite.
SAMPLES = {"bookworm": ("--sample", "--versions"), "trixie": ("--sample",)}


class Inside:
    """The machine with the installed service, for programs of ours whose relay is in there."""

    def __init__(self, machine: Machine, hosts: Path) -> None:
        self.machine, self.hosts = machine, hosts
        machine.put(hosts, "/etc/hosts")

    def run(self, *command: str, environ: dict[str, str]) -> subprocess.CompletedProcess:
        """Run our own Python with our own files, in the machine's network and with what "localhost" means there."""
        enter = ["nsenter", f"--net=/proc/{self.machine.leader}/ns/net", "--", "unshare", "--mount", "sh", "-c"]
        names = ['mount --bind "$0" /etc/hosts && exec "$@"', str(self.hosts)]
        return subprocess.run(
            [*enter, *names, sys.executable, *command],
            cwd=ROOT,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def inside(installed, tmp_path_factory) -> Inside:
    hosts = tmp_path_factory.mktemp("etc") / "hosts"
    hosts.write_text(HOSTS)
    return Inside(installed, hosts)


def test_a_relay_under_test_has_the_installed_unit_but_for_its_command_line_sockets_and_end(inside):
    service, socket = (inside.machine.path(INSTALLED + kind).read_text() for kind in (".service", ".socket"))
    tested = as_a_test_wants_it(service, "test", "/test.toml")
    tested_socket = socket_as_a_test_wants_it(socket, "test", "127.0.0.1:1", "test")
    for before, after in ((service, tested), (socket, tested_socket)):
        changed = set(before.splitlines()) ^ set(after.splitlines())
        assert changed and {line.partition("=")[0] for line in changed} <= NOT_SANDBOX


def test_the_conformance_tests_pass(inside, figure, tmp_path):
    machine, report, started = inside.machine, tmp_path / "report.xml", time.monotonic()
    command = ["-X", "dev", "-W", "error", "-m", "pytest", "-p", "tests.systemd.sandboxed", "-o", "addopts="]
    command += ["--import-mode=importlib", "-q", f"--junitxml={report}", "tests/relay/conformance"]
    command += ["-m", "not long"] if ROUNDS == "quick" else []
    ran = inside.run(*command, environ={VARIABLE: f"{machine.leader}:{machine.suite}"})
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6000:]
    tests = [(case.get("name"), case.find("skipped")) for case in ElementTree.parse(report).iter("testcase")]
    reasons = collections.Counter(skipped.get("message") for _, skipped in tests if skipped is not None)
    passed = len(tests) - reasons.total()
    figure(
        f"{machine.suite}: {passed} conformance tests pass under the sandbox in {time.monotonic() - started:.0f} s, "
        f"{reasons.total()} left out"
    )
    for reason, count in sorted(reasons.items()):
        figure(f"{machine.suite}: left out {count}: {reason}")
    assert passed > 100
    names = {name for whole, _ in tests for name in (whole, whole.partition("[")[0])}
    assert not NOT_HERE.keys() - names, "NOT_HERE names tests there are none of"


@pytest.fixture(scope="module")
def libraries() -> None:
    """The real clients, where tests/peers keeps them; installed out here, for the machine has no network."""
    missing = asyncio.run(install_all(CLIENTS, PEERS))
    assert not missing, {client.name: problem for client, problem in missing.items()}


def test_real_clients_get_through_it_what_they_get_without_it(inside, libraries, figure):
    machine, started = inside.machine, time.monotonic()
    maps = "".join(MAP.format(listen=listen, upstream=upstream) for listen, upstream in PORTS.items())
    machine.path("/etc/ib-relay/config.toml").write_text(f'log_format = "json"\n{maps}')
    machine.run("python3", ZIPAPP, "service", "install")
    sample = {"": SAMPLES[machine.suite], "quick": SAMPLES["bookworm"], "full": ()}[ROUNDS]
    command = ["-m", "tests.peers", *sample, "--jobs", str(len(PORTS)), "--journal"]
    command.append(shlex.join(machine.command(*JOURNAL.split())))
    for listen, upstream in PORTS.items():
        command += ["--installed", f"{listen}={upstream}"]
    pid = machine.main_pid()
    ran = inside.run(*command, environ={})
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6000:]
    assert machine.main_pid() == pid, "another process has taken over meanwhile"
    passed, again = ran.stdout.splitlines()[-1], ran.stdout.count("once more, alone:")
    figure(
        f"{machine.suite}: real clients through the installed service: {passed} ({again} at the second try) "
        f"in {time.monotonic() - started:.0f} s"
    )
