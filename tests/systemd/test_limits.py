"""The service at its limits: all sessions it admits outlive kills and restarts, and what cannot start gives up."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator

import pytest

from relay.config.limits import QUEUE_FILES, SESSION_FILES, USUAL_SESSIONS
from relay.net.tcp import RECEIVE_BUFFER
from tests.relay.kit.scripted import wait_until
from tests.systemd.conftest import ZIPAPP
from tests.systemd.machine import USER_ID, Machine
from tests.systemd.test_service import drop_in
from tests.systemd.test_survival import settled

SERVICE = "ib-relay.service"
MAP = '[[map]]\nlisten = "127.0.0.1:4003"\nupstream = "127.0.0.1:4012"\nprotocol = "raw"\n'
PATIENCE = 20.0


class Crowd:
    """Sessions through the relay, both of their ends."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        with machine.network():
            self.gateway = socket.create_server(("127.0.0.1", 4012), backlog=64)
        self.gateway.settimeout(PATIENCE)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (sock for pair in self.pairs for sock in pair):
            sock.close()
        self.gateway.close()

    def grow(self, to: int) -> None:
        while len(self.pairs) < to:
            client = self.knock()
            self.pairs.append((client, self.gateway.accept()[0]))
            for sock in self.pairs[-1]:
                sock.settimeout(PATIENCE)

    def knock(self) -> socket.socket:
        with self.machine.network():
            return socket.create_connection(("127.0.0.1", 4003), PATIENCE)

    def alive(self) -> int:
        """How many carry a byte each way."""
        found = 0
        for client, gateway in self.pairs:
            try:
                client.sendall(b"?")
                assert gateway.recv(1) == b"?"
                gateway.sendall(b"!")
                assert client.recv(1) == b"!"
                found += 1
            except (OSError, AssertionError):
                pass
        return found


@pytest.fixture(scope="module", autouse=True)
def files() -> Iterator[None]:
    """Both ends of every session are ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def limited(machine) -> Machine:
    """The service as it is installed by default, with a raw map."""
    machine.path("/etc/ib-relay").mkdir(exist_ok=True)
    machine.path("/etc/ib-relay/config.toml").write_text(MAP)
    with machine.network(), socket.create_server(("127.0.0.1", 4012)):
        machine.run("python3", ZIPAPP, "service", "install")
    return machine


def kept(machine: Machine, user: bool = False) -> int:
    """Descriptors of sessions that systemd has, and a few of listening sockets."""
    flags = ("--user",) if user else ()
    shown = machine.run("systemctl", *flags, "show", SERVICE, "--property=NFileDescriptorStore", "--value", user=user)
    return int(shown.stdout) - QUEUE_FILES - 1  # the numbers


def test_as_many_sessions_as_are_admitted_outlive_kills_and_restarts(limited, figure):
    with Crowd(limited) as crowd:
        crowd.grow(USUAL_SESSIONS)
        with pytest.raises(ConnectionResetError), crowd.knock() as one_more:  # perhaps while it connects
            one_more.recv(1)
        wait_until(lambda: kept(limited) >= SESSION_FILES * USUAL_SESSIONS, "all are kept", 60)
        legs = limited.run("ss", "-Htmn", "sport = :4003").stdout
        assert legs.count(f"rb{2 * RECEIVE_BUFFER}") == USUAL_SESSIONS, "systemd's listener bounds buffers, too"
        started = time.monotonic()
        for _ in range(2):
            pid = limited.main_pid()
            limited.run("kill", "-KILL", str(pid))
            settled(limited, pid)
            limited.run("systemctl", "restart", SERVICE)
            assert crowd.alive() == USUAL_SESSIONS
        figure(
            f"{limited.suite}: {USUAL_SESSIONS} sessions, 2 kills and 2 restarts in {time.monotonic() - started:.1f} s"
        )
        said = limited.run("ib-relay", "service", "status").stdout
        assert f"{USUAL_SESSIONS} live sessions" in said and "not kept" not in said
        assert "status=202/FDS" not in limited.journal()
    wait_until(lambda: kept(limited) < SESSION_FILES * 10, "they are gone", 60)


def test_more_sessions_than_are_kept_are_carried_and_told(limited):
    """Room for two: an administrator has changed the unit."""
    drop_in(limited, "[Service]\nFileDescriptorStoreMax=135\nEnvironment=FDSTORE=135\n")
    try:
        limited.run("systemctl", "restart", SERVICE)
        since = len(limited.journal())
        with Crowd(limited) as crowd:
            crowd.grow(5)
            wait_until(lambda: "no room for more than 2 sessions" in limited.journal()[since:], "the log says so")
            wait_until(
                lambda: "3 of them not kept" in limited.run("ib-relay", "service", "status").stdout,
                "status says so",
                20,
            )
            assert crowd.alive() == 5
            limited.run("systemctl", "restart", SERVICE)
            assert crowd.alive() == 2
        journal = limited.journal()[since:]
        assert journal.count("no room for more than 2 sessions") == 1
        assert "3 live connections to end within 10 s, 2 left to the service manager" in journal
        assert journal.count("[shutdown: by relay") == 3
    finally:
        drop_in(limited, "")
        limited.run("systemctl", "restart", SERVICE)


def test_a_service_that_cannot_start_gives_up_says_why_and_can_be_started_again(limited, figure):
    with Crowd(limited) as crowd:
        crowd.grow(20)
        wait_until(lambda: kept(limited) >= SESSION_FILES * 20, "all are kept", 20)
        drop_in(limited, "[Unit]\nStartLimitBurst=8\n[Service]\nLimitNOFILE=40\n")
        try:
            started = time.monotonic()
            limited.run("kill", "-KILL", str(limited.main_pid()))
            wait_until(lambda: refuses(limited), "the port refuses", 60)
            figure(f"{limited.suite}: 8 starts that failed were over after {time.monotonic() - started:.1f} s")
            shown = limited.show(SERVICE, "ActiveState", "ExecMainStatus")
            assert shown == {"ActiveState": "failed", "ExecMainStatus": "202"}
            said = limited.run("ib-relay", "service", "status", check=False)
            assert said.returncode == 3 and "systemd gave up" in said.stdout and "LimitNOFILE= is too" in said.stdout
            assert "closed, because the relay cannot start" in said.stdout
        finally:
            drop_in(limited, "")
    with limited.network(), socket.create_server(("127.0.0.1", 4012)):
        limited.run("ib-relay", "service", "restart")
    with Crowd(limited) as crowd:
        crowd.grow(1)
        assert crowd.alive() == 1


def refuses(machine: Machine) -> bool:
    try:
        with machine.network():
            socket.create_connection(("127.0.0.1", 4003), 1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def test_a_user_s_service_keeps_what_the_user_s_own_limit_has_room_for(machine):
    """The manager of a user may not raise a hard limit: it sets what it can, and tells nobody."""
    if machine.path("/etc/systemd/system/ib-relay.service").exists():
        machine.run("ib-relay", "service", "uninstall", "--purge")
    folder = machine.path(f"/etc/systemd/system/user@{USER_ID}.service.d")
    folder.mkdir()
    (folder / "limit.conf").write_text("[Service]\nLimitNOFILE=512\n")
    machine.run("systemctl", "daemon-reload")
    machine.start_user_manager()
    place = "/home/tester/ib-relay.pyz"
    machine.path(place).write_bytes(machine.path(ZIPAPP).read_bytes())
    machine.run("mkdir", "-p", "/home/tester/.config/ib-relay", user=True)
    machine.path("/home/tester/.config/ib-relay/config.toml").write_text(MAP)
    with machine.network(), socket.create_server(("127.0.0.1", 4012)):
        machine.run("python3", place, "service", "install", user=True)
    with Crowd(machine) as crowd:
        crowd.grow(60)
        wait_until(lambda: kept(machine, user=True) >= SESSION_FILES * 30, "as many as there is room for are kept", 20)
        wait_until(lambda: "of them not kept" in status_of_user(machine, place), "status says so", 20)
        before = kept(machine, user=True) // SESSION_FILES
        machine.run("systemctl", "--user", "kill", "-s", "KILL", SERVICE, user=True)
        wait_until(lambda: crowd.alive() >= before, "the service has started again, with its sessions", 30)
    machine.run("python3", place, "service", "uninstall", "--purge", user=True)


def status_of_user(machine: Machine, place: str) -> str:
    return machine.run("python3", place, "service", "status", user=True).stdout
