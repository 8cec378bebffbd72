"""Runs as they were seen or would be, as Evidence: one for every code and every healthy set-up, and what must come out.

    python -m tests.diagnostics.recorded      writes tests/data/evidence anew; look at what git shows as changed

Thirteen of them are stored as files, which pin the format; the others are only here.

Gateway logs, phones, Windows and Macs are not at hand where tests run; everything here is built from what the fields of
Evidence mean, with the addresses and times measured on the real thing where there was one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from diagnostics.evidence import (
    Asked,
    DialSeen,
    Evidence,
    Fact,
    Forwarder,
    HostView,
    KernelView,
    ListeningSocket,
    LogView,
    Outcome,
    Probe,
    ProbeStage,
    RepairedSetting,
    Route,
    StageResult,
)
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import Side
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.diagnosis import Level
from diagnostics.saved_evidence import dump

FOLDER = Path(__file__).resolve().parents[1] / "data" / "evidence"

QUIET_WEDNESDAY = 1_795_015_200.0  # 2026-11-18 15:20 UTC: in nobody's maintenance window
SUNDAY = 1_795_334_400.0  # 2026-11-22 08:00 UTC, 03:00 in New York: after the tokens have ended
RESET_NIGHT = 1_794_979_200.0  # 2026-11-18 05:20 UTC, 00:20 in New York: North America's daily reset

O, S = Outcome, ProbeStage  # noqa: E741
NEVER, MS = None, 0.001
# Seconds each step takes where it goes well.
USUAL = {S.RESOLVE: 0.0021, S.CONNECT: 0.0004, S.QUIET: 0.15, S.HELLO: 0.012, S.START_API: 0.031, S.SYNC: 0.009}


# A step that fails: (stage, outcome, seconds, error, detail).


def fails(
    stage: ProbeStage, outcome: Outcome, seconds: float | None, error: str | None = None, detail: str = ""
) -> StageResult:
    return StageResult(stage, outcome, seconds, detail, error)


UNKNOWN = fails(S.RESOLVE, O.UNREACHABLE, 0.004, "EAI_NONAME", "the name is not known")
NO_RESOLVER = fails(S.RESOLVE, O.UNREACHABLE, 0.001, "EAI_AGAIN", "no name server answered")
REFUSED = fails(S.CONNECT, O.REFUSED, 0.0006, "ECONNREFUSED")
DROPPED = fails(S.CONNECT, O.TIMED_OUT, 3.5, None, "did not answer in 3.5 s")
NOBODY = fails(S.CONNECT, O.UNREACHABLE, 3.07, "EHOSTUNREACH", "no route to host after 3.1 s")
PROHIBITED = fails(S.CONNECT, O.UNREACHABLE, 0.0008, "EHOSTUNREACH", "no route to host")
NO_NETWORK = fails(S.CONNECT, O.UNREACHABLE, 0.00002, "ENETUNREACH", "network is unreachable")
ENDED = fails(S.QUIET, O.CLOSED, 0.0007, None, "closed before anything was said, 1 ms after the connection was made")
RESET = fails(
    S.QUIET, O.RESET, 0.0007, "ECONNRESET", "reset before anything was said, 1 ms after the connection was made"
)
BANNER = fails(S.QUIET, O.BAD_PEER, 0.003, None, "it spoke first, SSH, 3 ms after the connection was made")
SILENT = fails(S.HELLO, O.TIMED_OUT, 5.0, None, "no answer in 5.0 s")
CLOSED = fails(S.HELLO, O.CLOSED, 0.004)
REFUSED_BEHIND = fails(S.HELLO, O.RESET, 0.0012, "ECONNRESET", "reset 1 ms after our hello, 0 bytes received")
DROPPED_BEHIND = fails(S.HELLO, O.RESET, 5.003, "ECONNRESET", "reset 5003 ms after our hello, 0 bytes received")
STRANGER = fails(S.HELLO, O.BAD_PEER, 0.004)
NOT_READY = fails(S.START_API, O.TIMED_OUT, 5.0, None, "no order id and no accounts in 5.0 s")
SENT_AWAY = fails(S.START_API, O.CLOSED, 0.502)
TAKEN = fails(S.START_API, O.REFUSED, 0.006, None, "error 326: the client id is in use")
UNANSWERED = fails(S.SYNC, O.TIMED_OUT, 5.0)

FINE, LISTENS = "fine", "listens"  # all of it; up to QUIET, and the handshake was tried elsewhere
ACKNOWLEDGED, LOST = KernelView(0, 0, 0), KernelView(1, 3, 17)


def probe(
    host: str, kind: str, end: StageResult | str = FINE, address: str | None = None, port: int = 4003, **known
) -> Probe:
    """A route as far as `end`. A host that is no address needs one in `address` if it resolves."""
    address = address or host
    reached = LISTENS if end == LISTENS else FINE
    last = end.stage if isinstance(end, StageResult) else S.QUIET if reached == LISTENS else None
    because = f"{last.name} failed" if isinstance(end, StageResult) else "one handshake is enough"
    order = list(ProbeStage)

    def went(stage: ProbeStage) -> StageResult:
        if isinstance(end, StageResult) and stage is end.stage:
            return end
        if last is not None and order.index(stage) > order.index(last):
            return StageResult(stage, O.SKIPPED, None, because)
        return StageResult(stage, O.OK, USUAL[stage])

    stages = tuple(went(stage) for stage in order)
    known.setdefault("source", "172.17.0.2" if stages[1].outcome is O.OK else None)
    if stages[3].outcome is O.OK:
        known = {"server_version": 176, "bytes_received": 30, **known}
    if stages[4].outcome is O.OK:
        if "codes" not in known:
            known = {"codes": (2104, 2106, 2158), "farms": ("usfarm", "ushmds", "secdefil"), **known}
        known = {"accounts": ("DU***567",), "account_count": 1, **known, "bytes_received": 430}
    if stages[0].outcome is not O.OK:
        return Probe(Route(host, port, kind, WHY[kind]), stages)
    return Probe(Route(host, port, kind, WHY[kind]), stages, (address,), address, **known)


def slow(one: Probe, seconds: float) -> Probe:
    """The same, with the hello answered only after so long."""
    late = (replace(result, seconds=seconds) if result.stage is S.HELLO else result for result in one.stages)
    return replace(one, stages=tuple(late))


WHY = {
    "configured": "IB_HOST says so",
    "name": "a name by which containers know their host",
    "gateway": "the default gateway: the container host's end of this network",
    "bridge": "docker0's usual address: where a relay for containers listens",
    "loopback": "loopback of this machine",
    "host_address": "an address of this machine",
    "sibling": "another usual port",
    "behind": "docker-proxy passes on to it what comes to port 4002 here",
    "address": "an address of gw.example, behind one that is silent",
}
HDI = "host.docker.internal"
DOCKER0 = "172.17.0.1"


# Places.


def facts(**values: str) -> tuple[Fact, ...]:
    named = {name.replace("__", "."): value for name, value in values.items()}
    common = {"os": "Linux 6.8.0-48-generic, Debian GNU/Linux 12 (bookworm)", "python": "CPython 3.12.7"}
    return tuple(Fact(name, value, SOURCES.get(name, "this machine")) for name, value in (common | named).items())


SOURCES = {
    "container": "/.dockerenv",
    "runtime": "/.dockerenv",
    "flavour": "/proc/version",
    "network_mode": "/etc/resolv.conf",
    "own_addresses": "interfaces",
    "default_gateway": "/proc/net/route",
    "resolver": "/etc/resolv.conf",
    "hosts_entries": "/etc/hosts",
    "docker0": "/sys/class/net",
}


def docker(network: str, own: str, gateway: str, resolver: str, *, flavour: str = "linux engine", **more: str):
    """What is known in a container of Docker."""
    seen = {"network_mode": network, "own_addresses": own, "default_gateway": gateway, "resolver": resolver}
    return facts(container="yes", runtime="docker", flavour=flavour, **seen, **more)


BRIDGE = docker("default bridge", "172.17.0.2", DOCKER0, "192.168.1.1")
BRIDGE_NAMED = docker("default bridge", "172.17.0.2", DOCKER0, "192.168.1.1", hosts_entries=f"{HDI}={DOCKER0}")
USER_NETWORK = docker("user network", "172.18.0.5", "172.18.0.1", "127.0.0.11", hosts_entries=f"{HDI}={DOCKER0}")
HOST_NETWORK = docker("host", "192.168.1.5, 172.17.0.1", "192.168.1.1", "192.168.1.1", docker0=DOCKER0)
NO_NETWORK_PLACE = docker("none", "", "", "192.168.1.1")
DESKTOP = docker("default bridge", "172.17.0.2", DOCKER0, "192.168.65.7", flavour="docker desktop")
DESKTOP_OVERRIDDEN = docker(
    "user network", "172.18.0.2", "172.18.0.1", "127.0.0.11", flavour="colima", hosts_entries=f"{HDI}={DOCKER0}"
)
ORBSTACK = docker("default bridge", "192.168.215.2", "192.168.215.1", "0.250.250.200", flavour="orbstack")
PODMAN = facts(
    container="yes",
    runtime="podman",
    network_mode="pasta",
    rootless="yes",
    own_addresses="192.168.1.5",
    default_gateway="192.168.1.1",
    hosts_entries=f"host.containers.internal=169.254.1.2, {HDI}=169.254.1.2",
)
SLIRP = facts(container="yes", runtime="podman", network_mode="slirp4netns", rootless="yes", default_gateway="10.0.2.2")
DOCKER_ROOTLESS = docker("default bridge", "172.17.0.2", DOCKER0, "10.0.2.3", rootless="yes")
POD = facts(
    container="yes",
    runtime="kubernetes",
    network_mode="kubernetes",
    own_addresses="10.42.0.17",
    default_gateway="10.42.0.1",
)
PLAIN = facts(
    container="no",
    runtime="none",
    flavour="none",
    network_mode="host",
    own_addresses="192.168.1.5",
    default_gateway="192.168.1.1",
    resolver="192.168.1.1",
)
UNKNOWN_PLACE = (Fact("os", "Linux 6.8.0-48-generic", "uname"), Fact("container", None, "no sign of one"))
AS_CONFIGURED = Asked(configured_from="IB_HOST")


def run(
    place, *probes: Probe, asked=AS_CONFIGURED, created=QUIET_WEDNESDAY, host=None, log=(), log_view=None
) -> Evidence:
    if not any(one.route.kind == "configured" for one in probes):
        asked = replace(asked, configured_from="")
    tail_at = created - 5.0 if log else None
    return Evidence(created, "0.1.0", asked, place, probes, host, tuple(log), tail_at, gateway_log=log_view)


def view(*listeners: ListeningSocket, close_wait=0, syn_sent=0, established=1) -> HostView:
    return HostView(listeners, close_wait, syn_sent, established)


OPEN = ListeningSocket("0.0.0.0", 4003, 0, 50)


def behind(queue: int) -> HostView:
    """A relay that leads to port 4002 of this machine, where so many connections wait."""
    relay = Forwarder("ib-relay", "", 4003, "127.0.0.1:4002", open=False, assumed=True)
    listeners = OPEN, ListeningSocket("127.0.0.1", 4002, queue, 50)
    return replace(view(*listeners), forwarders=(relay,), dials=(DialSeen("127.0.0.1", 4002, 50116, False),))


STARTED = ("started", "forwarder_up", "starting", "logging_in")
LOGGED_IN = (*STARTED, "logged_in", "configured")


@dataclass(frozen=True, slots=True)
class Case:
    """A run and what has to come out of it: the codes in order, and the candidates of the first of them."""

    name: str
    evidence: Evidence
    codes: tuple[str, ...]
    level: Level
    side: Side
    candidates: tuple[str, ...] = ()


def healthy(name: str, place, *probes: Probe, **more) -> Case:
    level = Level.ANSWERS if more.get("asked") and not more["asked"].session else Level.USABLE
    return Case(name, run(place, *probes, **more), (), level, Side.NONE)


def works(name: str, code: str, candidates: str = "", side: Side = Side.GATEWAY) -> Callable[..., Case]:
    return fault(name, code, Level.USABLE, side, candidates)


def fault(name: str, codes: str, level: Level, side: Side, candidates: str = "") -> Callable[..., Case]:
    """What has to come out. Call what this returns with what was seen, as one calls `run`."""

    def case(place, *probes: Probe, **more) -> Case:
        return Case(name, run(place, *probes, **more), _codes(codes), level, side, _codes(candidates))

    return case


def _codes(numbers: str) -> tuple[str, ...]:
    return tuple(f"IBD{number}" for number in numbers.split())


TCP, HELLO, SESSION = Level.NO_TCP, Level.NO_HANDSHAKE, Level.NO_SESSION
GATEWAY, ROUTING, LOCAL, UNCLEAR = Side.GATEWAY, Side.ROUTING, Side.LOCAL, Side.UNCLEAR

# What a forwarder does in front of a gateway that has no login yet.
CLOSED_AT_ONCE = (probe(HDI, "configured", ENDED, DOCKER0),)
REFUSES = (probe("ib-gateway", "configured", REFUSED, "172.18.0.3"),)


def login(
    name: str,
    code: str,
    *states: str,
    probes=CLOSED_AT_ONCE,
    place=BRIDGE_NAMED,
    created=QUIET_WEDNESDAY,
    level=HELLO,
    **known,
):
    """What the log says: its states, and by name what a LogView knows beside them."""
    view = LogView(len(states), len(states), **known)
    return fault(name, code, level, GATEWAY)(place, *probes, log=states, log_view=view, created=created)


def healthy_but(name: str, code: str, side: Side, *states: str, **known) -> Case:
    """It works, and the log tells something beside it."""
    view = LogView(len(states), len(states), **known)
    side = side if CATALOGUE[f"IBD{code}"].severity != "info" else Side.NONE
    return works(name, code, side=side)(BRIDGE, probe(DOCKER0, "configured"), log=states, log_view=view)


HEALTHY = (
    healthy("healthy-docker-bridge", BRIDGE, probe(HDI, "name", UNKNOWN), probe(DOCKER0, "gateway")),
    healthy("healthy-host-gateway-name", BRIDGE_NAMED, probe(HDI, "configured", FINE, DOCKER0)),
    healthy(
        "healthy-user-network", USER_NETWORK, probe(HDI, "name", FINE, DOCKER0), probe("172.18.0.1", "gateway", LISTENS)
    ),
    healthy(
        "healthy-relay-on-docker0",
        USER_NETWORK,
        probe(HDI, "configured", FINE, DOCKER0),
        probe("172.18.0.1", "gateway", REFUSED),
    ),
    healthy(
        "healthy-container-name",
        USER_NETWORK,
        probe("ib-gateway", "configured", FINE, "172.18.0.3"),
        probe(HDI, "name", REFUSED, DOCKER0),
    ),
    healthy(
        "healthy-host-network",
        HOST_NETWORK,
        probe("127.0.0.1", "loopback", source="127.0.0.1"),
        probe(DOCKER0, "bridge", REFUSED),
        probe("192.168.1.5", "host_address", REFUSED),
        host=view(ListeningSocket("127.0.0.1", 4003, 0, 50)),
    ),
    healthy(
        "healthy-docker-desktop",
        DESKTOP,
        probe(HDI, "name", FINE, "192.168.65.254"),
        probe("gateway.docker.internal", "name", LISTENS, "192.168.65.1"),
        probe(DOCKER0, "gateway", REFUSED),
        probe("host.containers.internal", "name", UNKNOWN),
        probe("host.lima.internal", "name", UNKNOWN),
    ),
    healthy(
        "healthy-orbstack",
        ORBSTACK,
        probe(HDI, "name", FINE, "0.250.250.254"),
        probe("host.orb.internal", "name", UNKNOWN),
        probe("192.168.215.1", "gateway", DROPPED),
    ),
    healthy("healthy-podman", PODMAN, probe("host.containers.internal", "name", FINE, "169.254.1.2")),
    healthy(
        "healthy-kubernetes-sidecar", POD, probe("127.0.0.1", "configured"), probe("10.42.0.1", "gateway", DROPPED)
    ),
    healthy("healthy-plain-host", PLAIN, probe("127.0.0.1", "loopback", source="127.0.0.1")),
    healthy("healthy-place-unknown", UNKNOWN_PLACE, probe("192.168.1.5", "configured")),
    healthy(
        "healthy-hello-only",
        BRIDGE,
        probe(DOCKER0, "configured", StageResult(S.START_API, O.SKIPPED)),
        asked=Asked(False),
    ),
    healthy("healthy-farms-back", BRIDGE, probe(DOCKER0, "configured", codes=(2103, 1100, 1102, 2104, 2106))),
    healthy(
        "healthy-farms-back-by-name",
        BRIDGE,
        probe(
            DOCKER0,
            "configured",
            codes=(2103, 2103, 1100, 2104, 1102),
            farms=("usfarm", "eufarm", "", "eufarm", "usfarm ushmds"),
        ),
    ),
    healthy(
        "healthy-old-trouble-in-the-log",
        BRIDGE,
        probe(DOCKER0, "configured"),
        log=("started", "login_failed", "twofa_pending", "logged_in", "configured", "existing_session"),
    ),
    healthy("healthy-in-a-maintenance-window", BRIDGE, probe(DOCKER0, "configured"), created=RESET_NIGHT),
)


def at_first(host: str, *addresses: str) -> Probe:
    """A name with several addresses, the first of which works."""
    return replace(probe(host, "configured", FINE, addresses[0]), addresses=addresses)


def held_up(host: str, silent: str, answering: str) -> Probe:
    """A name whose first address is silent, and whose second one answers."""
    detail = f"{silent} did not answer in 3.5 s; {answering} answered"
    waits = fails(S.CONNECT, O.TIMED_OUT, 3.5, None, detail)
    found = probe(host, "configured", waits, silent)
    return replace(found, addresses=(silent, answering), answering=answering)


def stays_with(host: str, one: str, other: str, end: StageResult, **known) -> Probe:
    """A name whose first address takes the connection, and then ends like that."""
    return replace(probe(host, "configured", end, one, **known), addresses=(one, other))


HELD_UP = held_up("gw.example", "fd00::7", "192.168.1.7")

NAMES = (
    fault("name-unknown", "101", TCP, LOCAL)(
        BRIDGE, probe("ib-gatway", "configured", UNKNOWN), probe(HDI, "name", UNKNOWN)
    ),
    fault("name-unknown-and-another-route-works", "101", Level.USABLE, ROUTING)(
        BRIDGE, probe(HDI, "configured", UNKNOWN), probe(DOCKER0, "gateway")
    ),
    fault("name-unknown-everywhere", "101", TCP, LOCAL)(UNKNOWN_PLACE, probe(HDI, "name", UNKNOWN)),
    fault("resolver-down", "102", TCP, LOCAL)(
        NO_NETWORK_PLACE, probe("ib-gateway", "configured", NO_RESOLVER), probe(DOCKER0, "bridge", NO_NETWORK)
    ),
    fault("resolver-hangs", "102", TCP, LOCAL)(
        BRIDGE, probe("gw.example", "configured", fails(S.RESOLVE, O.TIMED_OUT, 3.0))
    ),
    fault("name-is-ipv6-first", "103", Level.USABLE, LOCAL)(
        PLAIN, replace(probe("localhost", "configured", FINE, "127.0.0.1"), addresses=("::1", "127.0.0.1"))
    ),
    fault("name-is-ipv6-only", "103", Level.USABLE, ROUTING)(
        PLAIN, probe("gw.example", "configured", REFUSED, "fd00::5"), probe("127.0.0.1", "loopback", source="127.0.0.1")
    ),
    fault("hostname-is-vm", "104", Level.USABLE, ROUTING)(
        DESKTOP_OVERRIDDEN,
        probe(HDI, "configured", REFUSED, DOCKER0),
        probe("192.168.5.2", "host_address"),
        probe("172.18.0.1", "gateway", REFUSED),
    ),
    fault("hostname-is-vm-and-nothing-works", "201", TCP, UNCLEAR, "201 104 601 602 208")(
        DESKTOP_OVERRIDDEN, probe(HDI, "configured", REFUSED, DOCKER0)
    ),
    fault("hostname-stale", "105", Level.USABLE, ROUTING)(
        DESKTOP, probe(HDI, "configured", DROPPED, "192.168.65.254"), probe("192.168.1.5", "configured")
    ),
    fault("localhost-in-container", "106", TCP, LOCAL)(USER_NETWORK, probe("127.0.0.1", "configured", REFUSED)),
    fault("localhost-in-container-and-another-route-works", "106", Level.USABLE, ROUTING)(
        USER_NETWORK, probe("localhost", "configured", REFUSED, "127.0.0.1"), probe(HDI, "name", FINE, DOCKER0)
    ),
    fault("localhost-in-a-place-unknown", "201", TCP, UNCLEAR, "106 201 601 602 208")(
        UNKNOWN_PLACE, probe("127.0.0.1", "configured", REFUSED)
    ),
    fault("name-held-up", "108", Level.USABLE, ROUTING)(
        BRIDGE, HELD_UP, probe("192.168.1.7", "address"), probe(DOCKER0, "gateway", REFUSED)
    ),
    fault("name-held-up-and-that-is-all-that-was-asked", "108", TCP, LOCAL)(BRIDGE, HELD_UP),
    fault("host-name-held-up", "108", Level.USABLE, ROUTING)(
        DESKTOP, held_up(HDI, "fdc4::254", "192.168.65.254"), probe("192.168.65.254", "address")
    ),
    fault("name-held-up-by-an-old-address", "108", Level.USABLE, ROUTING)(
        PLAIN, held_up("gw.example", "192.168.1.8", "192.168.1.7"), probe("192.168.1.7", "address")
    ),
    fault("name-held-up-and-the-port-refuses", "108 201", TCP, LOCAL)(
        BRIDGE, HELD_UP, probe("192.168.1.7", "address", REFUSED)
    ),
    works("name-is-ipv6-only-and-works", "109", side=Side.NONE)(
        PLAIN, probe("gw.example", "configured", FINE, "fd00::5")
    ),
    works("name-whose-second-ipv4-address-works", "109", side=Side.NONE)(
        PLAIN,
        replace(
            probe("gw.example", "configured", FINE, "192.168.1.7"),
            addresses=("192.168.1.8", "192.168.1.7"),
        ),
    ),
    *(
        fault(f"name-stays-with-one-that-{name}", "110", Level.USABLE, ROUTING)(
            PLAIN,
            stays_with("gw.example", "10.9.0.3", "10.9.0.1", end, **known),
            probe("10.9.0.1", "address"),
        )
        for name, end, known in (
            ("is-silent", SILENT, {"kernel": ACKNOWLEDGED}),
            ("closes-at-once", ENDED, {}),
            ("closes-at-the-hello", CLOSED, {}),
            ("is-a-web-server", STRANGER, {"first_bytes": "http"}),
            ("begins-a-hello", SILENT, {"bytes_received": 9, "hello_length": 30}),
        )
    ),
    fault("name-stays-with-one-and-the-gateway-is-not-ready", "110 503", SESSION, LOCAL)(
        PLAIN,
        stays_with("gw.example", "10.9.0.3", "10.9.0.1", SILENT, kernel=ACKNOWLEDGED),
        probe("10.9.0.1", "address", NOT_READY),
    ),
    healthy("healthy-on-ipv6-before-ipv4", PLAIN, at_first("gw.example", "fd00::5", "192.168.1.7")),
    healthy("healthy-localhost-on-ipv6", PLAIN, probe("localhost", "configured", FINE, "::1", source="::1")),
    works("setting-repaired", "107", side=LOCAL)(
        BRIDGE,
        probe("gw", "configured", address=DOCKER0),
        asked=replace(AS_CONFIGURED, repaired=(RepairedSetting("IB_HOST", "'gw '", ("blanks around it",), "gw"),)),
    ),
)

WAYS = (
    fault("refused-everywhere", "201", TCP, GATEWAY, "201 202 601 602 208")(
        USER_NETWORK, probe(HDI, "configured", REFUSED, DOCKER0), probe("172.18.0.1", "gateway", REFUSED)
    ),
    fault("refused-and-seen-that-nobody-listens", "201", TCP, GATEWAY, "201 601 602")(
        PLAIN, probe("127.0.0.1", "configured", REFUSED), host=view()
    ),
    fault("refused-and-seen-that-somebody-listens", "201", TCP, GATEWAY, "208 202 601 602")(
        PLAIN, probe("192.168.1.5", "configured", REFUSED), host=view(OPEN)
    ),
    fault("refused-though-logged-in", "201", TCP, UNCLEAR, "310 201 202 208")(USER_NETWORK, *REFUSES, log=LOGGED_IN),
    fault("bound-to-loopback", "202", Level.USABLE, ROUTING)(
        HOST_NETWORK,
        probe("192.168.1.5", "configured", REFUSED),
        probe("127.0.0.1", "loopback", source="127.0.0.1"),
        host=view(ListeningSocket("127.0.0.1", 4003, 0, 50)),
    ),
    fault("bound-to-the-other-bridge", "203", Level.USABLE, ROUTING)(
        USER_NETWORK, probe("172.18.0.1", "configured", REFUSED), probe(HDI, "name", FINE, DOCKER0)
    ),
    fault("another-port-answers", "204", TCP, LOCAL)(
        BRIDGE, probe(DOCKER0, "configured", REFUSED), probe(DOCKER0, "sibling", LISTENS, port=4001)
    ),
    fault("filtered", "205", TCP, UNCLEAR, "205 207 105")(BRIDGE_NAMED, probe(HDI, "configured", DROPPED, DOCKER0)),
    fault("filtered-configured-works-elsewhere", "205", Level.USABLE, ROUTING, "205 207")(
        BRIDGE, probe("10.0.0.5", "configured", DROPPED), probe(DOCKER0, "gateway")
    ),
    fault("accepted-once-and-then-no-more", "205", TCP, UNCLEAR, "207 205")(
        BRIDGE, probe(DOCKER0, "configured", DROPPED, source="172.17.0.2")
    ),
    fault("no-such-host", "206", TCP, ROUTING, "206 208")(BRIDGE, probe("172.17.0.9", "configured", NOBODY)),
    fault("filtered-on-loopback", "205", TCP, UNCLEAR, "207 205")(PLAIN, probe("127.0.0.1", "configured", DROPPED)),
    fault("listen-queue-full", "207", TCP, GATEWAY)(
        PLAIN,
        probe("127.0.0.1", "configured", DROPPED),
        host=view(ListeningSocket("0.0.0.0", 4003, 51, 50), close_wait=51),
    ),
    fault("listen-queue-full-on-loopback", "207", TCP, GATEWAY)(
        PLAIN,
        probe("127.0.0.1", "configured", DROPPED),
        probe("192.168.1.5", "host_address", REFUSED),
        host=view(ListeningSocket("127.0.0.1", 4003, 51, 50)),
    ),
    fault("prohibited", "208", TCP, ROUTING)(BRIDGE, probe(DOCKER0, "configured", PROHIBITED)),
    fault("prohibited-by-policy", "208", TCP, ROUTING)(
        PLAIN, probe("10.0.0.5", "configured", fails(S.CONNECT, O.UNREACHABLE, MS, "EACCES"))
    ),
    fault("no-network-at-all", "209", TCP, LOCAL)(
        NO_NETWORK_PLACE, probe(HDI, "name", NO_RESOLVER), probe(DOCKER0, "bridge", NO_NETWORK)
    ),
    fault("data-disappears", "210", HELLO, ROUTING)(BRIDGE, probe(DOCKER0, "configured", SILENT, kernel=LOST)),
    fault("refused-here-dropped-there", "205 201", TCP, UNCLEAR, "205 207")(
        USER_NETWORK, probe("10.0.0.5", "configured", DROPPED), probe(HDI, "name", REFUSED, DOCKER0)
    ),
)

SILENCE = (probe(DOCKER0, "configured", SILENT, kernel=ACKNOWLEDGED),)
LOCAL_SILENCE = (probe("127.0.0.1", "configured", SILENT, kernel=ACKNOWLEDGED, source="127.0.0.1"),)

PEERS = (
    fault("closed-at-once", "301", HELLO, GATEWAY, "301 302 601 602 605 607 505")(BRIDGE_NAMED, *CLOSED_AT_ONCE),
    fault("reset-at-once", "301", HELLO, GATEWAY, "302 301 601 602 605 607 505")(
        BRIDGE, probe(DOCKER0, "configured", RESET)
    ),
    fault("closed-at-once-and-the-forwarder-found-nobody", "301", HELLO, GATEWAY, "301 310")(
        BRIDGE_NAMED, *CLOSED_AT_ONCE, log=(*LOGGED_IN, "forwarder_refused")
    ),
    fault("closed-behind-docker-proxy-by-the-gateway-s-own-port", "301", HELLO, GATEWAY, "302 301 601 602 605 607")(
        PLAIN,
        probe("127.0.0.1", "configured", ENDED, port=4002, source="127.0.0.1"),
        probe("172.17.0.3", "behind", ENDED, port=4002, source="172.17.0.1"),
        host=replace(
            view(ListeningSocket("127.0.0.1", 4002, 0, 4096)),
            forwarders=(Forwarder("docker-proxy", "127.0.0.1", 4002, "172.17.0.3:4002"),),
        ),
    ),
    fault("closed-behind-docker-proxy-by-the-image-s-forwarder", "301", HELLO, GATEWAY, "301 302 601 602 605 607")(
        PLAIN,
        probe("127.0.0.1", "configured", ENDED, port=4002, source="127.0.0.1"),
        probe("172.17.0.3", "behind", ENDED, port=4004, source="172.17.0.1"),
        host=replace(
            view(ListeningSocket("127.0.0.1", 4002, 0, 4096)),
            forwarders=(Forwarder("docker-proxy", "127.0.0.1", 4002, "172.17.0.3:4004"),),
        ),
    ),
    fault("nobody-behind-docker-proxy", "301", HELLO, GATEWAY, "301 601 602 605 607")(
        PLAIN,
        probe("127.0.0.1", "configured", ENDED, port=4002, source="127.0.0.1"),
        probe("172.17.0.3", "behind", REFUSED, port=4004),
        host=replace(
            view(ListeningSocket("127.0.0.1", 4002, 0, 4096)),
            forwarders=(Forwarder("docker-proxy", "127.0.0.1", 4002, "172.17.0.3:4004"),),
        ),
    ),
    fault("peer-rejected", "302", Level.USABLE, ROUTING)(
        PLAIN,
        probe("192.168.1.5", "configured", ENDED, source="192.168.1.5"),
        probe("127.0.0.1", "loopback", source="127.0.0.1"),
        host=view(OPEN),
    ),
    fault("seed-accept-then-silence", "303", HELLO, GATEWAY, "305 304 306 307 309")(
        DESKTOP,
        probe(HDI, "configured", SILENT, "192.168.65.254", kernel=ACKNOWLEDGED),
        probe(DOCKER0, "configured", SILENT, kernel=ACKNOWLEDGED),
        probe("192.168.1.5", "configured", LISTENS),
    ),
    fault("silence-nothing-known-of-the-kernel", "303", HELLO, GATEWAY, "305 304 306 307 210 309")(
        UNKNOWN_PLACE, probe("192.168.1.5", "configured", SILENT)
    ),
    fault("silence-and-nothing-left-over", "303", HELLO, GATEWAY, "305 304 306 309")(
        PLAIN, *LOCAL_SILENCE, host=view(OPEN)
    ),
    fault("silence-here-refused-where-configured", "201 303", HELLO, UNCLEAR, "201 202 601 602 208")(
        USER_NETWORK, probe("10.0.0.5", "configured", REFUSED), probe(HDI, "name", SILENT, DOCKER0, kernel=ACKNOWLEDGED)
    ),
    fault("silence-beside-a-virtual-machine-that-refuses", "303", HELLO, GATEWAY, "305 304 306 307 309")(
        DESKTOP, probe(HDI, "name", SILENT, "192.168.65.254", kernel=ACKNOWLEDGED), probe(DOCKER0, "gateway", REFUSED)
    ),
    fault("accept-dialog", "304", HELLO, GATEWAY)(BRIDGE, *SILENCE, log=(*LOGGED_IN, "accept_dialog")),
    fault("wedged", "305", HELLO, GATEWAY, "305 306")(
        HOST_NETWORK,
        *LOCAL_SILENCE,
        host=replace(
            view(ListeningSocket("0.0.0.0", 4003, 4, 50), close_wait=7),
            forwarders=(Forwarder("docker-proxy", "127.0.0.1", 4002, "172.18.0.3:4004"),),
            dials=(DialSeen("127.0.0.1", 4002, 50116, False),),
        ),
    ),
    fault("wedged-and-accepting", "305", HELLO, GATEWAY, "305 306")(
        HOST_NETWORK, *LOCAL_SILENCE, host=view(OPEN, close_wait=7)
    ),
    fault("wedged-behind-a-relay", "305", HELLO, GATEWAY, "305 306")(PLAIN, *LOCAL_SILENCE, host=behind(1)),
    fault("silence-behind-a-relay", "303", HELLO, GATEWAY, "305 304 306 309")(PLAIN, *LOCAL_SILENCE, host=behind(0)),
    fault("wedged-while-others-dial-it", "305", HELLO, GATEWAY, "305 306")(
        PLAIN, *LOCAL_SILENCE, host=view(ListeningSocket("0.0.0.0", 4003, 51, 50), close_wait=51, syn_sent=2)
    ),
    fault("forwarder-dials-a-full-queue-beside-it", "307", HELLO, GATEWAY)(
        PLAIN,
        *LOCAL_SILENCE,
        host=view(
            ListeningSocket("127.0.0.1", 4003, 0, 50),
            ListeningSocket("127.0.0.2", 4003, 51, 50),
            close_wait=1,
            syn_sent=1,
        ),
    ),
    fault("forwarder-dials", "307", HELLO, GATEWAY)(PLAIN, *LOCAL_SILENCE, host=view(OPEN, syn_sent=1)),
    fault("forwarder-dials-says-the-log", "307", HELLO, GATEWAY)(
        BRIDGE, *SILENCE, log=(*LOGGED_IN, "forwarder_timed_out")
    ),
    works("first-handshake-slow", "308")(BRIDGE, probe(DOCKER0, "configured", attempts=2)),
    fault("paper-warning", "309", HELLO, GATEWAY)(BRIDGE, *SILENCE, log=(*LOGGED_IN, "paper_warning")),
    fault("api-never-opened", "310", TCP, GATEWAY)(
        PLAIN, probe("127.0.0.1", "configured", REFUSED), host=view(), log=LOGGED_IN
    ),
    fault("port-not-of-the-log", "311", TCP, LOCAL)(
        PLAIN,
        probe("127.0.0.1", "configured", REFUSED, port=4002),
        host=view(),
        log=("api_listening",),
        log_view=LogView(1, 1, api_port=4001),
    ),
    fault("ssh", "401", HELLO, UNCLEAR)(
        BRIDGE, probe(DOCKER0, "configured", BANNER, first_bytes="ssh", spoke_first=True)
    ),
    fault("http", "402", HELLO, UNCLEAR)(
        BRIDGE, probe(DOCKER0, "configured", STRANGER, first_bytes="http", bytes_received=47)
    ),
    fault("http-behind-a-relay", "402", HELLO, GATEWAY)(
        PLAIN, probe("127.0.0.1", "configured", STRANGER, first_bytes="http", bytes_received=47), host=behind(0)
    ),
    fault("tls", "403", HELLO, LOCAL)(
        BRIDGE, probe(DOCKER0, "configured", STRANGER, port=4001, first_bytes="tls", bytes_received=7)
    ),
    fault("closed-after-hello", "404", HELLO, GATEWAY, "302 301 404 601 505")(
        BRIDGE, probe(DOCKER0, "configured", CLOSED)
    ),
    fault("nothing-behind-the-relay", "404", HELLO, GATEWAY, "301 302 404 601 505")(
        BRIDGE_NAMED, probe(HDI, "configured", REFUSED_BEHIND, DOCKER0)
    ),
    fault("nothing-behind-the-relay-on-this-machine", "404", HELLO, GATEWAY, "301 404 601 302")(
        PLAIN, probe("127.0.0.1", "configured", REFUSED_BEHIND, source="127.0.0.1"), host=view(OPEN)
    ),
    fault("reset-at-no-dials-time", "404", HELLO, GATEWAY, "302 301 307 404 601 505")(
        BRIDGE_NAMED, probe(HDI, "configured", replace(DROPPED_BEHIND, seconds=2.0), DOCKER0)
    ),
    fault("no-answer-behind-the-relay", "404", HELLO, GATEWAY, "307 301 404 601 302")(
        PLAIN, probe("127.0.0.1", "configured", DROPPED_BEHIND, source="127.0.0.1"), host=view(OPEN, syn_sent=0)
    ),
    fault("garbage", "405", HELLO, UNCLEAR)(
        BRIDGE, probe(DOCKER0, "configured", STRANGER, first_bytes="garbage", bytes_received=64)
    ),
    fault("half-a-hello", "408", HELLO, UNCLEAR)(
        BRIDGE, probe(DOCKER0, "configured", SILENT, bytes_received=9, hello_length=30)
    ),
    fault("a-hello-that-ends", "408", HELLO, UNCLEAR)(BRIDGE, probe(DOCKER0, "configured", CLOSED, bytes_received=3)),
    works("old-server", "406")(BRIDGE, probe(DOCKER0, "configured", server_version=142)),
    fault("older-than-the-client-asks-for", "406", HELLO, GATEWAY)(
        BRIDGE,
        probe(DOCKER0, "configured", STRANGER, server_version=142),
        asked=Asked(min_version=157, max_version=178),
    ),
    fault("redirected", "407", HELLO, GATEWAY)(
        BRIDGE, probe(DOCKER0, "configured", STRANGER, redirect="10.0.0.9:4001")
    ),
)

SESSIONS = (
    fault("id-in-use", "501", SESSION, GATEWAY)(
        BRIDGE, probe(DOCKER0, "configured", TAKEN, codes=(326,)), asked=Asked(True, 7)
    ),
    fault("id-in-use-by-a-ghost", "501 506", SESSION, GATEWAY, "501 506")(
        PLAIN,
        probe("127.0.0.1", "configured", TAKEN, codes=(326,)),
        host=view(OPEN, close_wait=2),
        asked=Asked(True, 7),
    ),
    fault("closed-on-start-api", "502", SESSION, GATEWAY, "501 602 505 502")(
        BRIDGE, probe(DOCKER0, "configured", SENT_AWAY)
    ),
    fault("session-ended-at-once", "502", SESSION, GATEWAY, "501 602 505 502")(
        BRIDGE, probe(DOCKER0, "configured", fails(S.SYNC, O.RESET, 0.01, "ECONNRESET"))
    ),
    fault("never-ready", "503", SESSION, GATEWAY, "602 605 607 601 309")(
        BRIDGE, probe(DOCKER0, "configured", NOT_READY)
    ),
    works("partial-sync", "504")(BRIDGE, probe(DOCKER0, "configured", UNANSWERED)),
    fault("client-limit", "505", HELLO, GATEWAY)(
        PLAIN, probe("127.0.0.1", "configured", ENDED), host=view(OPEN, established=64)
    ),
    works("slow-answer", "507")(BRIDGE, slow(probe(DOCKER0, "configured"), 5.5)),
    works("upstream-lost", "701", "611 607")(BRIDGE, probe(DOCKER0, "configured", codes=(2110, 1100))),
    works("farm-broken", "702")(BRIDGE, probe(DOCKER0, "configured", codes=(2103, 2105, 2158))),
    works("one-farm-broken", "702")(
        BRIDGE,
        probe(DOCKER0, "configured", codes=(2103, 2103, 2104), farms=("usfarm", "eufarm", "usfarm")),
    ),
    fault("maintenance", "701 703", Level.USABLE, GATEWAY, "703 611 607")(
        BRIDGE, probe(DOCKER0, "configured", codes=(1100,)), created=RESET_NIGHT
    ),
    fault("port-changed", "704", SESSION, GATEWAY)(
        BRIDGE, probe(DOCKER0, "configured", fails(S.SYNC, O.CLOSED, 0.01), codes=(2104, 1300))
    ),
    works("paper-account-on-live-port", "801")(BRIDGE, probe(DOCKER0, "configured", port=4001)),
    works("live-account-in-paper-mode", "801")(
        facts(container="yes", runtime="docker", env__TRADING_MODE="paper"),
        probe(DOCKER0, "configured", accounts=("U1***567",)),
    ),
    works("read-only", "802")(BRIDGE, probe(DOCKER0, "configured", codes=(2104, 321))),
    works("read-only-says-the-log", "802")(BRIDGE, probe(DOCKER0, "configured"), log=(*LOGGED_IN, "write_access")),
    works("competing-session", "803")(BRIDGE, probe(DOCKER0, "configured", codes=(2104, 10197))),
    fault("too-fast", "804", SESSION, GATEWAY)(
        BRIDGE, probe(DOCKER0, "configured", fails(S.SYNC, O.CLOSED, 0.01), codes=(2104, 100))
    ),
)

NOT_READY_PROBES = (probe(DOCKER0, "configured", NOT_READY),)
AFRESH = ("started", "full_login", "starting")
REFUSING = {"probes": REFUSES, "place": USER_NETWORK, "level": TCP}
LOGINS = (
    login("starting", "601", *STARTED),
    login("starting-after-the-second-factor", "601", *STARTED, "twofa_pending", "twofa_closed"),
    login("starting-on-another-day", "601", *AFRESH, **REFUSING),
    login("twofa-pending", "602", *STARTED, "twofa_pending"),
    login(
        "twofa-pending-and-a-silent-session", "602", *STARTED, "twofa_pending", probes=NOT_READY_PROBES, level=SESSION
    ),
    login("twofa-pending-again", "602", *STARTED, "twofa_timeout", "twofa_pending"),
    login("twofa-timeout", "603", *STARTED, "twofa_pending", "twofa_timeout"),
    login("twofa-device", "604", *STARTED, "twofa_device"),
    login("login-failed", "605", *STARTED, "login_failed"),
    login("login-throttled", "606", *STARTED, "login_failed", "login_throttled"),
    login("existing-session", "607", *STARTED, "existing_session"),
    login("kicked-by-another-session", "607", *LOGGED_IN, "existing_session", probes=NOT_READY_PROBES, level=SESSION),
    login("login-dialog-missing", "608", "started", "starting", "login_dialog_missing"),
    login("restarting", "609", *LOGGED_IN, "restarting", "starting"),
    login("weekly-login", "610", *AFRESH, "logging_in", "twofa_pending", created=SUNDAY, **REFUSING),
    login("servers-unreachable", "611", *STARTED, "servers_unreachable", "restarting"),
    login(
        "twofa-asked-for-hours-ago",
        "603",
        *STARTED,
        "twofa_pending",
        has_zone=True,
        state_times=(None,) * len(STARTED) + (QUIET_WEDNESDAY - 5 * 3600,),
    ),
    login("token-expired", "610", "logged_in", "restarting", "token_expired", "ended", **REFUSING),
    login("version-missing", "612", "started", "start_failed", starts=1, ended_by="version", exit_status=4, **REFUSING),
    login(
        "version-missing-again-and-again",
        "612",
        "started",
        "start_failed",
        service="ib-gateway-1",
        has_zone=True,
        state_times=(QUIET_WEDNESDAY - 90, QUIET_WEDNESDAY - 89),
        last_time=QUIET_WEDNESDAY - 89,
        starts=5,
        first_start=QUIET_WEDNESDAY - 329,
        ended_by="version",
        exit_status=4,
        **REFUSING,
    ),
    login("starts-again-and-again", "612", *LOGGED_IN, "restarting", "starting", starts=4, **REFUSING),
    login("ended-before-a-login", "612", *STARTED, "ended", starts=1, exit_status=1, **REFUSING),
    login("ended-before-a-login-for-want-of-memory", "613", *STARTED, "ended", ended_by="memory", **REFUSING),
    login("process-ended", "613", *LOGGED_IN, "full_login", "ended", exit_status=1, **REFUSING),
    login("process-ended-behind-a-forwarder", "613", *LOGGED_IN, "ended", ended_by="killed"),
    login("login-failed-and-ended", "605", *STARTED, "login_failed", "ended", exit_status=1, **REFUSING),
    login(
        "dialog-open",
        "614",
        *STARTED,
        state_times=(QUIET_WEDNESDAY - 60,) * len(STARTED),
        last_time=QUIET_WEDNESDAY,
        dialogs=("Password Notice",),
        dialog_since=QUIET_WEDNESDAY - 30,
        **REFUSING,
    ),
    fault("log-not-known", "303 615", HELLO, GATEWAY, "305 304 306 307 309")(
        BRIDGE, *SILENCE, log_view=LogView(lines=340)
    ),
    healthy_but("api-read-only", "616", GATEWAY, *LOGGED_IN, "api_listening", "read_only", api_port=4001),
    healthy_but("output-dropped", "617", UNCLEAR, *LOGGED_IN, "output_dropped", "client_gone"),
)

# Codes that no peer can play: they need a gateway's log, a virtual machine, a rootless engine, or a night at IB. The
# others are played, see test_matrix.py.
NOT_PLAYED = {
    "IBD104",
    "IBD304",
    "IBD309",
    "IBD310",
    "IBD311",
    *(f"IBD{number}" for number in range(601, 618)),
    "IBD703",
    "IBD211",
    "IBD901",
}

PLACES = (
    fault("rootless-no-host-loopback", "211", TCP, LOCAL)(SLIRP, probe("10.0.2.2", "configured", NO_NETWORK)),
    works("port-exposed", "901", side=LOCAL)(
        PLAIN,
        probe("127.0.0.1", "loopback"),
        host=replace(view(OPEN), forwarders=(Forwarder("socat", "0.0.0.0", 4003),)),
    ),
)

CASES = (*HEALTHY, *NAMES, *WAYS, *PEERS, *SESSIONS, *LOGINS, *PLACES)
BY_NAME = {case.name: case for case in CASES}

# Kept as files: together they have a value for every field of an Evidence but same_as.
STORED = (
    "healthy-docker-desktop",
    "healthy-hello-only",
    "seed-accept-then-silence",
    "wedged",
    "ssh",
    "redirected",
    "id-in-use-by-a-ghost",
    "twofa-pending",
    "version-missing-again-and-again",
    "dialog-open",
    "api-read-only",
    "setting-repaired",
    "name-held-up",
    "half-a-hello",
)


def check(case: Case) -> None:
    """The findings of the case and no others, in order, and its verdict."""
    diagnosis = diagnose(case.evidence)
    found = tuple(finding.code for finding in diagnosis.findings)
    first = tuple(candidate.code for candidate in diagnosis.findings[0].candidates) if found else ()
    verdict = diagnosis.verdict
    expected = (case.codes, case.level, case.side, case.candidates)
    assert (found, verdict.level, verdict.side, first) == expected, verdict.line


def files() -> dict[str, str]:
    """File name and content of every stored case."""
    return {f"{name}.json": dump(BY_NAME[name].evidence) for name in STORED}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
