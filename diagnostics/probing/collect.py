"""A whole run: look around, dial every candidate at once, handshake where `plan` wants it; all of it as Evidence.

    facts -> routes -> names and TCP of all routes together -> siblings, if all refuse -> handshakes, one at a time

The time it takes is bounded whatever the network does: BUDGET for names and connects together, then `asked.timeout` for
each of the few handshakes. Threads that hang in a name server's silence are daemons and are left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from time import monotonic

from diagnostics.evidence import Asked, Evidence, HostView, Probe, Route, Stage
from diagnostics.host import sockets
from diagnostics.place.facts import look_around
from diagnostics.place.routes import DEFAULT_PORT, SIBLINGS, Target, candidates, label, siblings
from diagnostics.probing import dial, plan, probe
from diagnostics.probing.dial import CONNECT_TIMEOUT, RESOLVE_TIMEOUT, Resolution

GRACE = 0.3  # seconds for all names to become addresses before the first is dialled: routes keep their order then
BUDGET = 4.6  # seconds from the start until the last connect is given up: a slow name leaves less time to its connect
SIBLING_BUDGET = 1.0  # seconds; their hosts have just refused another port, and that took milliseconds
SLACK = 0.5  # seconds for a thread to come in with its result after its own bound

# Of `asked.timeout`, for handshakes after one that was not answered: who answers at all does so within 70 ms, and the
# first one was given more in case of a gateway that is merely slow.
LATER = 0.4
LATER_AT_LEAST = 2.0  # seconds, unless less was asked for

Progress = Callable[[str], None]


def collect(
    targets: Sequence[Target],
    port: int | None,
    asked: Asked,
    *,
    every_route: bool = False,
    progress: Progress | None = None,
    only: bool = False,
    gateway_log: str | None = None,
    tool_version: str = "",
) -> Evidence:
    """Everything a verdict is made of. `progress` is told what is going on, `gateway_log` is the text of a log.

    `every_route`: a handshake on each that gets through, not on the best one only. `only`: nothing but the first
    target, on one connection, as far as `asked` says.
    """
    tell = progress or (lambda text: None)
    facts = look_around()
    routes = candidates(facts, tuple(targets), port)[: plan.MOST_ROUTES]
    if only:
        probes, seen = (_only(routes[0], asked, tell),), None
    else:
        probes, seen = examine(routes, asked, every_route=every_route, progress=tell)
    return Evidence(time.time(), tool_version, asked, facts, probes, seen, _states(gateway_log))


def _only(route: Route, asked: Asked, tell: Progress) -> Probe:
    tell(f"asking {label(route)}")
    return probe.walk(route, asked, Stage.SYNC if asked.session else Stage.HELLO)


def examine(
    routes: Sequence[Route], asked: Asked, *, every_route: bool = False, progress: Progress = lambda text: None
) -> tuple[tuple[Probe, ...], HostView | None]:
    """A Probe for each route, then the siblings if any were tried; and the host's side."""
    ports = {route.port for route in routes} | {number for number, _ in SIBLINGS}
    before = sockets.look(ports)
    progress(f"dialling {len(routes)} route{'s' * (len(routes) != 1)}")
    probes = dial_all(routes, [dial.literal(route.host, route.port) for route in routes], BUDGET)
    if plan.want_siblings(probes):
        probes += _siblings(probes, routes[0].port if routes else DEFAULT_PORT, progress)
    silence = _handshakes(probes, asked, every_route, progress, lambda: sockets.look(ports))
    return tuple(probes), merged(before, silence)


def merged(before: HostView | None, silence: HostView | None) -> HostView | None:
    """What the namespace showed before we dialled and while we waited for an answer, each where it says more.

    Connections that wait unaccepted and dials of a proxy in between are caused by our waiting. Sockets that wait to be
    closed are a mark of earlier clients only as long as our own have not come and gone.
    """
    if before is None or silence is None:
        return before
    return replace(silence, close_wait=before.close_wait)


def _states(log: str | None) -> tuple[str, ...]:
    if log is None:
        return ()
    from diagnostics.host import gateway_log

    return gateway_log.read(log)


# Handshakes.


def _handshakes(
    probes: list[Probe], asked: Asked, every_route: bool, tell: Progress, look: Callable[[], HostView | None]
) -> HostView | None:
    """Those that `plan` wants, one after the other; what `look` saw when the first of them was not answered."""
    seen: list[HostView | None] = []

    def ask(at: int) -> None:
        tell(f"handshake with {label(probes[at].route)}")
        timeout = min(asked.timeout, max(LATER_AT_LEAST, asked.timeout * LATER)) if seen else asked.timeout
        probes[at] = probe.handshake(probes[at], asked, timeout=timeout, on_silence=lambda: seen.append(look()))

    for _ in range(plan.MOST_HANDSHAKES):
        at = plan.who_next(probes)
        if at is None or (seen and nobody_accepts(seen[0], probes[at])):
            break
        ask(at)
    for at in plan.rest(probes) if every_route else ():
        ask(at)
    return seen[0] if seen else None


def nobody_accepts(view: HostView | None, found: Probe) -> bool:
    """Do connections wait in the accept queue of that route's listener? Another handshake would wait there, too."""
    listeners = view.listeners if view is not None and view.listeners is not None else ()
    places = (found.address, "0.0.0.0", "::")
    return any(one.queue and one.port == found.route.port and one.address in places for one in listeners)


# Names and TCP.


@dataclass(slots=True)
class _Field:
    """All routes on their way: what is known of each, and where the threads put what they find."""

    routes: Sequence[Route]
    found: list[Resolution | None]
    probes: list[Probe | None]
    dialled: set[int] = field(default_factory=set)
    box: SimpleQueue = field(default_factory=SimpleQueue)

    @property
    def unresolved(self) -> list[int]:
        return [at for at, one in enumerate(self.found) if one is None]

    @property
    def unfinished(self) -> list[int]:
        return [at for at, one in enumerate(self.probes) if one is None]


def dial_all(routes: Sequence[Route], found: Sequence[Resolution | None], budget: float) -> list[Probe]:
    """Every route up to QUIET, all together, within the budget.

    `found` has what needs no look-up; None is looked up.
    """
    started = monotonic()
    work = _Field(routes, list(found), [None] * len(routes))
    for at in work.unresolved:
        _look_up(work, at)
    while work.unfinished:
        now = monotonic() - started
        if now >= RESOLVE_TIMEOUT:
            for at in work.unresolved:
                work.found[at] = dial.unanswered(now)
        if not work.unresolved or now >= GRACE:
            for at in work.unfinished:
                _dial(work, at, min(CONNECT_TIMEOUT, budget - now))
        if now >= budget + probe.QUIET + SLACK:
            _give_up(work)
        _take(work, _pause(work, now, budget))
    return work.probes


def _pause(work: _Field, now: float, budget: float) -> float:
    """Seconds until something is due if no thread comes in before."""
    if not work.unfinished:
        return 0.0
    if not work.unresolved:
        return budget + probe.QUIET + SLACK - now
    return (GRACE if now < GRACE else RESOLVE_TIMEOUT) - now


def _take(work: _Field, seconds: float) -> None:
    """The next thing a thread has found. What comes after its time was up is too late."""
    try:
        at, thing = work.box.get(timeout=max(0.0, seconds))
    except Empty:
        return
    if isinstance(thing, BaseException):
        raise thing
    known = work.found if isinstance(thing, Resolution) else work.probes
    if known[at] is None:
        known[at] = thing


def _look_up(work: _Field, at: int) -> None:
    route = work.routes[at]

    def thread() -> None:
        work.box.put((at, _or_fault(lambda: dial.look_up(route.host, route.port))))

    if not _start(thread, f"resolve {label(route)}"):
        work.found[at] = Resolution((), 0.0, "EAGAIN", "no thread could be started to ask the resolver")


def _dial(work: _Field, at: int, timeout: float) -> None:
    """Begin with a route whose name is known, unless that was done, or another one leads to the same place."""
    route, known = work.routes[at], work.found[at]
    if known is None or at in work.dialled:
        return
    addresses = [one.addresses if one else () for one in work.found]
    twin = plan.same_as(at, work.routes, addresses, work.dialled) if known.addresses else None
    if twin is not None or not known.addresses:
        work.probes[at] = probe.untouched(route, known, None if twin is None else label(work.routes[twin]))
        return
    work.dialled.add(at)

    def thread() -> None:
        result = _or_fault(lambda: probe.opened(route, known, timeout))
        if isinstance(result, BaseException):
            work.box.put((at, result))
            return
        found, dialled = result
        if dialled.sock is None:
            work.box.put((at, found))
            return
        # Before the result: the gateway hears of our leaving before it hears of a handshake.
        dial.say_goodbye(dialled.sock)
        work.box.put((at, found))
        dial.leave(dialled.sock)

    if not _start(thread, f"dial {label(route)}"):
        thread()


def _give_up(work: _Field) -> None:
    """A thread that does not come back in its time: this machine is too busy to tell anything."""
    for at in work.unfinished:
        work.probes[at] = probe.late(work.routes[at], work.found[at])


def _or_fault(work: Callable[[], object]):
    """What it returns, or what it raises, for the thread that waits for it."""
    try:
        return work()
    except BaseException as fault:  # noqa: BLE001 (the main thread raises it)
        return fault


def _start(work: Callable[[], None], name: str) -> bool:
    """False where no more threads are allowed (a container's pids limit)."""
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError:
        return False
    return True


# The usual other ports.


def _siblings(probes: Sequence[Probe], port: int, tell: Progress) -> list[Probe]:
    hosts = plan.refused(probes)
    tell(f"refused; looking at the usual other ports of {', '.join(hosts)}")
    known = {(one.addresses, one.route.port) for one in probes}
    routes = [one for one in siblings(tuple(hosts), port) if (hosts[one.host], one.port) not in known]
    routes = routes[: plan.MOST_SIBLINGS]
    return dial_all(routes, [Resolution(hosts[route.host], 0.0) for route in routes], SIBLING_BUDGET)
