"""`service upgrade` to programs with a fault, while a session lives: refused or undone, and the session goes on.

A fault that shows anywhere is found in the rehearsal; one that shows only where systemd runs the program is undone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.wire.hello import ClientHello
from tests.relay.service.test_rehearsal import variant
from tests.systemd.conftest import ZIPAPP, previous_installed
from tests.systemd.machine import Machine

SERVICE = "ib-relay.service"
PROGRAM = "/usr/local/lib/ib-relay/ib-relay.pyz"
UNITS = tuple(f"/etc/systemd/system/{name}" for name in (SERVICE, "ib-relay-closed.target", "ib-relay-raw.socket"))
NEW = "/root/new.pyz"
HELLO = ClientHello(100, 176).encode()
MAPS = """\
[[map]]
name = "paper"
listen = "127.0.0.1:4003"
[[map]]
name = "raw"
listen = "127.0.0.1:4023"
upstream = "127.0.0.1:4012"
protocol = "raw"
"""


@pytest.fixture(scope="module")
def installed(machine, previous) -> Iterator[Machine]:
    with previous_installed(machine, previous, MAPS):
        yield machine


@pytest.fixture
def session(installed) -> Iterator[socket.socket]:
    """A client of the raw map whose gateway says everything back; it lives at the end of the test as well."""
    with installed.network():
        server = socket.create_server(("127.0.0.1", 4012))
    serving = threading.Thread(target=_say_back, args=(server,))
    serving.start()
    try:
        with installed.network():
            client = socket.create_connection(("127.0.0.1", 4023), 10)
        with client:
            client.settimeout(30)
            assert says(client)
            yield client
            assert says(client), "the session goes on"
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        serving.join(10)


def _say_back(server: socket.socket) -> None:
    def echo(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(100):
                sock.sendall(data)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()


def says(client: socket.socket) -> bool:
    client.sendall(b"x")
    return client.recv(1) == b"x"


def there(machine: Machine) -> list[bytes]:
    """What is installed, byte by byte."""
    return [machine.path(name).read_bytes() for name in (PROGRAM, *UNITS)]


def put_new(machine: Machine, zipapp: Path, folder: Path, *change: str) -> None:
    machine.put(variant(zipapp, folder / "new.pyz", *change), NEW)


SERVER = ("relay/server.py", "class Relay:")
ACCEPT = ("relay/acceptor.py", "    def accept(self")
INSTALL = ("relay/service/install.py", "def install(")
STATE = ("relay/survival/state.py", "FORMAT = 1")
ON_THE_SIDE = [
    # what is wrong, (file, text, instead of it), words
    ("it fails", (*SERVER, "raise RuntimeError('a fault')\nclass Relay:"), "RuntimeError: a fault"),
    ("no Python", (*SERVER, "class Relay(:"), "new.pyz is damaged: "),
    ("no Python at once", (*INSTALL, "def install((:"), "this program is damaged: "),
    (
        "it accepts nobody",
        (*ACCEPT, "    def accept(self, *_):\n        pass\n\n    def other(self"),
        "takes nobody in a map",
    ),
    ("another state", (*STATE, "FORMAT = 2"), "cannot go on with the sessions that live now, "),
]


@pytest.mark.parametrize("change, words", [row[1:] for row in ON_THE_SIDE], ids=[row[0] for row in ON_THE_SIDE])
def test_a_fault_that_shows_in_the_rehearsal_changes_nothing(installed, session, zipapp, tmp_path, change, words):
    before, pid = there(installed), installed.main_pid()
    put_new(installed, zipapp, tmp_path, *change)
    ran = installed.run("python3", NEW, "service", "upgrade", check=False)
    assert ran.returncode == 69 and "nothing was changed: " in ran.stderr and words in ran.stderr, ran
    assert "Traceback" not in ran.stderr
    assert there(installed) == before and installed.main_pid() == pid


WHERE_SYSTEMD_RUNS_IT = """\
    import os
    if "INVOCATION_ID" in os.environ:
        {}
    await relay.start()
"""
ONLY_IB = (
    "accept = relay._listeners._accept; relay._listeners._accept = lambda one: one.map.name != 'raw' and accept(one)"
)
IN_PLACE = [
    # what is wrong, what it does before it starts, words
    ("it fails", "raise RuntimeError('a fault')", "RuntimeError: a fault"),
    ("it hangs", "import time; time.sleep(1000)", "the relay does not start"),
    ("a raw map accepts nobody", ONLY_IB, "no process has accepted the connection within 3 s"),
]


def put_new_with(machine: Machine, zipapp: Path, folder: Path, fault: str) -> None:
    put_new(machine, zipapp, folder, "relay/run.py", "    await relay.start()\n", WHERE_SYSTEMD_RUNS_IT.format(fault))


@pytest.mark.parametrize("fault, words", [row[1:] for row in IN_PLACE], ids=[row[0] for row in IN_PLACE])
def test_a_fault_that_shows_in_place_is_undone_with_the_units(installed, session, zipapp, tmp_path, fault, words):
    before = there(installed)
    put_new_with(installed, zipapp, tmp_path, fault)
    ran = installed.run("python3", NEW, "service", "upgrade", check=False)
    assert ran.returncode == 69 and "the old one is back, and so are its units: " in ran.stderr, ran
    assert words in ran.stderr and "Traceback" not in ran.stderr, ran
    assert there(installed) == before
    assert not installed.path(f"{PROGRAM}.old").exists()


def test_a_program_that_ends_for_good_is_undone_and_its_port_is_open_again(installed, zipapp, tmp_path):
    before = there(installed)
    put_new_with(installed, zipapp, tmp_path, "raise SystemExit(78)")
    ran = installed.run("python3", NEW, "service", "upgrade", check=False)
    assert ran.returncode == 69 and "the old one is back, and so are its units: " in ran.stderr, ran
    assert there(installed) == before
    with installed.network(), socket.create_connection(("127.0.0.1", 4003), 10) as client:
        client.sendall(HELLO)
        assert b"176" in client.recv(100)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_is_undone(installed, session, zipapp, tmp_path, number):
    before = there(installed)
    put_new_with(installed, zipapp, tmp_path, "import time; time.sleep(1000)")
    command = installed.command("python3", NEW, "service", "upgrade")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as upgrading:
        said = next(line for line in upgrading.stdout if "systemctl restart" in line)
        children = Path(f"/proc/{upgrading.pid}/task/{upgrading.pid}/children").read_text()  # nsenter hears for itself
        os.kill(int(children), number)
        _, complaint = upgrading.communicate(timeout=60)
    assert upgrading.returncode == 128 + number, (said, complaint)
    assert f"the old one is back, and so are its units: interrupted by {number.name}" in complaint
    assert there(installed) == before


@pytest.fixture
def slow_stop(installed) -> Iterator[None]:
    """The service is being stopped for two seconds before it is asked to end."""
    folder = installed.path("/etc/systemd/system/ib-relay.service.d")
    folder.mkdir()
    (folder / "slow.conf").write_text("[Service]\nExecStop=+/bin/sleep 2\n")
    installed.run("systemctl", "daemon-reload")
    yield
    shutil.rmtree(folder)
    installed.run("systemctl", "daemon-reload")


def test_what_is_being_stopped_for_the_restart_is_not_killed_on_the_way_back(
    installed, session, slow_stop, zipapp, tmp_path
):
    """Killed there it has failed, the target that closes the ports takes its start away, and its sessions are lost."""
    before = there(installed)
    put_new_with(installed, zipapp, tmp_path, "import time; time.sleep(1000)")
    command = installed.command("python3", NEW, "service", "upgrade")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as upgrading:
        said = next(line for line in upgrading.stdout if "systemctl restart" in line)
        while "ActiveState=deactivating" not in installed.run("systemctl", "show", "ib-relay.service").stdout:
            time.sleep(0.05)
        children = Path(f"/proc/{upgrading.pid}/task/{upgrading.pid}/children").read_text()
        os.kill(int(children), signal.SIGTERM)
        _, complaint = upgrading.communicate(timeout=60)
    assert upgrading.returncode == 128 + signal.SIGTERM and "the old one is back" in complaint, (said, complaint)
    assert there(installed) == before


def test_a_good_program_is_put_in_place_and_proved_to_be_the_one_that_serves(installed, session, figure):
    pid = installed.main_pid()
    said = installed.run("python3", ZIPAPP, "service", "upgrade").stdout
    assert "goes on with sessions of the installed one" in said
    assert installed.main_pid() != pid and f"process {installed.main_pid()} is the new program" in said
    assert "drift           none" in installed.run("ib-relay", "service", "status").stdout
