"""What stands between a route and the gateway: a forwarder that has the port, and where it leads.

Behind one, the port that a client dials is not the gateway's: its queue, its leftovers and its answers are at another
place. Nothing that a route shows by itself tells a forwarder from a gateway. What does, from the surest on:

    its command line, on this machine     socat, docker-proxy, and ib-relay with its ports as options
    a dial that was seen                  made on this machine to a usual port while our hello waited: with a forwarder
                                          that is known to have the port it is where that one leads, else most likely
    its defaults                          ib-relay runs here, and not all of its ports are on its command line
    the port alone                        4003 is ib-relay's default on a host, which is a hint and no more
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from diagnostics.evidence import DialSeen, Forwarder, HostView, ListeningSocket, Probe, ProbeStage
from diagnostics.place.addresses import DEFAULT_PORT, DEFAULT_UPSTREAM, host_and_port, is_loopback
from diagnostics.place.host_names import HOST_NAMES
from diagnostics.rules.run_view import WILDCARDS, RunView, ok

RELAY = "ib-relay"


class Basis(Enum):
    """How it is known that something stands between."""

    SEEN = "seen"
    DIALLED = "most likely, by a dial that was seen"
    UPSTREAM_BY_DEFAULT = "a program and its port that were seen, by its default upstream"
    PORT_BY_DEFAULT = "a program and its upstream that were seen, by its default port"
    DEFAULTS = "a program that was seen, by its default ports"
    PORT = "the default port of a program"


@dataclass(frozen=True, slots=True)
class Between:
    """A forwarder in between: where it is dialled, where it leads, which program it is, and how that is known."""

    port: int  # dialled
    upstream: str  # "host:port", as it is dialled on the forwarder's machine
    program: str  # "a forwarder" where that is not known
    basis: Basis

    @property
    def is_sure(self) -> bool:
        """Whether it was seen, so that nothing has to be said with an "if"."""
        return self.basis is Basis.SEEN

    @property
    def upstream_port(self) -> int:
        """The port of the upstream."""
        return int(self.upstream.rpartition(":")[2])

    @property
    def said(self) -> str:
        """How it is known, as a sentence for people."""
        where = f"port {self.port} and leads to {self.upstream}"
        return {
            Basis.SEEN: f"{self.program} has {where}, as seen here.",
            Basis.DIALLED: f"Most likely {self.program} has {where}: a connection to there was made after our hello.",
            Basis.UPSTREAM_BY_DEFAULT: f"{self.program} has port {self.port}, as seen here; by its defaults it leads "
            f"to {self.upstream}.",
            Basis.PORT_BY_DEFAULT: f"{self.program} runs here and leads to {self.upstream}, as seen here; by its "
            f"defaults it has port {self.port}.",
            Basis.DEFAULTS: f"{self.program} runs here; by its defaults it has {where}.",
            Basis.PORT: f"{self.port} is {self.program}'s default port, and by default it leads to {self.upstream} "
            "on its own machine.",
        }[self.basis]


def between(run: RunView, probe: Probe | None) -> Between | None:
    """What stands between this route and the gateway, as far as that is known; None: nothing that is known."""
    if probe is None:
        return None
    host = run.host((probe,))
    if host is not None and any(listener.queue for listener in run.serving(probe)):
        return None  # it is the program at this very port that does not take us
    seen = _seen(run, host, probe) if host is not None else None
    return seen or (_by_port(probe) if _may_be_our_relay(run, probe) else None)


def _seen(run: RunView, host: HostView, probe: Probe) -> Between | None:
    port, dialled = probe.route.port, _dialled(host, probe)
    known = next((one for one in run.forwarders(probe) if one.upstream_port is not None), None)
    if known is not None and known.upstream is not None and not known.assumed:
        return Between(port, known.upstream, known.program, Basis.SEEN)
    if dialled is not None:
        return Between(port, dialled, known.program, Basis.SEEN) if known else _likely(port, dialled)
    if known is not None and known.upstream is not None:
        return Between(port, known.upstream, known.program, _assumed(known))
    return None


def _assumed(known: Forwarder) -> Basis:
    """Which part of it is a default. One that was typed as the default is cannot be told from it."""
    if known.address != "" or known.port != DEFAULT_PORT:
        return Basis.UPSTREAM_BY_DEFAULT
    return Basis.DEFAULTS if known.upstream == DEFAULT_UPSTREAM else Basis.PORT_BY_DEFAULT


def _likely(port: int, upstream: str) -> Between:
    return Between(port, upstream, RELAY if port == DEFAULT_PORT else "a forwarder", Basis.DIALLED)


def _dialled(host: HostView, probe: Probe) -> str | None:
    """The one other port asked about to which somebody else connected while we waited."""
    places = {(one.address, one.port) for one in host.dials if one.port != probe.route.port}
    return host_and_port(*places.pop()) if len(places) == 1 else None


def _may_be_our_relay(run: RunView, probe: Probe) -> bool:
    """Whether this is the default port on what may be a host; in a container of an image it is that image's own."""
    on_a_host = run.contained is False or run.is_local(probe) or probe.route.kind in ("name", "gateway", "bridge")
    on_a_host = on_a_host or probe.route.host in HOST_NAMES or (probe.address or "") in run.host_addresses
    return on_a_host and probe.route.port == DEFAULT_PORT


def _by_port(probe: Probe) -> Between:
    return Between(probe.route.port, DEFAULT_UPSTREAM, RELAY, Basis.PORT)


def answering(run: RunView, probe: Probe) -> tuple[ListeningSocket, ...]:
    """Who listens where the answer to a local probe comes from: behind a forwarder that was seen, or at its port."""
    behind = between(run, probe)
    if behind is None or not behind.is_sure:
        return run.serving(probe)
    return _at_upstream(run, probe, behind) or ()


def nobody_behind(run: RunView, probe: Probe) -> bool:
    """Whether a forwarder that was seen leads to a port of this machine on which nobody listens."""
    behind = between(run, probe)
    return behind is not None and behind.is_sure and _at_upstream(run, probe, behind) == ()


def dial_in_vain(run: RunView, probe: Probe) -> str | None:
    """Where a forwarder that may have this route dials without an answer: "host:port"; None if none is known to.

    A forwarder that is known by its command line dials where it leads. Else it is any dial of somebody else that was
    made after ours. A place where we connected ourselves does answer. Of files that do not say which dials wait, it is
    "such a port".
    """
    host = run.host((probe,))
    if host is None or not host.syn_sent:
        return None
    if all(one.waiting is None for one in host.dials):
        return "such a port"
    answered = {(one.address, one.route.port) for one in run.evidence.probes if ok(one, ProbeStage.CONNECT)}
    waiting = (one for one in host.dials if one.waiting and (one.address, one.port) not in answered)
    return next((host_and_port(one.address, one.port) for one in waiting if _may_be_its_dial(run, probe, one)), None)


def _may_be_its_dial(run: RunView, probe: Probe, dial: DialSeen) -> bool:
    leads = [one for one in run.forwarders(probe) if not one.assumed and one.upstream_port is not None]
    to_there = (one for one in leads if one.upstream_port == dial.port)
    return not leads or any(one.upstream_address in (None, dial.address) for one in to_there)


def _at_upstream(run: RunView, probe: Probe, behind: Between) -> tuple[ListeningSocket, ...] | None:
    """The listeners there; None where they cannot be seen from here."""
    host, address = run.host((probe,)), behind.upstream.rpartition(":")[0].strip("[]")
    if host is None or host.listeners is None or not is_loopback(address):
        return None
    names = ("127.0.0.1", "::1") if address == "localhost" else (address,)
    there = (one for one in host.listeners if one.port == behind.upstream_port)
    return tuple(one for one in there if one.address in (*names, *WILDCARDS))
