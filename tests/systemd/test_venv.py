"""The other ways to have the relay: pip in a venv, for the system and for a user (pipx makes just such a venv)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.systemd.conftest import practice
from tests.systemd.machine import ROOT, USER_ID, Machine

WHEELS = "/opt/wheels"
PIP = ("-m", "pip", "install", "-q", "--no-index", "--find-links", WHEELS, "ib-relay")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> list[Path]:
    """Ours and what it needs, as files: the machine has no network."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def stocked(machine, wheels) -> Machine:
    machine.path(WHEELS).mkdir()
    for wheel in wheels:
        machine.put(wheel, WHEELS)
    with practice(machine):
        yield machine


def test_a_venv_for_everybody_is_a_service_of_the_system(stocked):
    stocked.run("python3", "-m", "venv", "/opt/ib-relay")
    stocked.run("/opt/ib-relay/bin/python", *PIP)
    said = stocked.run("/opt/ib-relay/bin/ib-relay", "service", "install").stdout
    assert "the gateway 127.0.0.1:4002 answers" in said
    status = stocked.run("/opt/ib-relay/bin/ib-relay", "service", "status").stdout
    assert "active (running)" in status and "drift           none" in status
    assert "restarted" in stocked.run("/opt/ib-relay/bin/ib-relay", "service", "restart").stdout
    assert "to 0.1.0" not in stocked.run("/opt/ib-relay/bin/ib-relay", "service", "upgrade").stdout
    stocked.run("/opt/ib-relay/bin/ib-relay", "service", "uninstall", "--purge")
    assert stocked.path("/opt/ib-relay/bin/ib-relay").exists()


def test_a_venv_in_roots_home_is_refused_with_the_reason(stocked):
    stocked.run("python3", "-m", "venv", "/root/venv")
    stocked.run("/root/venv/bin/python", *PIP)
    ran = stocked.run("/root/venv/bin/ib-relay", "service", "install", check=False)
    assert (
        ran.returncode == 69
        and "/root/venv/bin/python lies below /root, which a service of the system does not see" in ran.stderr
    )


def test_a_venv_of_a_user_is_a_service_of_the_user(stocked):
    stocked.start_user_manager()
    stocked.run("python3", "-m", "venv", "/home/tester/venv", user=True)
    stocked.run("/home/tester/venv/bin/python", *PIP, user=True)
    said = stocked.run("/home/tester/venv/bin/ib-relay", "service", "install", user=True).stdout
    assert "the gateway 127.0.0.1:4002 answers" in said
    pid = int(stocked.run("systemctl", "--user", "show", "ib-relay", "-P", "MainPID", user=True).stdout)
    assert stocked.path(f"/proc/{pid}").stat().st_uid == USER_ID
    stocked.run("/home/tester/venv/bin/ib-relay", "service", "uninstall", "--purge", user=True)
