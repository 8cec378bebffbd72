"""The relays that are compared, and how each is configured.

Every relay gets what its manual recommends for one long-lived TCP mapping, one process (or one worker) to do it with,
and no log on disk: ours writes its JSON records to /dev/null, the others log nothing at all. Two socats stand for two
users: the one who copies the line found in every IB Gateway image, and the one who has read the manual.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from relay.pyz import build

SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # Debian keeps servers out of a user's PATH
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
PROXYDS = (Path("/lib/systemd/systemd-socket-proxyd"), Path("/usr/lib/systemd/systemd-socket-proxyd"))
SOCKET_PROXYD = next((path for path in PROXYDS if path.exists()), PROXYDS[0])


@dataclass(frozen=True, slots=True)
class Place:
    """Where one relay is to run: listen on `port`, forward to `upstream`, keep files in `folder`."""

    port: int
    upstream: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """One column of the table. `command` is None for the run without a relay; `needs` are programs or files.

    `kept`: it runs under a service manager that keeps descriptors. `polls`: it never sleeps, so nothing has to wake it,
    and before all others on its core it would starve the kernel's own threads there.
    """

    key: str
    title: str
    note: str
    command: Callable[[Place], list[str]] | None
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    kept: bool = False
    polls: bool = False

    def missing(self) -> list[str]:
        return [need for need in self.needs if shutil.which(need, path=SEARCH_PATH) is None and not Path(need).exists()]


def _relay(place: Place, protocol: str = "ib", program: tuple[str, ...] = ("-m", "relay")) -> list[str]:
    ports = ("--listen", f"127.0.0.1:{place.port}", "--upstream", f"127.0.0.1:{place.upstream}")
    return [sys.executable, *program, "run", *ports, "--log-format", "json", "--protocol", protocol]


def _socat_as_found(place: Place) -> list[str]:
    return ["socat", f"TCP-LISTEN:{place.port},fork", f"TCP:127.0.0.1:{place.upstream}"]


def _socat_tuned(place: Place) -> list[str]:
    listen = f"TCP-LISTEN:{place.port},fork,reuseaddr,backlog=128,nodelay,keepalive"
    return ["socat", "-t", "30", "-b", "65536", listen, f"TCP:127.0.0.1:{place.upstream},nodelay,keepalive"]


# bufsize as in nginx and the tuned socat: a quarter faster on bulk than the default 16 KiB; splicing was slower here.
HAPROXY_CONFIG = """\
global
    nbthread 1
{more}    maxconn 4096
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


def _haproxy(place: Place, more: str = "") -> list[str]:
    config = place.folder / "haproxy.cfg"
    config.write_text(HAPROXY_CONFIG.format(port=place.port, upstream=place.upstream, more=more))
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
    return [
        "systemd-socket-activate",
        "-l",
        f"127.0.0.1:{place.port}",
        str(SOCKET_PROXYD),
        f"127.0.0.1:{place.upstream}",
    ]


BEFORE, BEFORE_RAW = "before", "before-raw"
OURS, RAW, OFF, SURVIVE = "ib-relay", "ib-relay-raw", "ib-relay-off", "ib-relay-survive"
SOCAT, HAPROXY, BUSY, NGINX, PROXYD = "socat", "haproxy", "haproxy-busy", "nginx", "proxyd"
DIRECT = "direct"
_SOCAT = Peer(
    SOCAT,
    "socat",
    "as users start it: TCP-LISTEN:P,fork TCP:127.0.0.1:Q",
    _socat_as_found,
    ("socat",),
    ("socat",),
    ("socat", "-V"),
)
_HAPROXY = Peer(
    HAPROXY,
    "HAProxy",
    "mode tcp, nbthread 1, maxconn 4096, bufsize 64k, keep-alive both ways, no log",
    _haproxy,
    ("haproxy",),
    ("haproxy",),
    ("haproxy", "-v"),
)
_NGINX = Peer(
    NGINX,
    "nginx",
    "stream, 1 worker, tcp_nodelay, proxy_buffer_size 64k, proxy_half_close, no log",
    _nginx,
    ("nginx",),
    ("nginx-light", "libnginx-mod-stream"),
    ("nginx", "-v"),
)
_PROXYD = Peer(
    PROXYD,
    "socket-proxyd",
    "systemd-socket-proxyd under systemd-socket-activate",
    _proxyd,
    ("systemd-socket-activate", str(SOCKET_PROXYD)),
    ("systemd",),
    ("systemd-socket-activate", "--version"),
)
PEERS = {
    peer.key: peer
    for peer in (
        Peer(OURS, "ib-relay", "as installed: protocol ib, latency adaptive; JSON records to /dev/null", _relay),
        Peer(RAW, "ib-relay raw", "the same, protocol raw: nothing is looked at", partial(_relay, protocol="raw")),
        Peer(OFF, "ib-relay off", "the same, latency off", _relay, environment={"IB_RELAY_LATENCY": "off"}),
        Peer(SURVIVE, "ib-relay survive", "the same, and a manager keeps its sessions", _relay, kept=True),
        _SOCAT,
        replace(
            _SOCAT,
            key="socat-tuned",
            title="socat tuned",
            note="reuseaddr, backlog=128, nodelay and keepalive both ways, -t 30, -b 65536",
            command=_socat_tuned,
        ),
        _HAPROXY,
        replace(
            _HAPROXY,
            key=BUSY,
            title="HAProxy busy-polling",
            note="the same with busy-polling, which is off by default and takes a whole core at all times",
            command=partial(_haproxy, more="    busy-polling\n"),
            polls=True,
        ),
        _NGINX,
        _PROXYD,
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
        run, note = partial(_relay, program=(str(file),)), f"one file, {file.name}"
        found.append(replace(ours, key=keys[0], title=title, note=f"{note}; protocol ib", command=run))
        raw_run = partial(run, protocol="raw")
        found.append(replace(raw, key=keys[1], title=f"{title} raw", note=f"{note}; protocol raw", command=raw_run))
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
    done = subprocess.run(peer.version, capture_output=True, text=True, timeout=10, env=clean_environment())
    lines = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in lines if any(c.isdigit() for c in line)), "unknown")


def clean_environment() -> dict[str, str]:
    """Without what would change the relays: Python's debug switches, our configuration variables, a manager of ours."""
    strange = ("IB_RELAY_", "PYTHON", "NOTIFY_", "LISTEN_", "WATCHDOG_", "FDSTORE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    return kept | {"PATH": SEARCH_PATH}
