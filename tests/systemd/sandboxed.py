"""Starts relays as services in a booted machine, in the sandbox of the installed unit, for tests of plain processes.

    IB_RELAY_UNDER_SANDBOX=LEADER:SUITE python -m pytest -p tests.systemd.sandboxed ... tests/relay/conformance

LEADER is the machine's process 1 as seen from here. pytest runs on our own file system with our own Python, in the
machine's network (nsenter --net); only the relay is inside. Its unit is the text that `service install` has written
there, and `as_a_test_wants_it` changes what is not sandbox: whose sockets it takes, its configuration, where its output
goes, and that its end is final. So it is Type=notify with a descriptor store, and its sessions are moved as a service
moves them.

As a pytest plugin this file leaves out what cannot be true of a service (NOT_HERE), each by name and with the reason.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from relay.config.addresses import host_port
from relay.service.render import with_lines, with_values
from tests.relay.kit.scripted import wait_until
from tests.systemd.machine import Machine

VARIABLE = "IB_RELAY_UNDER_SANDBOX"
FOLDER = "/run/ib-relay-tests"  # inside; not /tmp, of which the service sees one of its own
UNITS = "/run/systemd/system"
INSTALLED = "/etc/systemd/system/ib-relay"
REASON = "test_the_record_names_the_reason_and_the_client_sees_an_end_of_that_kind"
STAYS = "the port is systemd's: open before the relay is there, and still open when it goes"
BINDS = "a service binds nothing itself; which addresses its .socket names is looked at in test_service.py"
MANAGED = "sessions are left in systemd's care, not drained; what becomes of them is in test_survival.py"
SHELL = "needs a shell around the relay, and a service has none"

# Test, or test[case] -> why it says nothing about a service. Whatever else fails here is a fault.
NOT_HERE = {
    "test_told_to_go_without_connections_the_relay_is_gone_and_its_port_free_at_once": STAYS,
    "test_after_a_kill_with_live_sessions_the_port_can_be_listened_on_again_at_once": STAYS,
    "test_a_second_relay_on_a_taken_port_fails_loudly_and_names_the_address": BINDS,
    "test_by_default_no_address_but_loopback_and_container_bridges_is_listened_on": BINDS,
    "test_sigterm_refuses_new_clients_at_once_keeps_the_live_session_for_the_drain_and_tells_both_peers": MANAGED,
    "test_a_drain_ends_with_its_last_session": MANAGED,
    "test_a_second_sigterm_ends_a_drain_at_once": MANAGED,
    f"{REASON}[shutdown: stopped_relay]": MANAGED,
    "test_started_with_few_descriptors_the_relay_lets_in_what_fits_and_serves_again_when_clients_leave": SHELL,
    "test_the_soft_limit_of_open_files_is_raised_to_the_hard_one": SHELL,
    "test_a_closed_standard_output_does_not_put_log_lines_into_a_session": SHELL,
}


# The unit


def as_a_test_wants_it(service: str, name: str, config: str) -> str:
    """The installed .service for the sockets of `name`.socket and this configuration file; its end is the end."""
    command = next(line for line in service.splitlines() if line.startswith("ExecStart="))
    for key, value in (("Requires", f"{name}.socket"), ("After", f"{name}.socket network.target"), ("Restart", "no")):
        service = with_values(service, key, [value])
    service = with_lines(service, "OnFailure", [])  # would close the installed relay's port
    return with_lines(service, "ExecStart", [f"{command} --config {config} --log-format json"])


def socket_as_a_test_wants_it(socket: str, name: str, listen: str, port_map: str) -> str:
    """The installed .socket, open at another address for another service and map."""
    for key, value in (("ListenStream", listen), ("FileDescriptorName", port_map), ("Service", f"{name}.service")):
        socket = with_values(socket, key, [value])
    return socket


class Sandbox:
    """Where services can be started: a machine in which the relay is installed."""

    _numbers = itertools.count(1)

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.folder = machine.path(FOLDER)  # for configuration files, which the service must be able to read
        self.folder.mkdir(mode=0o755, exist_ok=True)

    def start(self, config: Path, listen: tuple[str, int], port_map: str, stdout: object) -> Service:
        """A relay with this configuration, ready; `stdout` as for subprocess.Popen."""
        name = f"ib-relay-test-{os.getpid()}-{next(self._numbers)}"
        config.parent.chmod(0o755)
        inside = f"{FOLDER}/{config.relative_to(self.folder)}"
        service, socket = (self.machine.path(INSTALLED + kind).read_text() for kind in (".service", ".socket"))
        socket = socket_as_a_test_wants_it(socket, name, host_port(*listen), port_map)
        self.machine.path(f"{UNITS}/{name}.service").write_text(as_a_test_wants_it(service, name, inside))
        self.machine.path(f"{UNITS}/{name}.socket").write_text(socket)
        return Service(self.machine, name, stdout)


# A running one

# systemd opens what this shell has as its standard output and error, whatever that is, and gives it to the service: so
# a pipe is the service's alone when the shell is gone.
START = """\
set -e
mkdir {units}/{name}.service.d
cat > {units}/{name}.service.d/output.conf <<.
[Service]
StandardOutput=file:/proc/$$/fd/1
StandardError=file:/proc/$$/fd/2
.
systemctl start {name}.socket {name}.service
"""
REMOVE = """\
systemctl stop {name}.socket
systemctl kill --signal=KILL {name}.service 2>/dev/null
systemctl stop {name}.service
systemctl reset-failed {name}.service 2>/dev/null
rm -r {units}/{name}.socket {units}/{name}.service {units}/{name}.service.d
"""
EXIT = ("ExecMainPID", "ExecMainCode", "ExecMainStatus", "ExecMainExitTimestampMonotonic")
EXITED = "1"  # ExecMainCode: CLD_EXITED; others are deaths by a signal
LOCKED_DOWN = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}


class Service:
    """One relay as a service; to its user what subprocess.Popen is to the user of a plain process."""

    def __init__(self, machine: Machine, name: str, stdout: object) -> None:
        self.machine, self.name = machine, name
        self.returncode: int | None = None
        self._watched = -1
        shell = machine.command("sh", "-c", START.format(name=name, units=UNITS))
        starting = subprocess.Popen(shell, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
        self.stdout, self.stderr = starting.stdout, starting.stderr
        try:
            started = starting.wait(60)
            assert started == 0, f"{name} did not start: {self._story()}"
            self._inner = machine.main_pid(f"{name}.service")
            self.pid = self._as_seen_from_here(self._inner)
            self._watched = os.pidfd_open(self.pid)
            self._check_the_sandbox()
        except BaseException:
            for pipe in filter(None, (self.stdout, self.stderr)):
                pipe.close()
            self.remove()
            raise

    def _as_seen_from_here(self, inner: int) -> int:
        """The host's number of one of the machine's processes."""
        for child in Path(f"/proc/{self.machine.leader}/task/{self.machine.leader}/children").read_text().split():
            if int(_status(child)["NSpid"].split()[-1]) == inner:
                return int(child)
        raise AssertionError(f"{self.name} is gone already: {self._story()}")

    def _check_the_sandbox(self) -> None:
        """Nothing here proves anything about a service that is not locked down or keeps nothing."""
        status = _status(self.pid)
        assert {key: status[key] for key in LOCKED_DOWN} == LOCKED_DOWN and "0" not in status["Uid"].split(), status
        kept = self.machine.show(f"{self.name}.service", "NFileDescriptorStore")
        assert int(kept["NFileDescriptorStore"]) > 0, (
            "this relay has nothing in systemd's care: sessions cannot survive it"
        )

    def _story(self) -> str:
        return self.machine.run(
            "systemctl", "status", "--no-pager", "-n", "20", f"{self.name}.service", check=False
        ).stdout

    # What Popen can do

    def poll(self) -> int | None:
        if self.returncode is None and _readable(self._watched, 0):
            self.returncode = self._exit_code()
        return self.returncode

    def wait(self, timeout: float) -> int:
        if self.returncode is None and not _readable(self._watched, timeout):
            raise subprocess.TimeoutExpired(self.name, timeout)
        return self.poll()

    def send_signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._watched, number)

    def _exit_code(self) -> int:
        """As Popen has it, from systemd, which hears of the end at the same time as we do."""

        def told() -> dict[str, str] | None:
            seen = self.machine.show(f"{self.name}.service", *EXIT)
            over = seen["ExecMainExitTimestampMonotonic"] != "0" and int(seen["ExecMainPID"]) == self._inner
            return seen if over else None

        seen = wait_until(told, f"systemd knows how {self.name} ended")
        return int(seen["ExecMainStatus"]) * (1 if seen["ExecMainCode"] == EXITED else -1)

    def remove(self) -> None:
        """End it and leave nothing of it in the machine.

        The socket goes first: whoever waits in its queue would start another.
        """
        if self.returncode is None:
            self.returncode = -signal.SIGKILL
        if self._watched >= 0:
            os.close(self._watched)
            self._watched = -1
        self.machine.run("sh", "-c", REMOVE.format(name=self.name, units=UNITS))


def _status(pid: int | str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _readable(fd: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def from_environment() -> Sandbox | None:
    """The sandbox that VARIABLE names, if it is set."""
    if VARIABLE not in os.environ:
        return None
    leader, suite = os.environ[VARIABLE].split(":")
    return Sandbox(Machine.that_runs(suite, int(leader)))


# The pytest plugin


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what NOT_HERE names."""
    for item in items:
        for name in {item.name, item.originalname} & NOT_HERE.keys():
            item.add_marker(pytest.mark.skip(reason=NOT_HERE[name]))
