"""Machines for the tests: one a suite and test file, the relay installed in it from the zipapp like a user would."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import releases
from tests.relay.kit.scripted import wait_until
from tests.systemd.machine import ROOT, SUITES, Machine, missing_tools

ZIPAPP, PREVIOUS = "/root/ib-relay.pyz", "/root/previous.pyz"
FIGURES: list[str] = []  # what was measured, shown at the end


def pytest_terminal_summary(terminalreporter) -> None:
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def figure():
    """Notes one measured figure for the summary."""
    return FIGURES.append


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory) -> Path:
    """Built by the documented command."""
    target = tmp_path_factory.mktemp("zipapp") / "ib-relay.pyz"
    subprocess.run([sys.executable, "-m", "relay.pyz", target], cwd=ROOT, check=True, capture_output=True)
    return target


@pytest.fixture(scope="session")
def previous(tmp_path_factory) -> Path:
    """The release before this one."""
    return releases.build(releases.PREVIOUS, tmp_path_factory.mktemp("previous") / "previous.pyz")


@pytest.fixture(scope="module", params=SUITES)
def machine(request, zipapp, figure) -> Iterator[Machine]:
    """A booted Debian with the zipapp in root's home and nothing else of ours."""
    if why := missing_tools():
        pytest.skip(why)
    with Machine(request.param) as booted:
        booted.put(zipapp, ZIPAPP)
        figure(f"{request.param}: systemd {booted.version} booted in {booted.boot_seconds:.2f} s")
        yield booted


@pytest.fixture(scope="module")
def gateway(machine) -> Iterator[None]:
    """The practice gateway on the machine's 127.0.0.1:4002."""
    with practice(machine):
        yield


class practice:  # noqa: N801 (used as a function)
    """`ib-relay practice` in the machine's network, run by our own Python."""

    def __init__(self, machine: Machine, port: int = 4002) -> None:
        self.machine, self.port = machine, port

    def __enter__(self) -> subprocess.Popen:
        enter = ["nsenter", f"--net=/proc/{self.machine.leader}/ns/net", "--"]
        command = [sys.executable, "-m", "relay", "practice", "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(
            [*enter, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._listens, "the practice gateway listens")
        return self.process

    def _listens(self) -> bool:
        line = self.machine.run("ss", "-Hltn", f"sport = :{self.port}").stdout
        return bool(line.strip())

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def installed(machine, gateway, figure) -> Machine:
    """The machine after `sudo python3 ib-relay.pyz service install`."""
    started = time.monotonic()
    ran = machine.run("python3", ZIPAPP, "service", "install")
    figure(f"{machine.suite}: install, from the zipapp to proved: {time.monotonic() - started:.2f} s")
    assert "the gateway 127.0.0.1:4002 answers" in ran.stdout, ran.stdout
    return machine


@contextlib.contextmanager
def previous_installed(machine: Machine, previous: Path, maps: str) -> Iterator[Machine]:
    """The previous release with these maps, installed by itself: its units are others than today's."""
    machine.path("/etc/ib-relay").mkdir(exist_ok=True)
    machine.path("/etc/ib-relay/config.toml").write_text(maps)
    machine.put(previous, PREVIOUS)
    with practice(machine):
        machine.run("python3", PREVIOUS, "service", "install")
        yield machine
