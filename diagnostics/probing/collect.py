"""A whole run: look around, dial every candidate at once, handshake where `plan` wants it; all of it as Evidence.

    facts -> routes -> names and TCP of all routes together -> addresses behind a silent one -> siblings, if all turn
    away -> handshakes, one at a time; siblings after them, if these are ended by the hello
    What a forwarder seen here passes on to is dialled, too, if nothing came of what it took.

The time it takes is bounded whatever the network does: BUDGET for names and connects together, then `asked.timeout` for
each of the few handshakes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from diagnostics.evidence import Asked, DialSeen, Evidence, Fact, HostView, Outcome, Probe, ProbeStage, Route
from diagnostics.host import forwarders, sockets
from diagnostics.place.addresses import DEFAULT_PORT, SIBLINGS, label
from diagnostics.place.facts import look_around
from diagnostics.place.routes import candidates, siblings
from diagnostics.place.targets import ProbeTarget
from diagnostics.probing import plan, probe
from diagnostics.probing.dial import CONNECT_TIMEOUT
from diagnostics.probing.dial_all import dial_all
from diagnostics.probing.resolve import Resolution, literal

BUDGET = 4.6  # seconds from the start until the last connect is given up: a slow name leaves less time to its connect
ANSWERED = 1.0  # seconds for what has just answered, which took milliseconds: a host on another port, an address again

# Of `asked.timeout`, for handshakes after one that was not answered: who answers at all does so within 70 ms, and the
# first one was given more in case of a gateway that is merely slow.
LATER = 0.4
LATER_AT_LEAST = 2.0  # seconds, unless less was asked for

Progress = Callable[[str], None]


def _no_progress(text: str) -> None:
    """Nobody wants to know."""


def collect(
    targets: Sequence[ProbeTarget],
    port: int | None,
    asked: Asked,
    *,
    facts: tuple[Fact, ...] | None = None,
    every_route: bool = False,
    progress: Progress | None = None,
    only: bool = False,
    gateway_log: bytes | str | None = None,
    tool_version: str = "",
) -> Evidence:
    """Everything a verdict is made of. `progress` is told what is going on, `gateway_log` is a log, in any encoding.

    `facts` are those of this place if they are not given. `every_route`: a handshake on each that gets through, not on
    the best one only. `only`: nothing but the first target, on one connection, as far as `asked` says.
    """
    tell = progress or _no_progress
    facts = look_around() if facts is None else facts
    routes = candidates(facts, targets, port)[: plan.MOST_ROUTES]
    probes: tuple[Probe, ...]
    if only:
        probes, host = (_only(routes[0], asked, tell),), None
    else:
        strangers = _strangers(facts)
        probes, host = examine(routes, asked, every_route=every_route, progress=tell, strangers=strangers)
    evidence = Evidence(time.time(), tool_version, asked, facts, probes, host)
    return evidence if gateway_log is None else with_log(evidence, gateway_log)


def with_log(evidence: Evidence, gateway_log: bytes | str) -> Evidence:
    """The same run, and what the gateway's log says; that log may come later, and from another machine."""
    from diagnostics.host.gateway_log import read

    states, view = read(gateway_log)
    return replace(evidence, log_states=states, log_tail_at=view.last_time if view.has_zone else None, gateway_log=view)


def _strangers(facts: Sequence[Fact]) -> tuple[str, ...]:
    """The default gateway of a machine whose network may be the local one: there it is somebody's router."""
    known = {fact.name: fact.value or "" for fact in facts}
    apart = known.get("runtime") in ("lxc", "systemd-nspawn")
    return tuple(known.get("default_gateway", "").split(", ")) if apart else ()


def _only(route: Route, asked: Asked, tell: Progress) -> Probe:
    tell(f"asking {label(route)}")
    return probe.walk(route, asked, ProbeStage.SYNC if asked.session else ProbeStage.HELLO)


def examine(
    routes: Sequence[Route],
    asked: Asked,
    *,
    every_route: bool = False,
    progress: Progress = _no_progress,
    strangers: Collection[str] = (),
) -> tuple[tuple[Probe, ...], HostView | None]:
    """A Probe for each route and each listener seen here, then the siblings if any were tried; and the host's side.

    An address that clients do not come to has a Probe behind that of its name.

    `strangers`: addresses whose other ports are not ours to look at.
    """
    ports = {route.port for route in routes} | {number for number, _ in SIBLINGS}
    seen = forwarders.look(ports)
    ports |= {one.upstream_port for one in seen if one.upstream_port is not None}
    before = sockets.look(ports)
    if before is not None:
        before = replace(before, forwarders=seen)
    port = routes[0].port if routes else DEFAULT_PORT
    routes = (*routes, *plan.seen_listeners(before, routes))
    progress(f"dialling {len(routes)} route{'s' * (len(routes) != 1)}")
    probes = dial_all(routes, [literal(route.host, route.port) for route in routes], BUDGET)
    probes = _with_addresses(probes, progress)
    handshakes = _Handshakes(probes, asked, progress, lambda: sockets.look(ports))
    for tried in probes:
        handshakes.look_if_unanswered(tried)
    for _ in range(2):  # a port may turn us away at the dial, or at the hello
        handshakes.dial_other_addresses()
        ends = plan.behind(before, probes)
        probes += dial_all(ends, [literal(route.host, route.port) for route in ends], ANSWERED)
        if plan.want_siblings(probes):
            probes += _siblings(probes, port, strangers, progress)
        handshakes.ask_those_wanted()
    for index in plan.rest(probes) if every_route else ():
        handshakes.ask(index)
    return tuple(probes), merged(before, handshakes.silence)


def merged(before: HostView | None, silence: HostView | None) -> HostView | None:
    """What the namespace showed before we dialled and while we waited for an answer, each where it says more.

    Connections that wait unaccepted and the dial of a forwarder in between are caused by our waiting. Sockets that wait
    to be closed are a mark of earlier clients only as long as our own have not come and gone.
    """
    if before is None or silence is None:
        return before and replace(before, dials=())
    made = _without_older(silence, before)
    return replace(made, close_wait=before.close_wait, forwarders=before.forwarders)


def _without_older(view: HostView, before: HostView) -> HostView:
    """Only with the dials that were not there before, whether or not they have been answered since."""
    older = {(one.address, one.port, one.source_port) for one in before.dials}
    return _with_dials(view, tuple(one for one in view.dials if (one.address, one.port, one.source_port) not in older))


def _with_dials(view: HostView, dials: tuple[DialSeen, ...]) -> HostView:
    return replace(view, dials=dials, syn_sent=sum(one.waiting is True for one in dials))


@dataclass(slots=True)
class _Handshakes:
    """The handshakes of a run, one after the other; `silence` is what was seen when a dial or one got no answer."""

    probes: list[Probe]
    asked: Asked
    tell: Progress
    look: Callable[[], HostView | None]
    silence: HostView | None = None
    was_silent: bool = False
    before: HostView | None = None  # right before the handshake that is under way

    def ask_those_wanted(self) -> None:
        for _ in range(plan.MOST_HANDSHAKES):
            self.dial_other_addresses()
            index = plan.next_handshake(self.probes)
            if index is None or (self.was_silent and nobody_accepts(self.silence, self.probes[index])):
                return
            self.ask(index)

    def dial_other_addresses(self) -> None:
        """Of a name whose first address took the connection, and no more came of it."""
        if routes := plan.other_addresses(self.probes):
            self.tell(f"dialling {', '.join(map(label, routes))}")
            self.probes += dial_all(routes, [Resolution((route.host,), 0.0) for route in routes], CONNECT_TIMEOUT)

    def ask(self, index: int) -> None:
        self.tell(f"handshake with {label(self.probes[index].route)}")
        later = min(self.asked.timeout, max(LATER_AT_LEAST, self.asked.timeout * LATER))
        timeout = later if self.was_silent else self.asked.timeout
        self.before = None if self.was_silent else self.look()
        self.probes[index] = probe.handshake(
            self.probes[index], self.asked, timeout=timeout, on_silence=lambda: self._look_on_silence(index)
        )
        self.look_if_unanswered(self.probes[index])

    def look_if_unanswered(self, tried: Probe) -> None:
        """A dial that got no answer: if a full accept queue was the reason, it is filled by now, perhaps by us."""
        if self.silence is None and tried.result(ProbeStage.CONNECT).outcome is Outcome.TIMED_OUT:
            self.silence = self.look()

    def _look_on_silence(self, waiting: int) -> None:
        if not self.was_silent:
            self.was_silent, view = True, _without_ours(self.look(), self.probes[waiting])
            self.silence = _without_older(view, self.before) if view and self.before else view


def _without_ours(view: HostView | None, waiting: Probe) -> HostView | None:
    """Without the connection that we wait on: what is left was made by others."""
    ours = waiting.address, waiting.route.port
    return view and _with_dials(view, tuple(one for one in view.dials if (one.address, one.port) != ours))


def nobody_accepts(view: HostView | None, route: Probe) -> bool:
    """Do connections wait in the accept queue of that route's listener? Another handshake would wait there, too."""
    listeners = view.listeners if view is not None and view.listeners is not None else ()
    addresses = (route.address, "0.0.0.0", "::")
    return any(
        listener.queue and listener.port == route.route.port and listener.address in addresses for listener in listeners
    )


def _with_addresses(probes: list[Probe], tell: Progress) -> list[Probe]:
    """The probes, each with what lies behind the silence in its name."""
    behind = plan.behind_silence(probes)
    if not behind:
        return probes
    routes = list(behind.values())
    tell(f"dialling {', '.join(label(route) for route in routes)}, which a silent address holds up")
    resolutions = [Resolution((route.host,), 0.0) for route in routes]
    found = dict(zip(behind, dial_all(routes, resolutions, ANSWERED), strict=True))
    return [one for index, probe in enumerate(probes) for one in (probe, found.get(index)) if one is not None]


def _siblings(probes: Sequence[Probe], port: int, strangers: Collection[str], tell: Progress) -> list[Probe]:
    """The usual other ports of the hosts that refused, or took the connection and closed it."""
    hosts = plan.refused(probes, strangers)
    if not hosts:
        return []
    tell(f"turned away; looking at the usual other ports of {', '.join(hosts)}")
    known = {(tried.addresses, tried.route.port) for tried in probes}
    routes = [route for route in siblings(tuple(hosts), port) if (hosts[route.host], route.port) not in known]
    routes = routes[: plan.MOST_SIBLINGS]
    return dial_all(routes, [Resolution(hosts[route.host], 0.0) for route in routes], ANSWERED)
