"""What a run comes down to: which routes count, which came furthest, and what this machine knows of the other end.

A route that nobody asked for may fail without meaning anything: a name that this runtime does not have, the bridge of a
virtual machine, a guessed address. So a verdict is about the routes that were configured and about those that came
furthest, and never about a guess that led nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostics.evidence import Evidence, Forwarder, HostView, ListeningSocket, Outcome, Probe, ProbeStage, StageResult
from diagnostics.place.addresses import is_loopback, label
from diagnostics.place.host_names import HOST_NAMES, VM_FLAVOURS
from diagnostics.place.setting import NO_CONTAINER, Setting, setting_of

WILDCARDS = ("0.0.0.0", "::", "*")
USUAL_DOCKER0 = "172.17.0.1"
# Ports whose meaning is the same with IBKR's defaults and with every image that publishes them. 4003 and 4004 are not
# here: the first is live inside one image and this project's relay, of either kind, outside.
KIND_OF_PORT = {4001: "live", 7496: "live", 4002: "paper", 7497: "paper"}
BESIDE = ("sibling", "behind")  # kinds of routes that are tried because another one failed
STAGES = tuple(ProbeStage)
CONNECTED = 2  # stages that went well where TCP connected
REACHES_HELLO = STAGES.index(ProbeStage.HELLO)  # stages that went well where only the handshake is missing


def failure(probe: Probe) -> StageResult | None:
    """The stage this probe failed at; None if everything that was tried went well."""
    return next((result for result in probe.stages if result.outcome not in (Outcome.OK, Outcome.SKIPPED)), None)


def failure_is(probe: Probe, stage: ProbeStage, *outcomes: Outcome) -> bool:
    """Whether it failed at this stage, in one of these ways."""
    failed = failure(probe)
    return failed is not None and failed.stage is stage and failed.outcome in outcomes


def failures(probes: tuple[Probe, ...]) -> list[StageResult]:
    """The failed stage of each of these probes that has one."""
    return [failed for probe in probes if (failed := failure(probe)) is not None]


def reach(probe: Probe) -> int:
    """How many stages in a row went well."""
    return next((count for count, stage in enumerate(STAGES) if not ok(probe, stage)), len(STAGES))


def ok(probe: Probe, stage: ProbeStage) -> bool:
    """Whether this stage went well."""
    return probe.result(stage).outcome is Outcome.OK


def name_of(probe: Probe) -> str:
    """The route as "host:port"."""
    return label(probe.route)


def works(probe: Probe, session: bool) -> bool:
    """Whether it did what was asked for: a session, or an answer to the hello."""
    if not session:
        return ok(probe, ProbeStage.HELLO)
    broken = (Outcome.CLOSED, Outcome.RESET, Outcome.BAD_PEER, Outcome.REFUSED)
    return ok(probe, ProbeStage.START_API) and probe.result(ProbeStage.SYNC).outcome not in broken


@dataclass(frozen=True, slots=True)
class RunView:
    """An Evidence as the rules look at it."""

    evidence: Evidence
    counted: tuple[Probe, ...]  # probes that say something: dialled, and no guess that led nowhere
    judged: tuple[Probe, ...]  # those the findings are about: configured ones that fail, and the furthest if none works
    siblings: tuple[Probe, ...]  # tried to learn more of the others: their other ports, and where they are passed on to
    best: Probe | None

    @property
    def working(self) -> bool:
        """The best route does all that was asked for (a request left unanswered is no fault of the connection)."""
        return self.best is not None and works(self.best, self.evidence.asked.session)

    @property
    def failing(self) -> tuple[Probe, ...]:
        """The judged probes that failed."""
        return tuple(probe for probe in self.judged if failure(probe) is not None)

    @property
    def best_reach(self) -> int:
        """How far the best route came; 0 if it does not do what was asked for."""
        return reach(self.best) if self.best is not None and self.working else 0

    def fact(self, name: str) -> str:
        """A fact's value, "" if it is not known."""
        return self.evidence.fact(name) or ""

    def fact_list(self, name: str) -> list[str]:
        """The items of a fact that is a list."""
        return self.fact(name).split(", ")

    @property
    def setting(self) -> Setting:
        """The kind of place it was made in."""
        return setting_of(self.evidence.fact)

    @property
    def contained(self) -> bool | None:
        """Whether this is a container, as far as that is known."""
        return False if self.setting in NO_CONTAINER else {"yes": True, "no": False}.get(self.fact("container"))

    @property
    def shares_the_host(self) -> bool:
        """Loopback here is the machine's own: there is no container, or one with host networking."""
        return self.contained is False or self.fact("network_mode") == "host"

    @property
    def in_vm(self) -> bool:
        """Whether containers run in a virtual machine here."""
        return self.fact("flavour") in VM_FLAVOURS

    def is_local(self, probe: Probe) -> bool:
        """Whether it ends in the network namespace we run in, so that the sockets we see are those of the other end."""
        address = probe.address or ""
        if not address:
            return False
        own = (*self.fact_list("own_addresses"), *self.fact_list("docker0"))
        return is_loopback(address) or address == probe.source or address in own

    @property
    def host_addresses(self) -> set[str]:
        """The known addresses of a container's host: bridge, default gateway, and those of the host's names."""
        named = [entry.partition("=")[2] for entry in self.fact_list("hosts_entries")]
        known = (*self.fact_list("default_gateway"), *named, *self.fact_list("docker0"), USUAL_DOCKER0)
        return {address for address in known if address}

    def same_machine(self, probe: Probe, other: Probe) -> bool:
        """Whether both are known to end on one machine: at one address, at ours, or at those of a container's host."""
        pair = probe.address, other.address
        if probe.address is not None and probe.address == other.address:
            return True
        if self.is_local(probe) or self.is_local(other):
            return self.is_local(probe) and self.is_local(other)
        has_bridges = self.fact("runtime") in ("docker", "podman") and self.fact("rootless") != "yes" and not self.in_vm
        return has_bridges and set(pair) <= self.host_addresses

    def host(self, probes: tuple[Probe, ...]) -> HostView | None:
        """The sockets of the other end of these probes, where this machine is it and they could be looked at."""
        local = probes and all(self.is_local(probe) for probe in probes)
        return self.evidence.host if local else None

    def listeners(self, probe: Probe) -> tuple[ListeningSocket, ...] | None:
        """Who listens on the port of a local probe; None where that is not known."""
        host = self.host((probe,))
        if host is None or host.listeners is None:
            return None
        return tuple(listener for listener in host.listeners if listener.port == probe.route.port)

    def serving(self, probe: Probe) -> tuple[ListeningSocket, ...]:
        """Those of them that a connection to the probe's own address comes to; empty where that is not known."""
        addresses = (probe.address, *WILDCARDS)
        return tuple(listener for listener in self.listeners(probe) or () if listener.address in addresses)

    def forwarders(self, probe: Probe) -> tuple[Forwarder, ...]:
        """Those of this machine that take the connections of a local probe; docker-proxy first.

        Its ports are surely of this network, where those of another program may be a container's.
        """
        host, addresses = self.host((probe,)), ("", probe.address, *WILDCARDS)
        known = host.forwarders if host is not None else ()
        takers = (one for one in known if one.port == probe.route.port and one.address in addresses)
        return tuple(sorted(takers, key=lambda one: one.program != "docker-proxy"))

    def forwarder(self, probe: Probe) -> Forwarder | None:
        """The first of them whose ports were seen, and are no defaults; None if there is none."""
        return next((one for one in self.forwarders(probe) if not one.assumed), None)

    def behind(self, probe: Probe) -> Probe | None:
        """What the run saw of the place to which a forwarder of this machine passes on what comes by this route."""
        forwarder = self.forwarder(probe)
        if forwarder is None or forwarder.upstream_address is None:
            return None
        place = forwarder.upstream_address, forwarder.upstream_port
        return next((one for one in self.evidence.probes if (one.address, one.route.port) == place), None)

    def failed_at(self, stage: ProbeStage, *outcomes: Outcome) -> tuple[Probe, ...]:
        """The judged probes that failed at this stage, in one of these ways if any are named."""
        return self.failed(lambda result: result.stage is stage and (not outcomes or result.outcome in outcomes))

    def failed(self, wanted: Callable[[StageResult], bool]) -> tuple[Probe, ...]:
        """The judged probes whose failed stage is one that is wanted."""
        return tuple(probe for probe in self.judged if (failed := failure(probe)) is not None and wanted(failed))


def is_other_port(run: RunView, probe: Probe, other: Probe) -> bool:
    """Whether the second one is another port of the machine of the first one."""
    return probe.route.port != other.route.port and run.same_machine(probe, other)


def look_at(evidence: Evidence) -> RunView:
    """Sort the probes of a run."""
    siblings = tuple(probe for probe in evidence.probes if probe.route.kind in BESIDE)
    dialled = tuple(probe for probe in evidence.probes if probe.route.kind not in BESIDE and probe.same_as is None)
    dialled = _without_closed_beside_loopback(RunView(evidence, dialled, (), siblings, None))
    counted = _without_guesses(evidence, dialled)
    best = max(counted, key=reach, default=None)  # of equals the first, which is the likeliest
    if best is not None and reach(best) < CONNECTED:
        best = None
    return RunView(evidence, counted, _judged(evidence, counted, best), siblings, best)


def only_loopback(listeners: tuple[ListeningSocket, ...]) -> bool:
    """Whether there are some, all of them on loopback."""
    addresses = [listener.address for listener in listeners]
    return bool(addresses) and all(is_loopback(address) and address not in WILDCARDS for address in addresses)


def _without_closed_beside_loopback(run: RunView) -> tuple[Probe, ...]:
    """Without this machine's other addresses where the port listens on loopback only, which is as it should be."""
    if not run.shares_the_host:
        return run.counted
    by_loopback = (probe for probe in run.counted if is_loopback(probe.address or ""))
    dialled = {probe.route.port for probe in by_loopback if not _is_refused(probe)}
    return tuple(
        probe
        for probe in run.counted
        if probe.route.kind == "configured"
        or probe.route.port not in dialled
        or not _is_refused(probe)
        or not only_loopback(run.listeners(probe) or ())
    )


def _is_refused(probe: Probe) -> bool:
    return probe.result(ProbeStage.CONNECT).outcome is Outcome.REFUSED


def _judged(evidence: Evidence, counted: tuple[Probe, ...], best: Probe | None) -> tuple[Probe, ...]:
    session = evidence.asked.session
    if best is not None and works(best, session):
        return tuple(probe for probe in counted if probe is best or _fails_as_configured(probe, session))
    furthest = max((reach(probe) for probe in counted if failure(probe)), default=0)
    return tuple(
        probe
        for probe in counted
        if probe is best or (failure(probe) and (probe.route.kind == "configured" or reach(probe) == furthest))
    )


def _fails_as_configured(probe: Probe, session: bool) -> bool:
    return probe.route.kind == "configured" and failure(probe) is not None and not works(probe, session)


def _without_guesses(evidence: Evidence, probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """Guesses that led nowhere are left out, unless there is nothing else; names nobody knows here go first."""
    named = tuple(probe for probe in probes if probe.route.kind != "name" or ok(probe, ProbeStage.RESOLVE))
    firm = tuple(probe for probe in named if reach(probe) >= CONNECTED or not _is_guess(evidence, probe))
    return firm or named or probes


def _is_guess(evidence: Evidence, probe: Probe) -> bool:
    kind, flavour = probe.route.kind, evidence.fact("flavour") or ""
    if kind == "address":  # clients do not come to it; but the one behind a silence says whether the name is the fault
        return not any(other.answering == probe.route.host for other in evidence.probes)
    if kind in ("gateway", "bridge") and flavour in VM_FLAVOURS:
        return True  # the virtual machine's, not the host's
    if kind == "bridge":
        return probe.address not in (evidence.fact("docker0") or "").split(", ")
    known = HOST_NAMES.get(probe.route.host)
    if kind != "name" or known is None or f"{probe.route.host}=" in (evidence.fact("hosts_entries") or ""):
        return False
    return not known.known_to & {flavour, evidence.fact("runtime") or ""}
