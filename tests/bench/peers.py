"""The relays that are compared: how each is configured, started, found to be listening, and ended.

Every relay gets what its manual recommends for one long-lived TCP mapping, one process (or one worker) to do it with,
and no log on disk: ours writes its JSON records to /dev/null, the others log nothing at all. Two socats stand for two
users: the one who copies the line found in every IB Gateway image, and the one who has read the manual.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from relay.pyz import build
from tests.bench import load, processes

REPOSITORY = Path(__file__).resolve().parents[2]
LISTEN_TIMEOUT = 10.0
DEATH_TIMEOUT = 0.5  # from a failed measurement to the exit of a relay that caused it by dying
PROFILE_TIMEOUT = 20.0  # drain bound of our relay is 10 s; cProfile writes its file after that
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # Debian keeps servers out of a user's PATH
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
PROXYDS = (Path("/lib/systemd/systemd-socket-proxyd"), Path("/usr/lib/systemd/systemd-socket-proxyd"))
PROXYD = next((path for path in PROXYDS if path.exists()), PROXYDS[0])


@dataclass(frozen=True, slots=True)
class Place:
    """Where one relay is to run: listen on `port`, forward to `upstream`, keep files in `folder`."""

    port: int
    upstream: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """One column of the table. `command` is None for the run without a relay; `needs` are programs or files."""

    key: str
    title: str
    note: str
    command: Callable[[Place], list[str]] | None
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    version: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        return [need for need in self.needs if shutil.which(need, path=SEARCH_PATH) is None and not Path(need).exists()]


def _relay(place: Place, *more: str, program: tuple[str, ...] = ("-m", "relay")) -> list[str]:
    ports = ("--listen", f"127.0.0.1:{place.port}", "--upstream", f"127.0.0.1:{place.upstream}")
    return [sys.executable, *program, "run", *ports, "--log-format", "json", *more]


def _socat_as_found(place: Place) -> list[str]:
    return ["socat", f"TCP-LISTEN:{place.port},fork", f"TCP:127.0.0.1:{place.upstream}"]


def _socat_tuned(place: Place) -> list[str]:
    listen = f"TCP-LISTEN:{place.port},fork,reuseaddr,backlog=128,nodelay,keepalive"
    return ["socat", "-t", "30", "-b", "65536", listen, f"TCP:127.0.0.1:{place.upstream},nodelay,keepalive"]


# bufsize as in nginx and the tuned socat: a quarter faster on bulk than the default 16 KiB; splicing was slower here.
HAPROXY_CONFIG = """\
global
    nbthread 1
    maxconn 4096
    tune.bufsize 65536
defaults
    mode tcp
    timeout connect 5s
    timeout client 24h
    timeout server 24h
    timeout client-fin 30s
    timeout server-fin 30s
    option clitcpka
    option srvtcpka
listen bench
    bind 127.0.0.1:{port}
    server gateway 127.0.0.1:{upstream}
"""


def _haproxy(place: Place) -> list[str]:
    config = place.folder / "haproxy.cfg"
    config.write_text(HAPROXY_CONFIG.format(port=place.port, upstream=place.upstream))
    return ["haproxy", "-db", "-q", "-f", str(config)]


NGINX_CONFIG = """\
{module}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{
    worker_connections 4096;
}}
stream {{
    access_log off;
    tcp_nodelay on;
    proxy_buffer_size 64k;
    proxy_timeout 24h;
    proxy_connect_timeout 5s;
    server {{
        listen 127.0.0.1:{port} so_keepalive=on;
        proxy_pass 127.0.0.1:{upstream};
        proxy_socket_keepalive on;
        proxy_half_close on;
    }}
}}
"""


def _nginx(place: Place) -> list[str]:
    module = f"load_module {NGINX_STREAM};" if NGINX_STREAM.exists() else ""
    config = place.folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(module=module, folder=place.folder, port=place.port, upstream=place.upstream))
    return ["nginx", "-p", str(place.folder), "-e", "stderr", "-c", str(config)]


def _proxyd(place: Place) -> list[str]:
    return ["systemd-socket-activate", "-l", f"127.0.0.1:{place.port}", str(PROXYD), f"127.0.0.1:{place.upstream}"]


BEFORE, BEFORE_RAW = "before", "before-raw"
OURS, RAW, SOCAT, HAPROXY, NGINX, DIRECT = "ib-relay", "ib-relay-raw", "socat", "haproxy", "nginx", "direct"
PEERS = {
    peer.key: peer
    for peer in (
        Peer(OURS, "ib-relay", "protocol ib, IB observation on; JSON records to /dev/null", _relay),
        Peer(
            RAW,
            "ib-relay raw",
            "protocol raw, nothing looked at; JSON records to /dev/null",
            lambda place: _relay(place, "--protocol", "raw"),
        ),
        Peer(
            SOCAT,
            "socat",
            "as users start it: TCP-LISTEN:P,fork TCP:127.0.0.1:Q",
            _socat_as_found,
            ("socat",),
            ("socat",),
            ("socat", "-V"),
        ),
        Peer(
            "socat-tuned",
            "socat tuned",
            "reuseaddr, backlog=128, nodelay and keepalive both ways, -t 30, -b 65536",
            _socat_tuned,
            ("socat",),
            ("socat",),
            ("socat", "-V"),
        ),
        Peer(
            HAPROXY,
            "HAProxy",
            "mode tcp, nbthread 1, maxconn 4096, bufsize 64k, keep-alive both ways, no log",
            _haproxy,
            ("haproxy",),
            ("haproxy",),
            ("haproxy", "-v"),
        ),
        Peer(
            NGINX,
            "nginx",
            "stream, 1 worker, tcp_nodelay, proxy_buffer_size 64k, proxy_half_close, no log",
            _nginx,
            ("nginx",),
            ("nginx-light", "libnginx-mod-stream"),
            ("nginx", "-v"),
        ),
        Peer(
            "proxyd",
            "socket-proxyd",
            "systemd-socket-proxyd under systemd-socket-activate",
            _proxyd,
            ("systemd-socket-activate", str(PROXYD)),
            ("systemd",),
            ("systemd-socket-activate", "--version"),
        ),
        Peer(DIRECT, "no relay", "the load generator talks to its own gateway", None),
    )
}


def versions_of_ours(before: Path, folder: Path) -> list[Peer]:
    """Our relay of today and that of another build (`python -m relay.pyz`), each as one file, ib and raw."""
    now = folder / "now.pyz"
    build(now)
    ours, raw = PEERS[OURS], PEERS[RAW]
    found = []
    for file, keys, title in ((now, (OURS, RAW), "now"), (before, (BEFORE, BEFORE_RAW), "before")):
        run = partial(_relay, program=(str(file),))
        found.append(replace(ours, key=keys[0], title=title, command=run))
        found.append(
            replace(raw, key=keys[1], title=f"{title} raw", command=lambda at, run=run: run(at, "--protocol", "raw"))
        )
    return found


def install(peers: list[Peer]) -> None:
    """apt-get what is missing; subprocess.CalledProcessError when apt-get fails.

    RUNLEVEL=1 keeps Debian's packages from starting nginx and haproxy as services where sysv scripts do that; on a
    machine run by systemd they do start: meant for throw-away machines.
    """
    packages = sorted({package for peer in peers if peer.missing() for package in peer.packages})
    if packages:
        environment = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=True, env=environment
        )


def version_of(peer: Peer) -> str:
    """The line in which the peer's program names its version; empty for our own and for no relay."""
    if not peer.version:
        return ""
    done = subprocess.run(peer.version, capture_output=True, text=True, timeout=10, env=_clean_environment())
    lines = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in lines if any(c.isdigit() for c in line)), "unknown")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all relays of one run share: the load program, a folder for files, and which CPUs do what ("-" = any)."""

    program: Path
    folder: Path
    load_cpus: str
    relay_cpus: str


# In place of `-m relay`; the command itself ends without a profiler's last words.
PROFILED = "import cProfile, sys; from relay.cli import run; cProfile.run('run(sys.argv[2:])', sys.argv[1])"


class Relay:
    """One relay running in front of its own gateway. `pid` is None when there is no relay between them."""

    def __init__(self, bench: Bench, peer: Peer, profile: Path | None = None) -> None:
        self.peer, self._bench, self._process = peer, bench, None
        self.start_seconds: float | None = None
        self._errors = bench.folder / f"{peer.key}.err"
        self._server = load.Server(bench.program, bench.load_cpus)
        self.port = self._server.port
        try:
            if peer.command:
                self._start(profile)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        return self._process and self._process.pid

    def client(self, what: str, count: int, parameter: int) -> load.Client:
        """Work of the load generator through this relay, as `load.Client` has it."""
        return load.Client(self._bench.program, self._bench.load_cpus, self.port, what, count, parameter)

    def obituary(self) -> str:
        """The last words of a relay that has died, or is dying now; empty if it lives."""
        if self._process:
            try:
                return f"{self.peer.title} exited with {self._process.wait(DEATH_TIMEOUT)}: {self._last_words()}"
            except subprocess.TimeoutExpired:
                pass
        return ""

    def cpu_seconds(self) -> float | None:
        return None if self.pid is None else processes.cpu_seconds(self.pid)

    def close(self, gently: bool = False) -> str:
        """End relay and gateway; returns what the gateway had to complain about.

        `gently` lets the relay end by itself.
        """
        if self._process:
            if gently:
                self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(PROFILE_TIMEOUT)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return self._server.close()

    def _start(self, profile: Path | None) -> None:
        self.port = _free_port()
        folder = self._bench.folder / self.peer.key
        folder.mkdir(exist_ok=True)
        command = self.peer.command(Place(self.port, self._server.port, folder))
        if profile:
            command[1:3] = ["-c", PROFILED, str(profile)]
        pinned = [str(self._bench.program), "exec", self._bench.relay_cpus, *command]
        with open(self._errors, "wb") as errors:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=REPOSITORY,
                env=_clean_environment(),
                start_new_session=True,
            )
        self._wait_until_it_listens(begun)
        self.start_seconds = time.perf_counter() - begun

    def _wait_until_it_listens(self, begun: float) -> None:
        """Polls by connecting, as a client would find out; each relay sees at most one such empty connection."""
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except ConnectionRefusedError:
                pass
            if self._process.poll() is not None:
                raise load.LoadError(
                    f"{self.peer.title} did not start ({self._process.returncode}): {self._last_words()}"
                )
            if time.perf_counter() - begun > LISTEN_TIMEOUT:
                raise load.LoadError(
                    f"{self.peer.title} does not listen after {LISTEN_TIMEOUT:.0f} s: {self._last_words()}"
                )
            time.sleep(0.001)

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._errors.read_text(errors="replace").splitlines()]
        return " / ".join([line for line in lines if line.strip("^ ")][-2:]) or "it said nothing"


def _free_port() -> int:
    """A free port below Linux' ephemeral range: polling a port inside it can end in a socket connected to itself."""
    while True:
        port = random.randrange(10240, 32768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _clean_environment() -> dict[str, str]:
    """Without what would change the relays: Python's debug switches and our own configuration variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("IB_RELAY_", "PYTHON"))}
    return kept | {"PATH": SEARCH_PATH}
