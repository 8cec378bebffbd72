"""relay/manager/activation.py: sockets handed over: which map takes which, and whole relays under real sockets."""

import contextlib
import errno
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from relay.config.addresses import read_listen, read_upstream
from relay.config.load import PortMap
from relay.entry.bridges import Bridge
from relay.entry.listeners import Listener, NotGiven
from relay.manager.activation import Activation, ActivationError
from tests.relay.entry import test_listeners
from tests.relay.kit import managers
from tests.relay.kit.managers import NotifySocket
from tests.relay.kit.scripted import PATIENCE, Peer, Upstream, echo, free_port, wait_until
from tests.relay.manager import test_launchd

ROOT = Path(__file__).parents[3]
HOST = "127.0.0.1"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux'")


def port_map(name, *listen, upstream=f"{HOST}:4002"):
    return PortMap(name=name, listen=tuple(map(read_listen, listen)), upstream=read_upstream(upstream))


@pytest.fixture
def bound():
    """`bound()` is a listening socket; closed at the end, unless somebody has taken its descriptor."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_server((HOST, 0)))


def copies(*sockets):
    """Descriptors of their own for somebody who will close them."""
    return [os.dup(sock.fileno()) for sock in sockets]


# Which map takes which

PAPER, LIVE = port_map("paper", "auto:4003"), port_map("live", "auto:4004")
ASSIGNED = [
    # name, names from systemd, maps, map -> names it takes
    ("nothing given", "", [PAPER], {}),
    ("by the map's name", "paper live", [PAPER, LIVE], {"paper": ["paper"], "live": ["live"]}),
    ("in any order", "live paper", [PAPER, LIVE], {"paper": ["paper"], "live": ["live"]}),
    ("several of one name", "paper paper", [PAPER, LIVE], {"paper": ["paper", "paper"]}),
    ("one map takes all", "ib-relay.socket unknown", [PAPER], {"paper": ["ib-relay.socket", "unknown"]}),
    ("two maps do not", "ib-relay.socket", [PAPER, LIVE], {}),
    ("asked for", "a b", [port_map("paper", "systemd:b")], {"paper": ["b"]}),
    ("asked for, and not by its name", "paper b", [port_map("paper", "systemd:b"), LIVE], {"paper": ["b"]}),
    ("asked for twice over", "a b", [port_map("paper", "systemd:b", "systemd:a")], {"paper": ["b", "a"]}),
    ("beside addresses of its own", "a", [port_map("paper", "systemd:a", "auto:4003")], {"paper": ["a"]}),
]


@pytest.mark.parametrize("names, maps, expected", [one[1:] for one in ASSIGNED], ids=[one[0] for one in ASSIGNED])
def test_which_map_takes_which_socket(bound, names, maps, expected):
    given = {}
    for name in names.split():
        given.setdefault(name, []).extend(copies(bound()))
    activation = Activation(given)
    assigned = {name: [one.name for one in group] for name, group in activation.assign(maps).items()}
    assert assigned == expected
    assert len(activation.all()) == len(names.split())
    activation.close()


REFUSED = [
    (
        "none at all",
        "",
        [port_map("paper", "systemd:a")],
        (
            'map paper: listen "systemd:a": systemd gave no such socket '
            r"\(FileDescriptorName=\); it gave none: was the service started without its .socket unit\?"
        ),
    ),
    ("another", "b a-b", [port_map("paper", "systemd:a")], "it gave a-b, b$"),
    (
        "one for two",
        "live",
        [port_map("paper", "systemd:live"), LIVE],
        "map live: systemd:live, .* is taken by map paper already",
    ),
    ("no launchd", "", [port_map("paper", "launchd:a")], 'map paper: listen "launchd:a": launchd gave no socket'),
]


@pytest.mark.parametrize("names, maps, message", [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_was_asked_for_and_not_given_is_an_error_in_one_line(bound, names, maps, message):
    activation = Activation({name: copies(bound()) for name in names.split()})
    with pytest.raises(ActivationError, match=message):
        activation.assign(maps)
    activation.close()


def test_a_relay_that_would_dial_itself_is_refused(bound):
    server = bound()
    activation = Activation({"paper": copies(server)})
    address = f"{HOST}:{server.getsockname()[1]}"
    with pytest.raises(ActivationError, match=f"^map paper: upstream {address} is where this relay listens "):
        activation.assign([port_map("paper", "auto:4003", upstream=address)])
    activation.close()


def test_what_is_not_tcp_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.listen()
        with pytest.raises(ActivationError, match=r"^systemd:relay: seen a socket that is not TCP"):
            Activation({"relay": copies(sock)})


def test_launchd_is_asked_for_each_name_once_and_for_names_of_maps_only_where_it_started_us(bound):
    server, asked = bound(), []

    def ask(name):
        asked.append(name)
        if name != "paper":
            raise OSError(errno.ENOENT, "no such key")
        return copies(server)

    shy, bold = Activation({}, ask), Activation({}, ask, guess=True)
    assert (shy.assign([PAPER, LIVE]), asked) == ({}, [])
    for _ in range(2):
        assigned = bold.assign([PAPER]).items()
        assert [(name, str(one).partition(",")[0]) for name, (one,) in assigned] == [("paper", "launchd:paper")]
    assert asked == ["paper"]
    assert list(bold.assign([PAPER, LIVE])) == ["paper"]
    bold.close()


# Listening on them


class Host(test_listeners.Host):
    """Listeners that were handed sockets; their manager keeps its own copies."""

    def __init__(self, **given):
        super().__init__()
        self.listeners._activation = Activation({name: copies(*sockets) for name, sockets in given.items()})

    def accept(self, listener):
        if isinstance(listener, Listener):
            return super().accept(listener)
        listener.sock.accept()[0].close()
        self.accepted.append("turned away")
        return True


@pytest.fixture
def host(bound):
    hosts = []

    def make(**given):
        hosts.append(Host(**given))
        return hosts[-1]

    yield make
    for one in hosts:
        one.close()


def port_of(sock):
    return sock.getsockname()[1]


BRIDGE = Bridge("br-0123456789ab", ipaddress.ip_interface("127.0.9.1/24"))
ELSEWHERE = Bridge("br-ba9876543210", ipaddress.ip_interface("198.18.0.1/24"))  # its address is not on this machine


def followed(house, server, *bridges, maps=None):
    """Where it listens beside the socket handed over, of a map that listens on auto."""
    maps = maps or [port_map("paper", f"auto:{port_of(server)}")]
    house.change(*maps, bridges=bridges, follow=["127.0.8.0/21"])
    return [place for place in house.listeners.bound() if place != (HOST, port_of(server))]


def test_bridges_that_come_later_are_listened_on_beside_the_sockets_handed_over(host, bound):
    server = bound()
    house = host(paper=[server])
    assert followed(house, server) == []
    assert followed(house, server, BRIDGE) == [("127.0.9.1", port_of(server))]
    assert house.connect("127.0.9.1", port_of(server)) == ("127.0.9.1", port_of(server), "paper")
    assert followed(house, server) == []
    assert house.log.names() == ["listener.closed"]


def test_a_bridge_whose_clients_the_service_does_not_let_in_is_said_once(host, bound):
    server = bound()
    house = host(paper=[server])
    assert followed(house, server, ELSEWHERE) == []
    (said,) = [message for name, severity, message in house.log.seen if (name, severity) == ("bridge", "WARN")]
    assert said.startswith("br-ba9876543210 (198.18.0.0/24) is not listened on: this service lets only 127.0.8.0/21")
    followed(house, server, ELSEWHERE)
    assert house.log.seen == []


def test_no_bridge_is_followed_by_a_map_that_listens_on_addresses_or_a_relay_that_was_not_told_to(host, bound):
    server = bound()
    house = host(paper=[server])
    port = port_of(server)
    assert followed(house, server, BRIDGE, maps=[port_map("paper", f"{HOST}:{port}")]) == []
    house.change(port_map("paper", f"auto:{port}"), bridges=[BRIDGE])
    assert house.listeners.bound() == [(HOST, port)]


def test_a_followed_bridge_whose_port_is_taken_is_no_reason_not_to_start_and_is_had_later(host, bound):
    server = bound()
    house = host(paper=[server])
    with socket.create_server(("127.0.9.1", port_of(server))):
        assert followed(house, server, BRIDGE) == []
        assert house.listeners.bridge_missing
        (said,) = [message for name, severity, message in house.log.seen if (name, severity) == ("bridge", "WARN")]
        assert "127.0.9.1" in said and said.endswith("trying again")
    assert followed(house, server, BRIDGE) == [("127.0.9.1", port_of(server))]
    assert not house.listeners.bridge_missing


def test_a_socket_handed_over_stands_instead_of_listen(host, bound):
    server = bound()
    house = host(paper=[server])
    house.change(PAPER)
    port = port_of(server)
    assert house.listeners.bound() == [(HOST, port)]
    assert house.log.seen == [("listening", "INFO", f"paper: {HOST}:{port} (systemd:paper) -> {HOST}:4002, ib")]
    assert house.listeners.summary() == f"{HOST}:{port} -> {HOST}:4002"
    assert house.connect(HOST, port) == (HOST, port, "paper")


def test_it_stands_beside_listen_where_both_are_asked_for(host, bound):
    server, own = bound(), free_port()
    house = host(a=[server])
    house.change(port_map("paper", "systemd:a", f"{HOST}:{own}"))
    assert sorted(house.listeners.bound()) == sorted([(HOST, port_of(server)), (HOST, own)])


def test_another_port_than_the_one_written_is_said_once(host, bound):
    house = host(paper=[bound()])
    for _ in range(2):
        house.listeners.change([port_map("paper", f"{HOST}:4444")], ())
    said = [message for name, _, message in house.log.seen if name == "warning"]
    assert len(said) == 1 and said[0].endswith(f"takes the place of listen {HOST}:4444")


def test_a_socket_no_map_takes_is_said_and_its_clients_are_turned_away_until_one_does(host, bound):
    one, other = bound(), bound()
    house = host(paper=[one], stray=[other])
    house.change(PAPER, LIVE)
    said = [message for name, _, message in house.log.seen if name == "listener.unused"]
    words = "was handed over, but no map takes it: its clients are turned away"
    assert said == [f"systemd:stray, {HOST}:{port_of(other)} {words}"]
    assert house.connect(HOST, port_of(other)) == "turned away"
    house.change(PAPER, port_map("stray", "auto:4004"))
    assert house.connect(HOST, port_of(other)) == (HOST, port_of(other), "stray")
    house.change(PAPER, LIVE)
    assert house.connect(HOST, port_of(other)) == "turned away"
    assert house.connect(HOST, port_of(one)) == (HOST, port_of(one), "paper")


def test_while_paused_clients_of_an_unused_socket_wait_too(host, bound):
    server = bound()
    house = host(stray=[server])
    house.change(port_map("paper", f"{HOST}:{free_port()}"), port_map("live", f"{HOST}:{free_port()}"))
    house.listeners.pause()
    assert house.connect(HOST, port_of(server)) is None
    house.listeners.resume()
    assert house.connect(HOST, port_of(server)) == "turned away"


def test_what_was_asked_for_and_not_given_leaves_everything_as_it_was(host, bound):
    server = bound()
    house = host(paper=[server])
    house.change(PAPER)
    with pytest.raises(NotGiven, match="it gave paper"):
        house.change(port_map("paper", "systemd:live"))
    assert house.connect(HOST, port_of(server)) == (HOST, port_of(server), "paper")


def test_at_the_end_our_copy_is_closed_and_the_managers_still_listens(host, bound):
    server = bound()
    house = host(paper=[server], stray=[bound()])
    house.change(PAPER, LIVE)
    house.listeners.close()
    assert house.listeners.bound() == []
    with socket.create_connection((HOST, port_of(server)), PATIENCE):
        server.settimeout(PATIENCE)
        server.accept()[0].close()


# A relay of its own, under a manager of the test's


class Service:
    """What a service manager would start: `with Service(...) as service`; the sockets are the test's."""

    def __init__(self, folder, text, sockets=(), names=None, environ=None, command=None, notify="notify"):
        self.file = folder / "relay.toml"
        self.file.write_text(text)
        self.notify = NotifySocket(folder / notify if not notify.startswith("@") else notify)
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        command = command or [sys.executable, "-m", "relay"]
        self.command = [*command, "run", "--config", str(self.file)]
        self.fds, self.names = [sock.fileno() for sock in sockets], names
        self.environ = self.notify.environ | {"FDSTORE": "0", "PYTHONPATH": str(ROOT)} | (environ or {})

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.notify)
        out, err = (self._stack.enter_context(path.open("wb")) for path in (self.stdout, self.stderr))
        started = managers.process(self.command, self.fds, self.names, self.environ, cwd=ROOT, stdout=out, stderr=err)
        self.process = self._stack.enter_context(started)
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def ready(self):
        """The status with which it says so."""
        return self.notify.until("READY=1")["STATUS"]

    def ends(self):
        """The exit code and the last line of standard error."""
        code = self.process.wait(PATIENCE)
        return code, (self.stderr.read_text().splitlines() or [""])[-1]

    def logs(self, words, where=None):
        """Wait until the log has these words."""
        where = where or self.stdout
        wait_until(lambda: words in where.read_text(), f"{words!r} in the log")


def text(*maps, **top):
    """A configuration: maps as (name, upstream port, listen or None)."""
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in top.items()]
    for name, port, listen in maps:
        lines += ["[[map]]", f'name = "{name}"', f'upstream = "{HOST}:{port}"', 'protocol = "raw"']
        lines += [f'listen = "{listen}"'] if listen else []
    return "\n".join(lines) + "\n"


@pytest.fixture
def gateway():
    with Upstream() as upstream:
        yield upstream.serve(echo)


def works(port):
    """A session through the relay at this port."""
    client = Peer.dial((HOST, port))
    client.sendall(b"question")
    assert client.read_exactly(8) == b"question"
    return client


@pytest.mark.slow
def test_who_connected_before_the_relay_was_started_is_served_and_ready_says_where_it_listens(tmp_path, bound, gateway):
    server = bound()
    port = port_of(server)
    with Peer.dial((HOST, port)) as early:
        early.sendall(b"early")
        with Service(tmp_path, text(("default", gateway.port, None)), [server], "default") as service:
            assert service.ready() == f"listening on {HOST}:{port} -> {HOST}:{gateway.port}, 0 live sessions"
            assert early.read_exactly(5) == b"early"
            works(port).close()
            service.logs(f"default: {HOST}:{port} (systemd:default) -> {HOST}:{gateway.port}, raw")


@pytest.mark.slow
def test_two_maps_are_told_apart_by_name(tmp_path, bound):
    with Upstream() as paper, Upstream() as live:
        one, other = bound(), bound()
        maps = text(("paper", paper.port, None), ("live", live.port, f"{HOST}:{free_port()}"))
        with Service(tmp_path, maps, [one, other], "live:paper") as service:
            assert service.ready() == (
                f"listening on {HOST}:{port_of(other)} -> {HOST}:{paper.port}; "
                f"{HOST}:{port_of(one)} -> {HOST}:{live.port}, 0 live sessions"
            )
            with Peer.dial((HOST, port_of(one))):
                live.accept()
                assert paper.hears_nothing(0)


@pytest.mark.slow
def test_a_socket_without_a_map_turns_its_clients_away_and_a_reload_gives_it_one(tmp_path, bound, gateway):
    one, other = bound(), bound()
    paper, live = ("paper", gateway.port, None), ("live", gateway.port, f"{HOST}:{free_port()}")
    stray = ("stray", gateway.port, "systemd:stray")
    with Service(tmp_path, text(paper, live), [one, other], "paper:stray") as service:
        service.ready()
        with Peer.dial((HOST, port_of(other))) as client:
            assert client.ending() == "rst"
        service.logs("WARN  listener.unused: systemd:stray")
        service.file.write_text(text(paper, stray))
        service.process.send_signal(signal.SIGHUP)
        assert f"{HOST}:{port_of(other)} -> {HOST}:{gateway.port}, 0 live" in service.ready()
        with works(port_of(other)), works(port_of(one)):
            pass


@pytest.mark.slow
def test_a_socket_that_was_not_given_is_a_wrong_configuration(tmp_path, bound):
    with Service(tmp_path, text(("paper", 4002, "systemd:paper")), [bound()], "default") as service:
        assert service.ends() == (
            78,
            (
                'ib-relay: map paper: listen "systemd:paper": systemd gave no such socket (FileDescriptorName=); '
                "it gave default"
            ),
        )
        assert not service.notify.seen


@pytest.mark.slow
def test_ready_is_not_said_before_every_port_is_bound(tmp_path, bound, gateway):
    taken = bound()
    maps = text(("paper", gateway.port, f"{HOST}:{free_port()}"), ("live", gateway.port, f"{HOST}:{port_of(taken)}"))
    with Service(tmp_path, maps) as service:
        assert service.ends()[0] == 69
        with pytest.raises(TimeoutError):
            service.notify.receive(0.01)


@pytest.mark.slow
def test_after_a_stop_clients_wait_for_the_next_relay_and_a_drain_is_announced(tmp_path, bound, gateway):
    server = bound()
    port = port_of(server)
    maps = text(("default", gateway.port, None), drain_timeout=0.1)
    with Service(tmp_path, maps, [server], "default") as service:
        service.ready()
        with works(port) as session:
            service.process.send_signal(signal.SIGTERM)
            notice = service.notify.until("STOPPING=1")
            assert notice["STATUS"] == "stopping: 1 live connection to end within 0.1 s"
            assert session.ending() == "fin"
        assert service.ends()[0] == 0
    with Peer.dial((HOST, port)) as waiting, Service(tmp_path, maps, [server], "default", notify="notify-2"):
        waiting.sendall(b"patient")
        assert waiting.read_exactly(7) == b"patient"


@pytest.mark.slow
def test_a_program_that_takes_over_in_place_keeps_the_sockets_and_is_ready_again(tmp_path, bound, gateway):
    server, stray = bound(), bound()
    maps = text(("default", gateway.port, "systemd:default"))
    with Service(tmp_path, maps, [server, stray], "default:stray") as service:
        service.ready()
        with works(port_of(server)) as session:
            service.process.send_signal(signal.SIGUSR2)
            assert service.ready() == f"listening on {HOST}:{port_of(server)} -> {HOST}:{gateway.port}, 1 live session"
            session.sendall(b"still there")
            assert session.read_exactly(11) == b"still there"
            works(port_of(server)).close()
            with Peer.dial((HOST, port_of(stray))) as client:
                assert client.ending() == "rst"


@pytest.mark.slow
def test_a_reload_is_answered_and_one_that_is_refused_is_in_the_status(tmp_path, gateway):
    port = free_port()
    good = text(("default", gateway.port, f"{HOST}:{port}"))
    with Service(tmp_path, good) as service:
        fine = service.ready()
        service.file.write_text("nonsense = 1\n")
        service.process.send_signal(signal.SIGHUP)
        assert service.notify.until("RELOADING=1")["MONOTONIC_USEC"]
        assert service.ready().startswith(
            f"{fine}; reload refused, the old configuration stays: {service.file}: nonsense"
        )
        service.file.write_text(good)
        service.process.send_signal(signal.SIGHUP)
        service.notify.until("RELOADING=1")
        assert service.ready() == fine


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux' own")
def test_the_watchdog_hears_of_it_with_the_status_at_an_abstract_address_too(tmp_path, gateway):
    port = free_port()
    maps, name = text(("default", gateway.port, f"{HOST}:{port}")), f"@ib-relay-test-{os.getpid()}"
    with Service(tmp_path, maps, environ={"WATCHDOG_USEC": "90000"}, notify=name) as service:
        service.ready()
        with works(port):
            news = wait_until(lambda: service.notify.until("WATCHDOG=1")["STATUS"], "there is news")
            assert news.endswith(", 1 live session")


# As `python -m relay`, but the loop hangs half a second after the start, and says so.
HANGS = """
import os, sys, time
from relay import server
def hang_here(relay):
    open(os.environ["HANGS"], "w").close()
    time.sleep(60)
server.Relay.snapshot = hang_here
sys.argv[0] = "ib-relay"
from relay.cli import main
main()
"""


@pytest.mark.slow
def test_a_loop_that_hangs_goes_silent_and_the_managers_abort_leaves_its_stack(tmp_path, gateway):
    maps = text(("default", gateway.port, f"{HOST}:{free_port()}"), log_interval=0.5)
    hanging, hangs = [sys.executable, "-c", HANGS], tmp_path / "hangs"
    environ = {"WATCHDOG_USEC": "150000", "HANGS": str(hangs)}
    with Service(tmp_path, maps, environ=environ, command=hanging) as service:
        service.ready()
        service.notify.until("WATCHDOG=1")
        wait_until(hangs.exists, "the loop hangs")
        service.notify.left()
        with pytest.raises(TimeoutError):
            service.notify.receive(0.2)
        service.process.send_signal(signal.SIGABRT)
        assert service.process.wait(PATIENCE) == -signal.SIGABRT
        stack = service.stderr.read_text()
        assert stack.startswith("Fatal Python error: Aborted") and "in hang_here" in stack and "in tick" in stack


@linux_only
@pytest.mark.slow
@test_launchd.needs_compiler
@pytest.mark.parametrize("listen, code", [("launchd:default", None), ("launchd:other", 78)])
def test_under_launchds_function_the_relay_takes_its_socket(tmp_path, bound, gateway, listen, code):
    server = bound()
    environ = {"LD_PRELOAD": test_launchd.compiled(tmp_path), "STUB_SOCKETS": f"default={server.fileno()}"}
    maps = text(("default", gateway.port, listen))
    with Service(tmp_path, maps, [server], environ=environ) as service:
        if code is None:
            assert service.ready().startswith(f"listening on {HOST}:{port_of(server)} -> ")
            works(port_of(server)).close()
            service.logs("(launchd:default)")
        else:
            assert service.ends()[0] == code
            assert "the job's plist has no such key in Sockets" in service.stderr.read_text()


@pytest.mark.slow
def test_a_log_file_gets_what_standard_output_would_and_a_reload_changes_it(tmp_path, gateway):
    port, one, other = free_port(), tmp_path / "one.log", tmp_path / "other.log"
    relays = ("default", gateway.port, f"{HOST}:{port}")
    with Service(tmp_path, text(relays, log_file=str(one))) as service:
        service.ready()
        works(port).close()
        service.logs("client_closed", one)
        service.file.write_text(text(relays, log_file=str(tmp_path / "no" / "such.log")))
        service.process.send_signal(signal.SIGHUP)
        assert "reload refused" in service.ready()
        service.logs("log_file: seen", one)
        service.file.write_text(text(relays, log_file=str(other)))
        service.process.send_signal(signal.SIGHUP)
        service.ready()
        works(port).close()
        service.logs("client_closed", other)
        assert service.stdout.read_text() == ""
    assert one.read_text().count("client_closed") == 1


@pytest.mark.slow
def test_a_log_file_that_cannot_be_had_is_a_wrong_configuration(tmp_path):
    maps = text(("default", 4002, f"{HOST}:{free_port()}"), log_file="/nonexistent/relay.log")
    with Service(tmp_path, maps) as service:
        code, said = service.ends()
        assert (code, said) == (
            78,
            (
                'ib-relay: log_file: seen "/nonexistent/relay.log", no such file or directory; '
                "allowed: a file that can be written"
            ),
        )
