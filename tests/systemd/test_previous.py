"""The installed release before this one becomes today's under real systemd: in place, and after kill -9; and back.

The same traffic as in test_survival.py: four checked streams, an ib_async session with ticks, a hammer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.systemd.conftest import PREVIOUS, ZIPAPP, previous_installed
from tests.systemd.machine import Machine
from tests.systemd.test_survival import MAPS, QUICK, Traffic, ib_async, settled  # noqa: F401 (a fixture)

INSTALLED = "/usr/local/lib/ib-relay/ib-relay.pyz"
SOCKETS_ANEW = 6  # as many new connections may fail as at so many kills
ROUNDS = 3 if QUICK else 20  # from the previous release to today's, and as many back


@pytest.fixture(scope="module")
def installed(machine, previous) -> Iterator[Machine]:
    with previous_installed(machine, previous, MAPS):
        yield machine


def versions(number: int) -> str:
    """What is put in place in that round: today's first."""
    return PREVIOUS if number % 2 else ZIPAPP


def put(machine: Machine, program: str) -> None:
    machine.run("cp", program, f"{INSTALLED}.new")
    machine.run("mv", f"{INSTALLED}.new", INSTALLED)


def test_upgrades_in_place(installed, ib_async, figure):  # noqa: F811 (the fixture)
    with Traffic(installed, ib_async) as traffic:
        pid = installed.main_pid()
        for number in range(2 * ROUNDS):
            put(installed, versions(number))
            said = installed.run("ib-relay", "upgrade", "--pid", str(pid)).stdout
            assert "is the new program" in said, said
            time.sleep(0.1)
        assert installed.main_pid() == pid
    figure(f"{installed.suite}: {ROUNDS} upgrades from the previous release and back: {traffic.figures()}")
    traffic.check()


def test_kills(installed, ib_async, figure):  # noqa: F811 (the fixture)
    with Traffic(installed, ib_async) as traffic:
        pid = installed.main_pid()
        for number in range(2 * ROUNDS):
            put(installed, versions(number))
            installed.run("kill", "-KILL", str(pid))
            pid = settled(installed, pid)
            time.sleep(0.1)
    figure(f"{installed.suite}: {ROUNDS} kills from the previous release to today's and back: {traffic.figures()}")
    traffic.check(2 * ROUNDS)


def test_todays_installer_upgrades_it_and_its_session_lives(installed, ib_async, previous, figure):  # noqa: F811
    put(installed, PREVIOUS)
    installed.run("systemctl", "restart", "ib-relay.service")
    with Traffic(installed, ib_async) as traffic:
        said = installed.run("python3", ZIPAPP, "service", "upgrade").stdout
        assert "the gateway" in said
        time.sleep(0.5)
    figure(f"{installed.suite}: `service upgrade` from the previous release: {traffic.figures()}")
    # Its .socket units differ, so systemd binds them anew: a connection in their queue at that moment is refused.
    traffic.check(kills=SOCKETS_ANEW)
