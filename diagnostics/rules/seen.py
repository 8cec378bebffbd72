"""What a run comes down to: which routes count, which came furthest, and what this machine knows of the other end.

A route that nobody asked for may fail without meaning anything: a name that this runtime does not have, the bridge of a
virtual machine, a guessed address. So a verdict is about the routes that were configured and about those that came
furthest, and never about a guess that led nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostics.evidence import Evidence, HostView, Listener, Outcome, Probe, Stage, StageResult
from diagnostics.place.routes import HOST_NAMES, VM_FLAVOURS, is_loopback, label

WILDCARDS = ("0.0.0.0", "::", "*")
ORDER = tuple(Stage)
# Connected, and the other end answered as an IB gateway does.
HELLO_AT = ORDER.index(Stage.HELLO)


def stage_of(probe: Probe, stage: Stage) -> StageResult:
    """The result of one stage; one that is missing was skipped."""
    return next((one for one in probe.stages if one.stage is stage), StageResult(stage, Outcome.SKIPPED))


def failure(probe: Probe) -> StageResult | None:
    """The stage this probe failed at; None if everything that was tried went well."""
    return next((one for one in probe.stages if one.outcome not in (Outcome.OK, Outcome.SKIPPED)), None)


def reach(probe: Probe) -> int:
    """How many stages in a row went well."""
    count = 0
    while count < len(ORDER) and stage_of(probe, ORDER[count]).outcome is Outcome.OK:
        count += 1
    return count


def ok(probe: Probe, stage: Stage) -> bool:
    return stage_of(probe, stage).outcome is Outcome.OK


def name(probe: Probe) -> str:
    """The route as "host:port"."""
    return label(probe.route)


@dataclass(frozen=True, slots=True)
class Seen:
    """An Evidence as the rules look at it."""

    evidence: Evidence
    counted: tuple[Probe, ...]  # probes that say something: dialled, and no guess that led nowhere
    judged: tuple[Probe, ...]  # those the findings are about: configured ones that fail, and the furthest if none works
    siblings: tuple[Probe, ...]
    best: Probe | None

    @property
    def working(self) -> bool:
        """The best route does all that was asked for (a request left unanswered is no fault of the connection)."""
        return self.best is not None and works(self.best, self.evidence.asked.session)

    @property
    def failing(self) -> tuple[Probe, ...]:
        return tuple(one for one in self.judged if failure(one) is not None)

    def fact(self, wanted: str) -> str:
        """A fact's value, "" if it is not known."""
        return self.evidence.fact(wanted) or ""

    @property
    def contained(self) -> bool | None:
        return {"yes": True, "no": False}.get(self.fact("container"))

    @property
    def in_vm(self) -> bool:
        return self.fact("flavour") in VM_FLAVOURS

    def is_local(self, probe: Probe) -> bool:
        """Whether it ends in the network namespace we run in, so that the sockets we see are those of the other end."""
        address = probe.address or ""
        if not address:
            return False
        own = (*self.fact("own_addresses").split(", "), *self.fact("docker0").split(", "))
        return is_loopback(address) or address == probe.source or address in own

    def host(self, probes: tuple[Probe, ...]) -> HostView | None:
        """The sockets of the other end of these probes, where this machine is it and they could be looked at."""
        local = probes and all(self.is_local(one) for one in probes)
        return self.evidence.host if local else None

    def listeners(self, probe: Probe) -> tuple[Listener, ...] | None:
        """Who listens on the port of a local probe; None where that is not known."""
        host = self.host((probe,))
        if host is None or host.listeners is None:
            return None
        return tuple(one for one in host.listeners if one.port == probe.route.port)

    def serving(self, probe: Probe) -> tuple[Listener, ...]:
        """Those of them that a connection to the probe's own address comes to; empty where that is not known."""
        return tuple(one for one in self.listeners(probe) or () if one.address in (probe.address, *WILDCARDS))

    def failed_at(self, stage: Stage, *outcomes: Outcome) -> tuple[Probe, ...]:
        """The judged probes that failed at this stage, in one of these ways if any are named."""
        return self.those(lambda one: one.stage is stage and (not outcomes or one.outcome in outcomes))

    def those(self, wanted: Callable[[StageResult], bool]) -> tuple[Probe, ...]:
        return tuple(one for one in self.judged if (at := failure(one)) is not None and wanted(at))


def works(probe: Probe, session: bool) -> bool:
    """Whether it did what was asked for: a session, or an answer to the hello."""
    if not session:
        return ok(probe, Stage.HELLO)
    return ok(probe, Stage.START_API) and stage_of(probe, Stage.SYNC).outcome not in (
        Outcome.CLOSED,
        Outcome.RESET,
        Outcome.BAD_PEER,
        Outcome.REFUSED,
    )


def look_at(evidence: Evidence) -> Seen:
    """Sort the probes of a run."""
    siblings = tuple(one for one in evidence.probes if one.route.kind == "sibling")
    dialled = tuple(one for one in evidence.probes if one.route.kind != "sibling" and one.same_as is None)
    counted = _without_guesses(evidence, dialled)
    best = max(counted, key=reach, default=None)  # of equals the first, which is the likeliest
    if best is not None and reach(best) < 2:  # nothing connects
        best = None
    judged = _judged(evidence, counted, best)
    return Seen(evidence, counted, judged, siblings, best)


def _judged(evidence: Evidence, counted: tuple[Probe, ...], best: Probe | None) -> tuple[Probe, ...]:
    furthest = max((reach(one) for one in counted if failure(one)), default=0)
    if best is not None and works(best, evidence.asked.session):
        return tuple(
            one
            for one in counted
            if one is best
            or (one.route.kind == "configured" and failure(one) and not works(one, evidence.asked.session))
        )
    return tuple(
        one
        for one in counted
        if one is best or (failure(one) and (one.route.kind == "configured" or reach(one) == furthest))
    )


def _without_guesses(evidence: Evidence, probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """Guesses that led nowhere are left out, unless there is nothing else; names nobody knows here go first."""
    named = tuple(one for one in probes if one.route.kind != "name" or ok(one, Stage.RESOLVE))
    firm = tuple(one for one in named if reach(one) > 1 or not _is_guess(evidence, one))
    return firm or named or probes


def _is_guess(evidence: Evidence, probe: Probe) -> bool:
    kind, flavour = probe.route.kind, evidence.fact("flavour") or ""
    if kind in ("gateway", "bridge") and flavour in VM_FLAVOURS:
        return True  # the virtual machine's, not the host's
    if kind == "bridge":
        return probe.address not in (evidence.fact("docker0") or "").split(", ")
    known = HOST_NAMES.get(probe.route.host)
    if kind != "name" or known is None or f"{probe.route.host}=" in (evidence.fact("hosts_entries") or ""):
        return False
    return not known.known_to & {flavour, evidence.fact("runtime") or ""}
