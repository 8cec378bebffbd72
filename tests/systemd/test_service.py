"""The service in a booted systemd: activation, states, reload, crash loops, hangs, a stalled journal, address filter.

The order within the file is the order of a machine's life: later tests use what earlier ones installed, none leaves a
fault.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from relay.wire.hello import ClientHello
from relay.wire.messages import StartApi, encode
from tests.relay.kit.scripted import wait_until
from tests.systemd.conftest import ZIPAPP
from tests.systemd.machine import Machine

SERVICE = "ib-relay.service"
CONFIGURATION = "/etc/ib-relay/config.toml"
DROP_IN = f"/etc/systemd/system/{SERVICE}.d"
HELLO = ClientHello(100, 176).encode()
COLD_START = 6  # times what `ib-relay --version` takes: to the first byte through a relay that was not running


def knock(machine: Machine, source: str = "127.0.0.1", host: str = "127.0.0.1", patience: float = 5.0) -> bytes:
    """What a client's hello is answered with; OSError when the port cannot be had."""
    with machine.network(), socket.create_connection((host, 4003), patience, (source, 0)) as sock:
        sock.sendall(HELLO)
        return sock.recv(100)


def attempt(machine: Machine, source: str = "127.0.0.1", host: str = "127.0.0.1") -> bytes:
    """The same, b"" when nothing comes of it."""
    try:
        return knock(machine, source, host, patience=2.0)
    except OSError:
        return b""


def answers(machine: Machine) -> bool:
    return b"176" in attempt(machine)


def configure(machine: Machine, text: str) -> None:
    machine.path(CONFIGURATION).write_text(text)


def drop_in(machine: Machine, text: str) -> None:
    """Change the unit the way an administrator does; "" takes it back."""
    folder = machine.path(DROP_IN)
    folder.mkdir(exist_ok=True)
    (folder / "test.conf").write_text(text)
    if not text:
        (folder / "test.conf").unlink()
        folder.rmdir()
    machine.run("systemctl", "daemon-reload")


def test_a_dry_run_changes_nothing(machine):
    before = files(machine)
    said = machine.run("python3", ZIPAPP, "service", "install", "--dry-run").stdout
    assert "would write /etc/systemd/system/ib-relay.service" in said
    assert files(machine) == before


def files(machine: Machine) -> set[str]:
    """Every file, without what the running system writes for itself."""
    return set(machine.run("find", "/", "-xdev", "-path", "/var/log", "-prune", "-o", "-print").stdout.splitlines())


@pytest.fixture(scope="module")
def files_before(machine) -> set[str]:
    return files(machine)


def test_it_is_installed_locked_down_and_told_so(files_before, installed):
    said = installed.run("ib-relay", "service", "status").stdout
    assert "active (running)" in said and "drift           none" in said
    assert "of the relay's own; there are no live sessions" in said and "last end" not in said, said
    assert installed.show(SERVICE, "StatusText")["StatusText"].startswith("listening on 127.0.0.1:4003")
    status = installed.path(f"/proc/{installed.main_pid()}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (fields["CapEff"], fields["CapBnd"]) == ("0" * 16, "0" * 16)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert "0" not in fields["Uid"].split()
    folder = installed.path("/etc/ib-relay").stat()
    assert (folder.st_uid, folder.st_mode & 0o777) == (0, 0o755)


def test_systemd_finds_no_fault_in_the_units_and_an_exposure_of_at_most_one(installed, figure):
    units = [f"/etc/systemd/system/ib-relay{kind}" for kind in (".socket", ".service", "-closed.target")]
    verified = installed.run("systemd-analyze", "verify", "--man=no", *units)
    assert verified.stdout + verified.stderr == ""
    said = installed.run("systemd-analyze", "security", "--offline=true", "--threshold=10", units[1]).stdout
    figure(f"{installed.suite}: {said.strip().splitlines()[-1].lstrip('→ ')}")


def test_installing_again_changes_nothing(installed):
    pid = installed.main_pid()
    assert "nothing to change" in installed.run("python3", ZIPAPP, "service", "install").stdout
    assert installed.main_pid() == pid


def test_print_emits_the_bytes_that_are_installed(installed):
    for name in ("ib-relay.socket", "ib-relay.service", "ib-relay-closed.target"):
        printed = installed.run("ib-relay", "service", "print", name).stdout
        assert printed == installed.path(f"/etc/systemd/system/{name}").read_text()


def test_the_first_connection_starts_it(installed, figure):
    """No slower than its program needs for a word, by a factor: both take as long as the processors let them."""
    times, words = [], []
    for _ in range(5):
        installed.run("systemctl", "stop", SERVICE)
        assert installed.show("ib-relay.socket", "ActiveState")["ActiveState"] == "active"
        started = time.monotonic()
        installed.run("ib-relay", "--version")
        words.append(time.monotonic() - started)
        started = time.monotonic()
        assert b"176" in knock(installed)
        times.append(time.monotonic() - started)
    cold, word = min(times), min(words)
    figure(f"{installed.suite}: first byte through a cold start: {cold * 1000:.0f} ms; --version: {word * 1000:.0f} ms")
    assert cold <= COLD_START * word


def test_a_stop_waits_for_the_sessions_and_a_restart_does_not(installed, figure):
    with installed.network():
        client = socket.create_connection(("127.0.0.1", 4003), 5)
    with client:
        client.sendall(HELLO)
        assert b"176" in client.recv(100)
        started = time.monotonic()
        installed.run("systemctl", "restart", SERVICE)
        restarted = time.monotonic() - started
        stopping = threading.Thread(target=installed.run, args=("systemctl", "stop", SERVICE))
        stopping.start()
        wait_until(
            lambda: "SIGUSR1: no new clients, 1 live connection to end within 10 s" in installed.journal(), "it drains"
        )
        client.sendall(encode(StartApi(5), 176))
        assert client.recv(100)
        assert stopping.is_alive()
    stopping.join(5)
    assert not stopping.is_alive(), "the last session is gone, and nothing to wait for"
    assert "end.reason=client_left_in_handshake" not in installed.journal().rpartition("SIGUSR1")[2]
    figure(f"{installed.suite}: a restart with a live session took {restarted:.2f} s")
    assert restarted < 5 and answers(installed)


def test_a_reload_is_done_when_systemctl_returns(installed, figure):
    early = 0
    for number in range(20):
        configure(installed, f"log_interval = {100 + number}\n")
        since = installed.journal().count("reload: ")
        installed.run("systemctl", "reload", SERVICE)
        if installed.version >= 253:
            early += installed.show(SERVICE, "StatusText")["StatusText"].startswith("reload")
        wait_until(lambda since=since: installed.journal().count("reload: ") > since, "the reload is logged")
    pid = installed.main_pid()
    configure(installed, "log_interval = nonsense\n")
    installed.run("systemctl", "reload", SERVICE)
    wait_until(lambda: "refused, the old configuration stays" in installed.journal(), "the refusal is logged")
    assert installed.main_pid() == pid and answers(installed)
    told = installed.run("ib-relay", "service", "status", check=False)
    assert told.returncode == 78 and "next start     will fail" in told.stdout, told.stdout
    configure(installed, "")
    installed.run("systemctl", "reload", SERVICE)
    assert early == 0


def test_a_crash_loop_heals_by_itself(installed, figure):
    program = installed.path("/usr/local/lib/ib-relay/ib-relay.pyz")
    good = program.read_bytes()
    program.write_bytes(b"raise SystemExit(1)\n")
    installed.run("systemctl", "kill", "-s", "KILL", SERVICE)
    time.sleep(6.5)  # past every default limit: five starts in ten seconds, twenty triggers in two
    crashed = int(installed.show(SERVICE, "NRestarts")["NRestarts"])
    assert crashed >= 4 and installed.show("ib-relay.socket", "ActiveState")["ActiveState"] == "active"
    program.write_bytes(good)
    started = time.monotonic()
    assert b"176" in knock(installed, patience=10)  # it waited in the kernel's queue
    figure(f"{installed.suite}: healed {time.monotonic() - started:.1f} s after the repair, {crashed} crashes")


def test_a_wrong_configuration_refuses_instead_of_hanging(installed, figure):
    configure(installed, "nonsense = 1\n")
    try:
        installed.run("systemctl", "restart", SERVICE, check=False)
        started = time.monotonic()
        wait_until(lambda: refuses(installed), "the port refuses", 20)
        figure(f"{installed.suite}: exit 78, the port refuses after {time.monotonic() - started:.1f} s")
        assert installed.show(SERVICE, "ExecMainStatus")["ExecMainStatus"] == "78"
        ran = installed.run("ib-relay", "service", "restart", check=False)
        assert ran.returncode == 78 and "nonsense" in ran.stderr
        said = installed.run("ib-relay", "service", "status", check=False)
        assert said.returncode == 3 and "nonsense: unknown key" in said.stdout and "exit code 78" in said.stdout
        assert "closed because" in installed.run("systemctl", "status", "--no-pager", "ib-relay-closed.target").stdout
    finally:
        configure(installed, "")
    installed.run("ib-relay", "service", "restart")
    assert answers(installed)


def refuses(machine: Machine) -> bool:
    try:
        knock(machine, patience=1)
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def test_a_stalled_journal_does_not_stop_forwarding(installed, figure):
    journald = int(installed.show("systemd-journald.service", "MainPID")["MainPID"])
    installed.run("kill", "-STOP", str(journald))
    try:
        started = time.monotonic()
        served = sum(b"176" in knock(installed) for _ in range(1500))
        took = time.monotonic() - started
    finally:
        installed.run("kill", "-CONT", str(journald))
    figure(f"{installed.suite}: {served} sessions in {took:.1f} s while the journal stood still")
    assert served == 1500


HANGS = """\
import runpy, signal, sys, time
def blocks_for_ever(*_):
    time.sleep(1000)
signal.signal(signal.SIGRTMIN, blocks_for_ever)
sys.argv = ["ib-relay", "run"]
sys.path.insert(0, "/usr/local/lib/ib-relay/ib-relay.pyz")
runpy.run_path("/usr/local/lib/ib-relay/ib-relay.pyz", run_name="__main__")
"""


def test_the_watchdog_replaces_a_hung_relay_and_its_stack_is_in_the_journal(installed, figure):
    installed.path("/usr/local/lib/ib-relay/hangs.py").write_text(HANGS)
    command = "/usr/bin/python3 -I /usr/local/lib/ib-relay/hangs.py"
    drop_in(installed, f"[Service]\nWatchdogSec=1\nExecStart=\nExecStart={command}\n")
    try:
        installed.run("systemctl", "restart", SERVICE)
        pid = installed.main_pid()
        started = time.monotonic()
        installed.run("kill", f"-{signal.SIGRTMIN:d}", str(pid))
        wait_until(lambda: installed.main_pid() not in (0, pid), "another process is there", 15)
        assert answers(installed)
        figure(f"{installed.suite}: a hang (watchdog 1 s) was over after {time.monotonic() - started:.1f} s")
        journal = installed.journal()
        assert 'hangs.py", line 3 in blocks_for_ever' in journal and "Watchdog timeout" in journal
    finally:
        drop_in(installed, "")
        installed.path("/usr/local/lib/ib-relay/hangs.py").unlink()
        installed.run("systemctl", "restart", SERVICE)


FILTER = [
    # from, to, whether it gets in
    ("127.0.0.1", "127.0.0.1", True),
    ("172.17.0.1", "172.17.0.1", True),  # Docker's bridge, which has come after the port
    ("198.51.100.2", "127.0.0.1", False),  # the kernel drops it
    ("198.51.100.2", "172.17.0.1", False),
    ("10.99.0.2", "127.0.0.1", True),  # in a range of containers, and an address of this machine's own
    ("10.99.0.2", "172.17.0.1", True),
]


ASKS_TWICE = """
import socket
import subprocess
import sys
for _ in range(2):
    try:
        with socket.create_connection(("172.17.0.1", 4003), 5) as sock:
            assert not sock.recv(1)
    except ConnectionResetError:
        pass
"""


def turned_away_from_outside(machine: Machine) -> None:
    """Two clients at 10.99.1.3, which could be a container's: the relay knows that it is not, and says so."""
    with machine.network(), subprocess.Popen(["unshare", "--net", "sleep", "100"]) as outside:
        inside = ["nsenter", "--net", f"--target={outside.pid}"]
        try:
            for command in (
                ["ip", "link", "add", "wan0", "type", "veth", "peer", "name", "wan1"],
                ["ip", "addr", "add", "10.99.1.1/24", "dev", "wan0"],
                ["ip", "link", "set", "wan0", "up"],
                ["ip", "link", "set", "wan1", "netns", str(outside.pid)],
                [*inside, "ip", "addr", "add", "10.99.1.3/24", "dev", "wan1"],
                [*inside, "ip", "link", "set", "wan1", "up"],
                [*inside, "ip", "route", "add", "default", "via", "10.99.1.1"],
                [*inside, sys.executable, "-c", ASKS_TWICE],
            ):
                wait_until(lambda: Path(f"/proc/{outside.pid}/comm").read_text() == "sleep\n", "it has its own network")
                subprocess.run(command, check=True)
        finally:
            outside.kill()


def test_the_kernel_lets_in_who_is_listed_and_drops_the_rest(installed):
    installed.run("ip", "link", "add", "docker0", "type", "bridge")
    installed.run("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
    installed.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    installed.run("ip", "addr", "add", "198.51.100.2/24", "dev", "lan0")
    installed.run("ip", "addr", "add", "10.99.0.2/24", "dev", "lan1")
    for link in ("docker0", "lan0", "lan1"):
        installed.run("ip", "link", "set", link, "up")
    wait_until(lambda: b"176" in attempt(installed, "172.17.0.1", "172.17.0.1"), "the relay has seen the bridge", 15)
    seen = []
    for source, host, _ in FILTER:
        seen.append((source, host, b"176" in attempt(installed, source, host)))
    assert seen == FILTER
    turned_away_from_outside(installed)
    journal = installed.journal()
    assert journal.count("10.99.1.3 is in none of the allowed networks") == 2 and "198.51.100.2" not in journal
    loaded = ", ".join(installed.show("ib-relay.socket", "IPAddressAllow")["IPAddressAllow"].split())
    assert f"enforced by the kernel: only {loaded}; " in installed.run("ib-relay", "service", "status").stdout
    loud = installed.run("journalctl", "-t", "ib-relay", "-p", "warning", "--no-pager", "-o", "cat").stdout
    assert loud.count("10.99.1.3 is in none of the allowed networks") == 2 and " INFO " not in loud
    assert "<4>" not in loud


def test_status_tells_drift_and_install_mends_it(installed):
    unit = installed.path(f"/etc/systemd/system/{SERVICE}")
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHome=no"))
    said = installed.run("ib-relay", "service", "status").stdout
    assert "has now ProtectHome=no" in said and "install would write ProtectHome=yes" in said
    mended = installed.run("python3", ZIPAPP, "service", "install").stdout
    assert "replace /etc/systemd/system/ib-relay.service" in mended and "restart --no-block ib-relay.service" in mended
    assert "drift           none" in installed.run("ib-relay", "service", "status").stdout


def test_another_map_gets_a_port_of_its_own_with_the_next_install(installed):
    maps = [
        f'[[map]]\nname = "{name}"\nlisten = "127.0.0.1:{port}"\n' for name, port in (("paper", 4003), ("live", 4004))
    ]
    configure(installed, "\n".join(maps))
    said = installed.run("python3", ZIPAPP, "service", "install").stdout
    assert "remove /etc/systemd/system/ib-relay.socket" in said and said.count("answers (") == 2, said
    assert "drift           none" in installed.run("ib-relay", "service", "status").stdout
    configure(installed, "")
    installed.run("python3", ZIPAPP, "service", "install")
    assert answers(installed) and not installed.path("/etc/systemd/system/ib-relay-live.socket").exists()
    with pytest.raises(ConnectionRefusedError), installed.network():
        socket.create_connection(("127.0.0.1", 4004), 2)


def test_flags_never_overrule_a_configuration_that_is_there(installed):
    configure(installed, '[[map]]\nupstream = "127.0.0.1:4002"\n')
    ran = installed.run("python3", ZIPAPP, "service", "install", "--upstream", "127.0.0.1:4001", check=False)
    assert ran.returncode == 78 and "change it there" in ran.stderr
    installed.run("python3", ZIPAPP, "service", "install", "--upstream", "127.0.0.1:4002")


def test_uninstalling_leaves_nothing_but_the_configuration(files_before, installed):
    machine = installed
    machine.run("ib-relay", "service", "uninstall")
    left = {path for path in files(machine) - files_before if "__pycache__" not in path}
    assert left == {"/etc/ib-relay", CONFIGURATION}
    assert machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "ib-relay*").stdout == ""
    assert "nothing was installed" in machine.run("python3", ZIPAPP, "service", "uninstall").stdout
    machine.run("python3", ZIPAPP, "service", "uninstall", "--purge")
    assert not machine.path("/etc/ib-relay").exists()


def test_a_port_that_is_taken_is_told_before_anything_is_touched(machine, files_before):
    with machine.network(), socket.create_server(("127.0.0.1", 4003)):
        ran = machine.run("python3", ZIPAPP, "service", "install", check=False)
    assert ran.returncode == 69 and "port 4003 of 127.0.0.1 is taken" in ran.stderr
    assert {path for path in files(machine) - files_before if "__pycache__" not in path} == set()


def test_a_user_without_rights_is_told_what_to_type(machine):
    machine.path("/home/tester/ib-relay.pyz").write_bytes(machine.path(ZIPAPP).read_bytes())
    command = (
        "setpriv",
        "--reuid=1000",
        "--clear-groups",
        "python3",
        "/home/tester/ib-relay.pyz",
        "service",
        "install",
    )
    ran = machine.run(*command, "--system", check=False)
    assert ran.returncode == 77 and "needs root: sudo" in ran.stderr


def test_a_user_gets_a_service_of_their_own(machine, gateway):
    machine.start_user_manager()
    place = "/home/tester/ib-relay.pyz"
    machine.path(place).write_bytes(machine.path(ZIPAPP).read_bytes())
    os.chown(machine.path(place), 1000, 1000)
    said = machine.run("python3", place, "service", "install", user=True).stdout
    assert "the gateway 127.0.0.1:4002 answers" in said, said
    status = machine.run("python3", place, "service", "status", user=True).stdout
    assert "active (running)" in status and "drift           none" in status
    assert answers(machine)
    machine.run("systemctl", "--user", "reload", SERVICE, user=True)
    with machine.network():
        client = socket.create_connection(("127.0.0.1", 4003), 5)
    with client:
        client.sendall(HELLO)
        assert b"176" in client.recv(100)
        stopping = threading.Thread(
            target=machine.run, args=("systemctl", "--user", "stop", SERVICE), kwargs={"user": True}
        )
        stopping.start()
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.recv(1)  # it drains
    stopping.join(5)
    assert not stopping.is_alive()
    machine.run("python3", place, "service", "uninstall", "--purge", user=True)
    left = machine.run("find", "/home/tester", "-name", "*ib-relay*").stdout.split()
    assert left == [place]
