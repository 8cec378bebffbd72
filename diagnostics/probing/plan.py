"""What to ask of which route: decisions over what was seen so far, for `collect` to carry out. Pure.

A handshake that is not answered may be what a troubled gateway was short of, so there are few of them:

    one, on the best route                                                     if it is answered, that is all
    one more, on a route with another address, or else on the same one again   what differs by route is routing, what is
                                                                               the same on both is the gateway
    a last one, on the first route, when the other one was answered            a route that is bad stays silent; a
                                                                               gateway that was slow once does not
    or a last one, on a neighbouring port, when the others were ended          it is the port, or it is the machine
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from diagnostics.evidence import HostView, Outcome, Probe, ProbeStage, Route
from diagnostics.place.addresses import is_loopback

MOST_HANDSHAKES = 3  # of a run, unless every route is asked for
MOST_ROUTES = 32  # of a run, the siblings not counted
MOST_SIBLINGS = 32  # four hosts with eight ports each
MOST_SIBLING_HOSTS = 4
ENDED = (Outcome.CLOSED, Outcome.RESET)
MOST_ADDRESSES = 4  # of names, tried because another one took the connection and did no good
MOST_SEEN = 4  # listeners of our own loopback, or ends of forwarders, that are tried because they were seen


def same_as(
    index: int, routes: Sequence[Route], addresses: Sequence[tuple[str, ...]], dialled: Collection[int]
) -> int | None:
    """The route among `dialled` that leads to the same addresses, in the same order, and port as this one.

    The first of them.
    """
    mine = addresses[index], routes[index].port
    for other in sorted(dialled):
        if other != index and (addresses[other], routes[other].port) == mine:
            return other
    return None


def gets_through(probe: Probe) -> bool:
    """Is it a route on which a handshake makes sense?"""
    return probe.same_as is None and probe.result(ProbeStage.QUIET).outcome is Outcome.OK


def best(probes: Sequence[Probe]) -> int | None:
    """The route for the first handshake: the first that gets through, since the likely ones come first."""
    return next((index for index, probe in enumerate(probes) if gets_through(probe)), None)


def next_handshake(probes: Sequence[Probe]) -> int | None:
    """The route for the next handshake, judging by those that were tried; None when enough is known."""
    tried = [index for index, probe in enumerate(probes) if _hello(probe) is not Outcome.SKIPPED]
    if not tried:
        return best(probes)
    handshakes = sum(probes[index].attempts for index in tried)
    if handshakes >= MOST_HANDSHAKES:
        return None
    again = next((index for index in tried if _is_worth_another(probes[index])), None)
    if any(_hello(probes[index]) is Outcome.OK for index in tried):
        return again
    ended = all(_hello(probes[index]) in ENDED for index in tried)
    if handshakes >= MOST_HANDSHAKES - 1:
        return _elsewhere(probes, "sibling") if ended else None
    other = _elsewhere(probes)
    return again if other is None else other


def rest(probes: Sequence[Probe]) -> tuple[int, ...]:
    """With every route asked for: those that get through and have had no handshake, each address once."""
    indexes: list[int] = []
    places = _tried_places(probes)
    for index, probe in enumerate(probes):
        if gets_through(probe) and _hello(probe) is Outcome.SKIPPED and _place(probe) not in places:
            indexes.append(index)
            places.add(_place(probe))
    return tuple(indexes[:MOST_ROUTES])


def behind_silence(probes: Sequence[Probe]) -> dict[int, Route]:
    """The addresses that clients do not come to because one before it in the name is silent, as routes of their own.

    By the index of the name's probe. None for one that is a route already.
    """
    known = {(probe.addresses, probe.route.port) for probe in probes}
    routes: dict[int, Route] = {}
    for index, probe in enumerate(probes):
        address, port = probe.answering, probe.route.port
        if address is not None and ((address,), port) not in known:
            why = f"an address of {probe.route.host}, behind one that is silent"
            routes[index] = Route(address, port, "address", why)
            known.add(((address,), port))
    return routes


def other_addresses(probes: Sequence[Probe]) -> tuple[Route, ...]:
    """The addresses of a name beside the one that took the connection and gave no session, as routes of their own.

    Clients and we stay with the first address that takes the connection, whatever comes of it then.
    """
    known = {_place(probe) for probe in probes}
    found: dict[tuple[str, int], Route] = {}
    for probe in probes:
        failed = (probe.result(ProbeStage.QUIET).outcome, _hello(probe))
        if probe.route.kind == "sibling" or all(outcome in (Outcome.OK, Outcome.SKIPPED) for outcome in failed):
            continue
        for address in probe.addresses:
            if (address, probe.route.port) not in known:
                why = f"another address of {probe.route.host}"
                found.setdefault((address, probe.route.port), Route(address, probe.route.port, "address", why))
    tried = sum(probe.route.kind == "address" for probe in probes)
    return tuple(found.values())[: max(0, MOST_ADDRESSES - tried)]


def seen_listeners(view: HostView | None, routes: Sequence[Route]) -> tuple[Route, ...]:
    """What listens on the usual ports of our own loopback, as routes; none where loopback is a candidate already.

    In a pod, beside another container or on a small machine of its own, it is the gateway next to us.
    """
    listeners = view.listeners if view is not None and view.listeners is not None else ()
    if any(is_loopback(route.host) for route in routes):
        return ()
    seen: dict[int, Route] = {}
    for listener in listeners:
        if is_loopback(listener.address):
            host = "::1" if listener.address == "::1" else "127.0.0.1"
            seen.setdefault(listener.port, Route(host, listener.port, "loopback", "something listens on it here"))
    return tuple(seen.values())[:MOST_SEEN]


def behind(view: HostView | None, probes: Sequence[Probe]) -> tuple[Route, ...]:
    """Where forwarders of this machine pass on what came to nothing, as routes: they see what those get to see.

    Only what ends here, was accepted and then got no answer; not what was dialled already.
    """
    forwarders = view.forwarders if view is not None else ()
    known = {_place(probe) for probe in probes}
    found: dict[tuple[str | None, int], Route] = {}
    for probe in filter(_is_accepted_in_vain, probes):
        for one in (one for one in forwarders if not one.assumed):
            serves = one.port == probe.route.port and one.address in ("", probe.address, "0.0.0.0", "::")
            address, port = one.upstream_address, one.upstream_port
            if serves and address is not None and port is not None:
                why = f"{one.program} passes on to it what comes to port {one.port} here"
                found.setdefault((address, port), Route(address, port, "behind", why))
    return tuple(route for place, route in found.items() if place not in known)[:MOST_SEEN]


def _is_accepted_in_vain(probe: Probe) -> bool:
    here = probe.address is not None and (is_loopback(probe.address) or probe.address == probe.source)
    silent = _hello(probe) is Outcome.TIMED_OUT
    return here and _connect(probe) is Outcome.OK and (silent or _turns_away(probe))


def want_siblings(probes: Sequence[Probe]) -> bool:
    """Is it worth looking at the neighbouring ports, now that these dials or handshakes are done?

    If nothing gets through, or every handshake was ended in answer to the hello; and what counts did not stay silent.
    What counts is what was configured, if anything was: of the candidates we think of, some are always somewhere else.
    A name that is held up by one address counts by the other, which is a route of its own.
    """
    hellos = {_hello(probe) for probe in probes} - {Outcome.SKIPPED}
    done = hellos <= set(ENDED) if hellos else not any(map(gets_through, probes))
    if not done or any(_is_answered_otherwise(probe) or probe.route.kind == "sibling" for probe in probes):
        return False
    counts = {"configured", "address"} if any(probe.route.kind == "configured" for probe in probes) else None
    asked_for = [probe for probe in probes if counts is None or probe.route.kind in counts]
    counted = [probe for probe in asked_for if probe.same_as is None and probe.answering is None]
    silent = any(_connect(probe) is Outcome.TIMED_OUT for probe in counted)
    return not silent and any(_turns_away(probe) for probe in counted)


def refused(probes: Sequence[Probe], strangers: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """The hosts that refused, or took the connection and ended it, each with its addresses; each address once.

    `strangers`: addresses that may be somebody else's machine.
    """
    hosts: dict[str, tuple[str, ...]] = {}
    for probe in probes:
        new = set(probe.addresses).difference(*hosts.values())
        stranger = probe.route.kind != "configured" and not new.isdisjoint(strangers)
        if new and len(hosts) < MOST_SIBLING_HOSTS and _turns_away(probe) and not stranger:
            hosts.setdefault(probe.route.host, probe.addresses)
    return hosts


def _turns_away(probe: Probe) -> bool:
    """Refused, or ended before our hello or at it without an answer: so does a port with nobody behind it."""
    ended_by_hello = _hello(probe) in ENDED and not probe.bytes_received
    ended = probe.result(ProbeStage.QUIET).outcome in ENDED or ended_by_hello
    return ended or _connect(probe) is Outcome.REFUSED


def _is_answered_otherwise(probe: Probe) -> bool:
    """Something else speaks first there: the port is known to be another service's."""
    return probe.result(ProbeStage.QUIET).outcome is Outcome.BAD_PEER


def _connect(probe: Probe) -> Outcome:
    return probe.result(ProbeStage.CONNECT).outcome


def _hello(probe: Probe) -> Outcome:
    return probe.result(ProbeStage.HELLO).outcome


def _is_worth_another(probe: Probe) -> bool:
    """Was it silent, once, and not because our hello got lost on the way? That it would do again."""
    lost = probe.kernel is not None and bool(probe.kernel.unacknowledged)
    return _hello(probe) is Outcome.TIMED_OUT and probe.attempts == 1 and not lost


def _place(probe: Probe) -> tuple[str | None, int]:
    return probe.address, probe.route.port


def _tried_places(probes: Sequence[Probe]) -> set[tuple[str | None, int]]:
    return {_place(probe) for probe in probes if _hello(probe) is not Outcome.SKIPPED}


def _elsewhere(probes: Sequence[Probe], kind: str | None = None) -> int | None:
    """The first route, of this kind if any is named, that gets through to an address without a handshake so far."""
    places = _tried_places(probes)
    untried = (index for index, probe in enumerate(probes) if gets_through(probe) and _place(probe) not in places)
    return next((index for index in untried if kind in (None, probes[index].route.kind)), None)
