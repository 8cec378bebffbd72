r"""Runs the relay as a process of its own, the way a user starts it, and reads its log: for the black-box tests.

The tests know the relay by its command line, its sockets, its signals, its log and what the operating system says
about the process; nothing is imported from it.

A test that no relay can fail proves nothing. So another relay can be put in its place, and some tests must then fail:

    IB_RELAY_UNDER_TEST='socat TCP-LISTEN:{listen_port},bind={listen_host},fork,reuseaddr TCP:{upstream}' \
        python -m pytest tests/relay/conformance

The template knows {listen}, {listen_host}, {listen_port} and {upstream}; settings beyond these (time bounds, limits)
are not passed on, and a stand-in that writes no JSON has no records. Tests that need nothing but sockets judge it
fairly.

Or the same relay can be started as a service under its whole sandbox, in a booted machine: see
tests/systemd/sandboxed.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from tests.relay.kit.scripted import LOOPBACK, PATIENCE, Peer, Upstream, free_port, wait_until

ROOT = Path(__file__).parents[3]
STAND_IN = os.environ.get("IB_RELAY_UNDER_TEST", "")
SANDBOX = None
if "IB_RELAY_UNDER_SANDBOX" in os.environ:
    from tests.systemd.sandboxed import from_environment

    SANDBOX = from_environment()
MAP = "test"  # the name of every relay's one map
LISTENING = "ib_relay.listening"
OPEN, READY, PROGRESS, CLOSE = (f"ib_relay.connection.{event}" for event in ("open", "ready", "progress", "close"))
TOP_LEVEL = {
    "log_interval",
    "max_connections",
    "drain_timeout",
    "latency",
}  # every other setting belongs to the port map
LINUX = sys.platform.startswith("linux")
linux_only = pytest.mark.skipif(not LINUX, reason="asks what only Linux' /proc tells")


class RelayProcess:
    """One relay in front of one upstream; `with` starts it, waits until it listens, and ends it.

    Settings beyond addresses and protocol reach the relay as a configuration file: RelayProcess(q,
    connect_timeout=0.5). With a `stdout` of the test's own making there are no records to ask for. `through` is a line
    of shell that starts "$@" under special conditions.
    """

    def __init__(
        self,
        upstream: int | str,
        *,
        protocol: str = "raw",
        host: str = LOOPBACK,
        port: int | None = None,
        listen: str | None = None,
        through: str = "",
        stdout: object = subprocess.PIPE,
        **settings: object,
    ) -> None:
        self.host, self.port = host, port or free_port(host)
        self.listen = listen or (f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}")
        self.upstream = upstream if isinstance(upstream, str) else f"{LOOPBACK}:{upstream}"
        self.protocol, self.settings = protocol, settings
        self._through, self._stdout = through, stdout
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._clients: list[Peer] = []
        self._logged_before: dict[Peer, int] = {}  # lines of log that were there when a client was dialled
        self._readers: list[threading.Thread] = []

    @property
    def upstream_port(self) -> int:
        return int(self.upstream.rpartition(":")[2])

    # -- starting and ending ---------------------------------------------------------------------------------------

    def __enter__(self) -> RelayProcess:
        self._folder = tempfile.TemporaryDirectory(prefix="ib-relay-test-", dir=SANDBOX and SANDBOX.folder)
        self.config_file = Path(self._folder.name, "relay.toml")
        self.write_configuration(**self.settings)
        self.process = self._start()
        self.tree = psutil.Process(self.process.pid)
        if self.process.stdout:
            self._collect(self.process.stdout, self._lines)
        self._collect(self.process.stderr, self._errors)
        try:
            wait_until(self._is_up, f"the relay listens on {self.listen}")
            self._own_sockets = self._sum(_sockets)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> subprocess.Popen:
        if SANDBOX:
            assert not self._through, "a service has no shell around it: sandboxed.NOT_HERE must name this test"
            return SANDBOX.start(self.config_file, (self.host, self.port), MAP, self._stdout)
        return subprocess.Popen(
            self.command(),
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if not key.startswith("IB_RELAY_")},
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=subprocess.PIPE,
        )

    def command(self) -> list[str]:
        """What to type to start this relay."""
        if STAND_IN:
            words = {
                "listen": self.listen,
                "listen_host": self.host,
                "listen_port": self.port,
                "upstream": self.upstream,
            }
            command = shlex.split(STAND_IN.format(**words))
        elif self.settings:
            command = [sys.executable, "-m", "relay", "run", "--config", str(self.config_file), "--log-format", "json"]
        else:
            where = ["--listen", self.listen, "--upstream", self.upstream, "--protocol", self.protocol]
            command = [sys.executable, "-m", "relay", "run", *where, "--log-format", "json"]
        # preexec_fn would do it without a shell, but is not safe in a process with threads.
        return ["/bin/sh", "-c", self._through, "sh", *command] if self._through else command

    def write_configuration(self, **settings: object) -> None:
        """Put these settings into the configuration file; a running relay reads them at SIGHUP."""
        port_map = {"name": MAP, "listen": self.listen, "upstream": self.upstream, "protocol": self.protocol}
        whole = {key: value for key, value in settings.items() if key in TOP_LEVEL}
        port_map |= {key: value for key, value in settings.items() if key not in TOP_LEVEL}
        self.config_file.write_text(f"{_toml(whole)}\n[[map]]\n{_toml(port_map)}\n")

    def _is_up(self) -> bool:
        assert self.process.poll() is None, f"the relay ended with {self.process.poll()}: {self.stderr}"
        if STAND_IN or not self.process.stdout:
            return any(one.status == psutil.CONN_LISTEN for one in _connections(self.tree))
        return bool(self.records(LISTENING))

    def __exit__(self, *exception: object) -> None:
        self.close_clients()
        if SANDBOX:
            self.process.remove()
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        self._folder.cleanup()
        if not any(exception):
            assert "Traceback" not in self.stderr, self.stderr

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, within: float) -> int:
        """The exit code of a relay that has been told to go; AssertionError when the process or a child stays."""
        children = [one for one in self._processes() if one != self.tree]  # it may be gone already
        [code] = wait_until(lambda: self.process.poll() is not None and [self.process.poll()], "the relay ends", within)
        wait_until(lambda: not any(child.is_running() for child in children), "its children end", within)
        return code

    # -- connections -----------------------------------------------------------------------------------------------

    def connect(self, receive_buffer: int | None = None) -> Peer:
        """A new client of the relay; closed with it at the latest."""
        logged = len(self._lines)
        client = Peer.dial((self.host, self.port), receive_buffer)
        self._logged_before[client] = logged
        self._clients.append(client)
        return client

    def session(self, upstream: Upstream) -> tuple[Peer, Peer]:
        """A client and the connection that the relay made for it at the upstream (raw: dialled on accept)."""
        client = self.connect()
        return client, upstream.accept()

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    # -- the log ---------------------------------------------------------------------------------------------------

    def _collect(self, pipe: object, lines: list[str]) -> None:
        reader = threading.Thread(target=lambda: lines.extend(map(bytes.decode, pipe)), name="log reader")
        self._readers.append(reader)
        reader.start()

    @property
    def lines(self) -> list[str]:
        """What came on standard output so far."""
        return list(self._lines)

    @property
    def stderr(self) -> str:
        return "".join(self._errors)

    def records(self, event: str | None = None, since: int = 0, **fields: object) -> list[dict]:
        """The records from line `since` on with this event name and these fields.

        A name with a dot is given as **{"end.by": "relay"}.
        """
        found = []
        for line in self.lines[since:]:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        wanted = {"event.name": event, **fields} if event else fields
        return [record for record in found if all(record.get(name) == value for name, value in wanted.items())]

    def record(self, event: str, client: Peer | None = None, within: float = PATIENCE, **fields: object) -> dict:
        """Wait for the first such record; with `client`, the one about that client's connection."""
        since = 0
        if client is not None:
            fields["client.port"] = client.port
            # Kernels hand a port out again: an earlier client may have had it.
            since = self._logged_before.get(client, 0)
        if STAND_IN:
            within = min(within, 0.2)  # it has no records; missing them should not take all day
        return wait_until(lambda: self.records(event, since, **fields), f"a record {event} with {fields}", within)[0]

    def end_of(self, client: Peer, within: float = PATIENCE) -> dict:
        """Wait for the record that says how this client's connection ended."""
        return self.record(CLOSE, client, within)

    # -- what the operating system says ----------------------------------------------------------------------------

    def _processes(self) -> list[psutil.Process]:
        """The relay and its children; what is gone may still be named."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [*self.tree.children(recursive=True), self.tree]
        return []

    def _sum(self, ask: object) -> float:
        total = 0
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, PermissionError):  # it has ended
                total += ask(process)
        return total

    def sockets(self) -> int:
        """Sockets the relay holds beside those it had when it began to listen."""
        return self._sum(_sockets) - self._own_sockets

    def descriptors(self) -> int:
        return self._sum(lambda one: one.num_fds())

    def memory(self) -> int:
        """Resident bytes."""
        return self._sum(lambda one: one.memory_info().rss)

    def cpu_seconds(self) -> float:
        return self._sum(lambda one: sum(one.cpu_times()[:2]))

    def is_idle(self, within: float = PATIENCE) -> bool:
        """Wait until no connection is left in the relay; AssertionError when one stays."""
        wait_until(
            lambda: self.sockets() == 0 and not self.tree.children(), "no connection is left in the relay", within
        )
        return True


def _connections(process: psutil.Process) -> list:
    ask = getattr(process, "net_connections", None) or process.connections  # renamed in psutil 6
    return ask("tcp")


def _sockets(process: psutil.Process) -> int:
    """How many; from the descriptors where possible, since the kernel's table may list thousands in TIME_WAIT."""
    if not LINUX:
        return len(_connections(process))
    count = 0
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            count += os.readlink(link).startswith("socket:")
    return count


def _toml(values: dict[str, object]) -> str:
    """Strings, numbers, booleans and lists of them are written alike in TOML and JSON."""
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
