"""relay/survival/survival.py: sessions outlive kills, restarts and upgrades of a real relay.

They do so under a manager that keeps descriptors and without one. Few rounds here; tests/soak has the many.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay.config.limits import OTHER_KEPT_FILES
from relay.net import offsets
from relay.survival import fdstore, inflight
from tests.relay.kit.pid1 import Pid1
from tests.relay.kit.scripted import LOOPBACK, PATIENCE, BlackHole, Peer, Upstream, echo, wait_until
from tests.relay.kit.streams import (
    CLIENT_HELLO,
    DOWN_BLOCK,
    DOWN_FRAMES,
    GREETING,
    HANDSHAKE_DOWN,
    HANDSHAKE_UP,
    SERVER_HELLO,
    START_API,
    UP_BLOCK,
    UP_FRAMES,
    Hammer,
    Stream,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not offsets.SUPPORTED, reason="elsewhere no manager keeps descriptors"),
]
ROOT = Path(__file__).parents[3]
OTHERS = {fdstore.NUMBERS, *inflight.NAMES}  # what the manager keeps besides sessions


class House:
    """A relay with an IB map and two raw ones behind sockets of the manager, and the gateways behind them."""

    def __init__(self, folder: Path, keeps: bool = True, tells: bool = True, *arguments: str, ib=None) -> None:
        self.ib, self.raw, self.echo = ib or Upstream(), Upstream(), Upstream().serve(echo)
        gateways = {"ib": self.ib, "raw": self.raw, "echo": self.echo}
        self.sockets = {name: socket.create_server((LOOPBACK, 0), backlog=128) for name in gateways}
        self.ports = {name: sock.getsockname()[1] for name, sock in self.sockets.items()}
        maps = "".join(
            f'[[map]]\nname = "{name}"\nlisten = "{LOOPBACK}:{self.ports[name]}"\nupstream = "{LOOPBACK}:{one.port}"\n'
            f'protocol = "{"ib" if name == "ib" else "raw"}"\n'
            for name, one in gateways.items()
        )
        self.peers: list[Peer] = []
        self.config = folder / "relay.toml"
        self.config.write_text(f'log_format = "json"\n{maps}')
        self.service = Pid1(folder, ["--config", str(self.config), *arguments], self.sockets, tells)
        if not keeps:
            for sock in self.sockets.values():
                sock.close()  # the relay binds them itself
            self.service.listening = {}
            self.service.environ["FDSTORE"] = "0"

    def __enter__(self):
        try:
            self.service.__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        for peer in self.peers:
            peer.close()
        self.service.__exit__()
        for one in (self.ib, self.raw, self.echo):
            one.__exit__()
        for sock in self.sockets.values():
            sock.close()

    def records(self, event: str) -> list[dict]:
        found = []
        for line in self.service.log().splitlines():
            with contextlib.suppress(ValueError):  # a kill can cut a line
                found.append(json.loads(line))
        return [line for line in found if line["event.name"] == f"ib_relay.{event}"]

    def closed(self, port: int) -> dict:
        """The one close record of the client with this port (the hammer, who uses every port there is, not counted)."""

        def find():
            return [
                one
                for one in self.records("connection.close")
                if one["client.port"] == port and one["ib_relay.map"] != "echo"
            ]

        found = wait_until(find, "the record of its end")
        assert len(found) == 1
        return found[0]

    def dial(self, name: str = "ib") -> Peer:
        """A client of that map."""
        self.peers.append(Peer.dial((LOOPBACK, self.ports[name])))
        return self.peers[-1]

    def session(self) -> tuple[Peer, Peer]:
        """An IB session that is ready, and kept if there is somebody to keep it."""
        before = self.service.names()
        client = self.dial()
        client.sendall(CLIENT_HELLO)
        gateway = self.ib.accept()
        gateway.sendall(SERVER_HELLO)
        assert client.read_exactly(len(SERVER_HELLO)) == SERVER_HELLO
        client.sendall(START_API)
        assert gateway.read_exactly(HANDSHAKE_UP) == CLIENT_HELLO + START_API
        gateway.sendall(GREETING)
        assert client.read_exactly(len(GREETING)) == GREETING
        if self.service.environ.get("FDSTORE") != "0":
            wait_until(lambda: len(self.service.names() - before) == 3, "it is kept")
        return client, gateway

    def has_seen(self, side: str, count: int) -> None:
        """Wait until the relay has looked at so many bytes of that side of the only connection, and waits for more."""
        wait_until(lambda: self.service.seen_of(side) == count, f"{count} bytes of the {side} are seen")

    def works(self, client: Peer, gateway: Peer) -> None:
        client.sendall(b"\0\0\0\x021\0")
        assert gateway.read_exactly(6) == b"\0\0\0\x021\0"
        gateway.sendall(b"\0\0\0\x022\0")
        assert client.read_exactly(6) == b"\0\0\0\x022\0"


def streams_through(
    house: House, act, rounds: int, hammering: float = 0.01, slow: float = 0.01
) -> tuple[Hammer, list[Stream]]:
    """Four checked streams and a hammer while `act` is done so many times; every byte and every record is right."""
    running = [
        Stream(house.ports["ib"], house.ib),
        Stream(house.ports["ib"], house.ib, slow=slow, rate=30e6),
        Stream(house.ports["raw"], house.raw, ib=False),
        Stream(house.ports["raw"], house.raw, ib=False, slow=slow, rate=30e6),
    ]
    if house.service.environ.get("FDSTORE") != "0":
        wait_until(lambda: len(house.service.names() - OTHERS) == 4 * 3, "the four are kept")
    hammer = Hammer(house.ports["echo"], hammering)
    for _ in range(rounds):
        act()
        time.sleep(0.1)  # a stretch of traffic between two of them
    hammer.finish()
    ports = [one.client.port for one in running]
    for one in running:
        one.finish()
    for one, port in zip(running, ports, strict=True):
        record = house.closed(port)
        ib = record["ib_relay.map"] == "ib"
        sent = (one.up.sent + HANDSHAKE_UP * ib, one.down.sent + HANDSHAKE_DOWN * ib)
        assert (record["ib_relay.bytes.up"], record["ib_relay.bytes.down"]) == sent, record
        assert record["end.reason"] in ("client_closed", "upstream_closed"), record
        if ib:
            up = one.up.sent // len(UP_BLOCK) * UP_FRAMES + 2
            down = one.down.sent // len(DOWN_BLOCK) * DOWN_FRAMES + 3
            understood = (record["ib.opaque"], record["ib.stage"], record["ib.client_id"], record["ib.accounts"])
            assert understood == (None, "ready", 7, ["DU***567"])
            assert (record["ib.messages.up"], record["ib.messages.down"]) == (up, down), record
    if house.service.environ.get("FDSTORE") != "0":
        wait_until(lambda: house.service.names() <= OTHERS, "the manager keeps nothing any more")
    ids = [one["connection.id"] for one in house.records("connection.open")]
    assert len(ids) == len(set(ids)), "no number was given twice"
    return hammer, running


ROADS = [
    ("killed", True, True, "kill"),
    ("killed, by a manager that does not say that it keeps anything", True, False, "kill"),
    ("restarted", True, True, "restart"),
    ("upgraded in place while a manager keeps the sessions", True, True, "upgrade"),
    ("upgraded in place without such a manager", False, True, "upgrade"),
]


@pytest.mark.parametrize("keeps, tells, act", [road[1:] for road in ROADS], ids=[road[0] for road in ROADS])
@pytest.mark.long
def test_sessions_and_every_byte_outlive_a_relay_that_is(tmp_path, keeps, tells, act):
    with House(tmp_path, keeps, tells) as house:
        hammer, _ = streams_through(house, getattr(house.service, act), 2, slow=0.002)
        assert hammer.served > 0
        if act != "kill":
            assert hammer.failed == 0, hammer.faults


@pytest.fixture
def house(tmp_path):
    with House(tmp_path) as house:
        yield house


def test_what_the_record_says_of_a_session_continues_over_a_kill(house):
    client, gateway = house.session()
    house.works(client, gateway)
    port = client.port
    wait_until(
        lambda: house.records("connection.ready"), "its line is written: a kill takes the last 10 ms of the log along"
    )
    house.service.kill()
    house.works(client, gateway)
    client.close()
    assert gateway.ending() == "fin"
    gateway.close()
    record = house.closed(port)
    assert record["connection.id"] == house.records("connection.open")[0]["connection.id"]
    assert (record["ib_relay.bytes.up"], record["ib_relay.bytes.down"]) == (HANDSHAKE_UP + 12, HANDSHAKE_DOWN + 12)
    assert (record["ib.messages.up"], record["ib.messages.down"], record["ib.stage"]) == (4, 5, "ready")
    assert record["end.reason"] == "client_closed"
    assert record["first_byte_down_s"] is not None and record["connect_s"] is not None
    assert len(house.records("connection.ready")) == 1


ENDS = [
    ("the client closes", lambda client, gateway: client.close(), "gateway", "fin", "client_closed"),
    ("the gateway closes", lambda client, gateway: gateway.close(), "client", "fin", "upstream_closed"),
    ("the client resets", lambda client, gateway: client.reset(), "gateway", "rst", "client_reset"),
    ("the gateway resets", lambda client, gateway: gateway.reset(), "client", "rst", "upstream_reset"),
]


@pytest.mark.parametrize("end, other, seen, reason", [one[1:] for one in ENDS], ids=[one[0] for one in ENDS])
def test_an_end_while_no_relay_runs_is_passed_on_and_recorded_by_the_next(house, end, other, seen, reason):
    client, gateway = house.session()
    port = client.port
    house.service.process.kill()
    house.service.process.wait(PATIENCE)
    end(client, gateway)
    house.service.start()
    left = gateway if other == "gateway" else client
    assert left.ending() == seen
    left.close()
    assert house.closed(port)["end.reason"] == reason
    wait_until(lambda: house.service.names() == OTHERS, "nothing is kept")


@pytest.mark.parametrize("end, other, seen, reason", [one[1:] for one in ENDS], ids=[one[0] for one in ENDS])
def test_the_end_of_a_kept_session_reaches_its_peer_although_the_manager_has_copies(house, end, other, seen, reason):
    client, gateway = house.session()
    port = client.port
    end(client, gateway)
    left = gateway if other == "gateway" else client
    assert left.ending() == seen
    left.close()
    assert house.closed(port)["end.reason"] == reason


def test_a_half_closed_session_stays_half_closed(house):
    client, gateway = house.session()
    client.half_close()
    assert gateway.ending() == "fin"
    house.service.kill()
    gateway.sendall(b"\0\0\0\x022\0")
    assert client.read_exactly(6) == b"\0\0\0\x022\0"
    gateway.close()
    assert client.ending() == "fin"


def test_an_incomplete_hello_survives_and_is_delivered_whole(house):
    client = house.dial()
    client.sendall(CLIENT_HELLO)
    gateway = house.ib.accept()
    assert gateway.read_exactly(len(CLIENT_HELLO)) == CLIENT_HELLO
    gateway.sendall(SERVER_HELLO[:9])
    wait_until(lambda: len(house.service.names() - OTHERS) == 3, "it is old enough to be kept")
    house.service.kill()
    house.has_seen("upstream", 9)
    assert client.stays_quiet(0.2)
    gateway.sendall(SERVER_HELLO[9:])
    assert client.recv(4096) == SERVER_HELLO


# As `python -m relay`, but only a session that is ready is given to the manager, however long that takes.
PATIENT = """
import sys
from relay.survival import fdstore
fdstore.AGE = 600.0
sys.argv[0] = "ib-relay"
from relay.cli import main
main()
"""


def test_a_connection_nobody_has_stored_yet_survives_at_each_step_of_its_opening(tmp_path):
    """Killed after each of them, never given to the manager, and in the end one session like any other."""
    house = House(tmp_path)
    house.service.command[1:3] = ["-c", PATIENT]
    with house:
        before = house.service.names()

        def kill():
            assert house.service.names() == before
            house.service.kill()

        client = house.dial()
        wait_until(lambda: house.records("connection.open"), "it was let in")
        kill()
        client.sendall(CLIENT_HELLO[:7])
        house.has_seen("client", 7)
        kill()
        client.sendall(CLIENT_HELLO[7:])
        gateway = house.ib.accept()
        assert arrived(gateway) == CLIENT_HELLO
        kill()
        assert gateway.read_exactly(len(CLIENT_HELLO)) == CLIENT_HELLO
        gateway.sendall(SERVER_HELLO[:9])
        house.has_seen("upstream", 9)
        kill()
        gateway.sendall(SERVER_HELLO[9:])
        assert arrived(client) == SERVER_HELLO
        kill()
        assert client.recv(4096) == SERVER_HELLO
        client.sendall(START_API)
        assert arrived(gateway) == START_API
        kill()
        assert gateway.read_exactly(len(START_API)) == START_API
        gateway.sendall(GREETING)
        assert client.read_exactly(len(GREETING)) == GREETING
        wait_until(lambda: len(house.service.names() - before) == 3, "now it is kept")
        house.service.kill()
        is_one_session_to_its_end(house, client, gateway)
        assert house.service.names() == before


def arrived(peer: Peer) -> bytes:
    """What the relay has passed on, once it has; it stays there to be read."""
    return peer.recv(4096, socket.MSG_PEEK)


def is_one_session_to_its_end(house, client, gateway):
    house.works(client, gateway)
    client.close()
    assert gateway.ending() == "fin"
    gateway.close()
    record = house.closed(client.port)
    assert len(house.records("connection.open")) == 1, "it is one connection"
    assert (record["ib_relay.bytes.up"], record["ib_relay.bytes.down"]) == (HANDSHAKE_UP + 6, HANDSHAKE_DOWN + 6)
    assert (record["ib.opaque"], record["ib.messages.up"], record["ib.messages.down"]) == (None, 3, 4)


@pytest.mark.long
@pytest.mark.parametrize("act", ["kill", "restart", "upgrade"])
def test_a_client_whose_gateway_is_still_being_dialled_is_dialled_for_again(tmp_path, act):
    with BlackHole() as hole, House(tmp_path, ib=hole) as house:
        client, sent = house.dial(), 0
        for words in (CLIENT_HELLO, START_API):
            client.sendall(words)
            sent += len(words)
            house.has_seen("client", sent)
            getattr(house.service, act)()
        hole.recover()
        assert client.read_exactly(HANDSHAKE_UP) == CLIENT_HELLO + START_API, "they came to the gateway, which echoes"


@pytest.mark.parametrize("act", ["restart", "upgrade"])
def test_half_a_hello_of_a_client_is_not_lost(tmp_path, act):
    with House(tmp_path) as house:
        client = house.dial()
        client.sendall(CLIENT_HELLO[:7])
        house.has_seen("client", 7)
        getattr(house.service, act)()
        client.sendall(CLIENT_HELLO[7:])
        gateway = house.ib.accept()
        assert gateway.read_exactly(len(CLIENT_HELLO)) == CLIENT_HELLO


@pytest.mark.long
def test_a_hammer_of_new_connections_hardly_notices_kills(tmp_path):
    with House(tmp_path) as house:
        hammer = Hammer(house.ports["echo"], 0)
        for _ in range(20):
            house.service.kill()
            time.sleep(0.1)  # a stretch of connections between two of them
        hammer.finish()
        assert hammer.served > 100
        # Of each connection's 700 us some 60 are before anybody else has a copy: two of twenty kills meet one.
        assert hammer.failed <= 8, hammer.faults


@pytest.mark.slow
def test_what_no_room_was_for_is_told_before_a_kill_and_after_it(tmp_path):
    """A manager with room for none: what is in flight outlives a kill all the same, and what is not does not."""
    house = House(tmp_path)
    house.service.environ["FDSTORE"] = str(OTHER_KEPT_FILES)
    with house:
        crowd = [house.dial("echo") for _ in range(inflight.ROOM + 12)]
        for peer in crowd:
            peer.sendall(b"x")
            assert peer.read_exactly(1) == b"x"
        noted = house.service.stored["numbers"][0]
        wait_until(lambda: struct.unpack("=q32sq", os.pread(noted, 48, 0))[2] == 12, "what a kill would end is noted")
        house.service.kill()
        resumed = wait_until(lambda: house.records("resumed"), "the log says what became of them")[-1]
        assert (resumed["live"], resumed["lost"], resumed["severity_text"]) == (inflight.ROOM, 12, "WARN")
        assert "12 ended with the old process, as there was no room to keep them" in resumed["message"]
        assert len(house.records("keep.full")) <= 2, "once a process"
        ahead = "has room for 0 sessions"
        wait_until(
            lambda: [ahead in one["message"] for one in house.records("warning")].count(True) == 2,
            "it is said before the first session, at each start",
        )


def test_short_connections_are_never_given_to_the_manager(house):
    for _ in range(5):
        with Peer.dial((LOOPBACK, house.ports["echo"])) as peer:
            peer.sendall(b"x")
            assert peer.read_exactly(1) == b"x"
    assert {line.removeprefix("FDNAME=") for line in house.service.said if line.startswith("FDNAME=")} <= OTHERS


def test_a_stop_ends_every_session(house):
    client, gateway = house.session()
    house.service.process.send_signal(signal.SIGTERM)
    assert house.service.process.wait(PATIENCE) == 0
    assert client.stays_quiet(0.1) and gateway.stays_quiet(0)
    house.service.drop_all()  # what systemd does at the end of a stop
    assert (client.ending(), gateway.ending()) == ("fin", "fin")


@pytest.mark.parametrize("apart", [True, False], ids=["one after the other", "both before it has its turn"])
def test_a_stop_that_was_announced_drains_what_the_manager_has_copies_of(house, apart):
    """On a busy machine both signals wait for the process, and the handler of the later one runs first."""
    client, gateway = house.session()
    if not apart:
        house.service.process.send_signal(signal.SIGSTOP)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        house.service.process.send_signal(number)
        if apart:
            wait_until(lambda: house.records("stopping"), "it says so")
            house.works(client, gateway)
    house.service.process.send_signal(signal.SIGCONT)
    wait_until(lambda: house.records("stopping"), "it says so")
    house.works(client, gateway)
    client.close()
    assert gateway.ending() == "fin"
    gateway.close()
    assert house.service.process.wait(PATIENCE) == 0
    assert house.closed(client.port)["end.reason"] == "client_closed"
    assert [one["message"] for one in house.records("stopping")] == [
        "SIGUSR1: no new clients, 1 live connection to end within 10 s"
    ]
    wait_until(lambda: house.service.names() == OTHERS, "nothing of it is kept")


def test_a_session_of_which_a_part_is_missing_is_reset_and_named(house):
    client, _ = house.session()
    house.service.process.kill()
    house.service.process.wait(PATIENCE)
    name = next(name for name in house.service.names() if name.endswith(".upstream"))
    os.close(house.service.stored.pop(name)[0])
    house.service.start()
    assert client.ending() == "rst"
    [trouble] = wait_until(lambda: house.records("resume.failed"), "it is said")
    assert name.removesuffix(".upstream") in trouble["message"] and "only client of it was kept" in trouble["message"]
    wait_until(lambda: house.service.names() == OTHERS, "nothing is kept")


def test_without_survival_nothing_is_given_away(tmp_path):
    """Neither at the start, before it is ready, nor at the end, when all that is live would be left to the manager."""
    with House(tmp_path, True, True, "--no-survive") as house:
        with house.dial("echo") as peer:
            peer.sendall(b"x")
            assert peer.read_exactly(1) == b"x"
            house.service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: house.records("stopping"), "it says so")
        assert house.service.process.wait(PATIENCE) == 0
        wait_until(lambda: "STOPPING=1" in house.service.said, "all it said was heard")
        assert "READY=1" in house.service.said and "FDSTORE=1" not in house.service.said


# Upgrades that must not happen


@pytest.fixture
def program(tmp_path):
    """A copy of the relay that can be spoilt."""
    folder = tmp_path / "program"
    shutil.copytree(ROOT / "relay", folder / "relay", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


BROKEN = [
    ("does not start", "relay/server.py", "this is no Python", "SyntaxError"),
    ("ends in its own way", "relay/__main__.py", "raise SystemExit(3)", "exit 3"),
    ("says nothing", "relay/__main__.py", "pass", "it said nothing"),
    ("wants another format", "relay/survival/handover.py", None, "another format"),
]


@pytest.mark.parametrize("file, text, word", [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
def test_a_new_program_that_cannot_take_over_leaves_the_old_one_serving(tmp_path, program, file, text, word):
    (tmp_path / "run").mkdir()
    house = House(tmp_path / "run", False)
    house.service.cwd = program
    house.service.environ["PYTHONPATH"] = str(program)
    with house:
        client, gateway = house.session()
        path = program / file
        path.write_text(text if text is not None else path.read_text().replace("FORMAT = 1", "FORMAT = 2"))
        pid = house.service.process.pid
        house.service.process.send_signal(signal.SIGUSR2)
        [refusal] = wait_until(
            lambda: [r for r in house.records("upgrade") if "refused" in r["message"]], "it is refused"
        )
        assert word in refusal["message"]
        house.works(client, gateway)
        assert house.service.process.poll() is None and house.service.process.pid == pid
        house.service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: house.records("reload"), "signals are heard as before")


def test_a_configuration_that_is_wrong_by_now_refuses_the_upgrade(tmp_path):
    with House(tmp_path, False) as house:
        client, gateway = house.session()
        house.config.write_text("drain_timeout = -1\n")
        house.service.process.send_signal(signal.SIGUSR2)
        [refusal] = wait_until(
            lambda: [r for r in house.records("upgrade") if "refused" in r["message"]], "it is refused"
        )
        assert "drain_timeout: seen -1" in refusal["message"]
        house.works(client, gateway)


def test_a_stop_does_not_wait_for_a_rehearsal(tmp_path, program):
    (tmp_path / "run").mkdir()
    house = House(tmp_path / "run", False)
    house.service.cwd = program
    house.service.environ["PYTHONPATH"] = str(program)
    with house:
        rehearses = tmp_path / "rehearses"
        (program / "relay" / "__main__.py").write_text(ENDLESS.format(str(rehearses)))
        house.service.process.send_signal(signal.SIGUSR2)
        wait_until(rehearses.exists, "the rehearsal is under way")
        house.service.process.send_signal(signal.SIGTERM)
        assert house.service.process.wait(PATIENCE) == 0, "a rehearsal has twice as long"


# A program that comes to no end, unless the one that has started it does.
ENDLESS = """
import os, time
parent = os.getppid()
open({!r}, "w").close()
while os.getppid() == parent:
    time.sleep(0.05)
"""


def test_signals_during_an_upgrade_end_nothing(tmp_path):
    with House(tmp_path, False) as house:
        client, gateway = house.session()
        house.service.process.send_signal(signal.SIGUSR2)

        def hang_up():
            house.service.process.send_signal(signal.SIGHUP)
            return house.records("resumed")

        wait_until(hang_up, "the session outlived it")
        assert house.service.process.poll() is None
        house.works(client, gateway)


# As `python -m relay`, but a SIGHUP comes at that moment of an upgrade.
HANGS_UP = """
import os, signal, sys
from relay.survival import handover, survival
def first(owner, name):
    then = getattr(owner, name)
    def both(*arguments):
        os.kill(os.getpid(), signal.SIGHUP)
        return then(*arguments)
    setattr(owner, name, both)
first({}, {!r})
sys.argv[0] = "ib-relay"
from relay.cli import main
main()
"""

MOMENTS = [
    pytest.param("survival", "hold_signals", id="caught, and not heard yet"),
    pytest.param("handover", "become", id="held back"),
]


@pytest.mark.parametrize(("owner", "name"), MOMENTS)
def test_a_signal_at_the_last_moment_before_an_upgrade_is_heard(tmp_path, owner, name):
    house = House(tmp_path, False)
    house.service.command[1:3] = ["-c", HANGS_UP.format(owner, name)]
    with house:
        client, gateway = house.session()
        house.service.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: house.records("resumed"), "the session outlived it")
        wait_until(lambda: house.records("reload"), "the one program or the other has heard it")
        house.works(client, gateway)


def test_the_command_upgrades_the_relay_it_is_told(tmp_path):
    with House(tmp_path, False) as house:
        client, gateway = house.session()
        command = [sys.executable, "-m", "relay", "upgrade", "--pid", str(house.service.process.pid)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert f"process {house.service.process.pid} is the new program" in done.stdout
        house.works(client, gateway)


def test_with_as_many_sessions_as_there_is_room_for_the_next_is_refused_and_all_else_works(tmp_path):
    house = House(tmp_path)
    limit, most = 160, 16
    command = house.service.command
    house.service.command = ["/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command]
    with house:
        clients = [house.dial("echo") for _ in range(most)]
        for client in clients:
            client.sendall(b"x")
            assert client.read_exactly(1) == b"x"
        assert house.dial("echo").ending() == "rst"
        (refused,) = wait_until(lambda: house.records("connection.close"), "its record")
        assert refused["end.reason"] == "connection_limit"
        house.service.process.send_signal(signal.SIGHUP)
        (reload,) = wait_until(lambda: house.records("reload"), "the reload")
        assert reload["ok"] is True
        house.service.upgrade()
        for client in clients:
            client.sendall(b"y")
            assert client.read_exactly(1) == b"y"
        assert not house.records("accept.paused")
