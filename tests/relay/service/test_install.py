"""The service commands as typed, where no service manager runs: what they print, what they refuse and how."""

import os
import subprocess
import sys

import pytest

from relay.service.managers import manager_here
from relay.service.templates import templates
from tests.relay.kit.blackbox import ROOT

pytestmark = pytest.mark.slow  # every case starts a process
no_manager = pytest.mark.skipif(manager_here() is not None, reason="a service manager runs here")


@pytest.fixture
def service(tmp_path):
    """Runs `ib-relay service ...` with an empty home."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("IB_", "XDG_"))}

    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "relay", "service", *words]
        return subprocess.run(command, cwd=ROOT, env=environ | {"HOME": str(tmp_path)}, capture_output=True, text=True)

    return run


def test_print_emits_one_file_exactly(service):
    ran = service(
        "print", "--user", "--manager", "systemd", "--systemd", "252", "--listen", "127.0.0.1:4003", "ib-relay.socket"
    )
    lines = ("ListenStream=[::1]:4003\n", "ListenStream=172.17.0.1:4003\n")
    expected = templates()["systemd/user/ib-relay.socket"]
    for line in lines:
        expected = expected.replace(line, "")
    assert (ran.stdout, ran.stderr, ran.returncode) == (expected, "", 0)


def test_print_of_all_files_says_where_each_would_be(service, tmp_path):
    ran = service("print", "--user", "--manager", "systemd")
    names = [line for line in ran.stdout.splitlines() if line.startswith(f"# {tmp_path}")]
    assert names == [
        f"# {tmp_path}/.config/systemd/user/ib-relay{kind}" for kind in (".socket", ".service", "-closed.target")
    ]


def test_print_can_be_for_another_manager_and_another_version(service):
    assert "<string>local.ib-relay</string>" in service("print", "--user", "--manager", "launchd").stdout
    newer = service("print", "--user", "--manager", "systemd", "--systemd", "257", "ib-relay.service").stdout
    assert "Type=notify-reload\n" in newer and "ExecReload" not in newer


def test_a_file_there_is_not_is_told(service):
    ran = service("print", "--user", "--manager", "systemd", "nothing.service")
    assert ran.returncode == 2 and "allowed: ib-relay.socket, ib-relay.service," in ran.stderr


@no_manager
@pytest.mark.parametrize("command", ["install", "uninstall", "restart", "upgrade"])
def test_without_a_service_manager_everything_is_refused_with_the_reason(service, command, tmp_path):
    ran = service(command, "--user")
    assert (ran.returncode, ran.stdout) == (69, "")
    assert "no systemd and no launchd runs this machine (process 1 is " in ran.stderr and "ib-relay run" in ran.stderr
    assert os.listdir(tmp_path) == []


def test_a_wrong_address_is_a_wrong_configuration(service):
    ran = service("print", "--user", "--manager", "systemd", "--upstream", "4002")
    assert ran.returncode == 78 and "--upstream: seen" in ran.stderr and "Traceback" not in ran.stderr


@no_manager
def test_status_says_what_is_missing(service):
    ran = service("status", "--user")
    assert (ran.returncode, "not installed" in ran.stdout or "no systemd" in ran.stderr) in ((4, True), (69, True))
