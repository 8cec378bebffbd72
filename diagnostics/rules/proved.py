"""What the run proved, and what that makes false: a rule sees a route, a gateway may be seen by another one.

Every claim about the gateway, its login or its port says what would be seen elsewhere if it were false. A finding or an
explanation that such a route shows to be false is not reported. That takes a route that is known to end on the same
machine: an address of the local network may be that machine's, too, or another gateway's. Where a session was had on a
route of which that is not known, what would be false of the same gateway stays an explanation, and comes last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostics.evidence import Probe, ProbeStage
from diagnostics.findings.entry import LOGIN_FAULTS
from diagnostics.place.addresses import is_loopback
from diagnostics.rules.log_view import log_view
from diagnostics.rules.rulebook import Match
from diagnostics.rules.run_view import KIND_OF_PORT, RunView, failure, ok

# Inside a container they mean this, as in gnzsnz/ib-gateway-docker.
KIND_OF_INNER_PORT = KIND_OF_PORT | {4003: "live", 4004: "paper"}

Scope = Callable[[RunView, Probe, Probe], bool]  # is what the second one shows about the same thing as the first one?


def _same_port(run: RunView, probe: Probe, other: Probe) -> bool:
    return probe.route.port == other.route.port and run.same_machine(probe, other)


def _same_port_from_outside(run: RunView, probe: Probe, other: Probe) -> bool:
    return _same_port(run, probe, other) and not is_loopback(other.address or "")


def _same_gateway(run: RunView, probe: Probe, other: Probe) -> bool:
    """Another port of the machine may be another gateway's: where the user named both, or one is live and one paper."""
    if _same_port(run, probe, other):
        return True
    is_named = other.route.port == log_view(run).api_port
    return run.same_machine(probe, other) and (is_named or not _is_another_gateway(probe, other))


def _is_another_gateway(probe: Probe, other: Probe) -> bool:
    """As far as ports tell: the user named two of them, or one is live and one paper."""
    both_named = probe.route.kind == other.route.kind == "configured"
    known = KIND_OF_INNER_PORT if "behind" in (probe.route.kind, other.route.kind) else KIND_OF_PORT
    kinds = {known.get(probe.route.port), known.get(other.route.port)} - {None}
    return probe.route.port != other.route.port and (both_named or len(kinds) > 1)


def _same_machine(run: RunView, probe: Probe, other: Probe) -> bool:
    return run.same_machine(probe, other)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a code says of the gateway is false where a route of this scope came through this stage."""

    scope: Scope
    stage: ProbeStage
    only_as_explanation: bool = False  # as a finding it is what was seen, which stays true
    of_the_gateway: bool = True  # not of the way to it: it holds for whoever reaches that gateway


_NO_LOGIN = Claim(_same_gateway, ProbeStage.START_API)
_NO_PROCESS = Claim(_same_gateway, ProbeStage.HELLO)

CLAIMS: dict[str, Claim] = {
    # The gateway is not in this container.
    "IBD106": Claim(_same_machine, ProbeStage.HELLO, of_the_gateway=False),
    # Nobody has the port; only loopback has it; its queue is full; nobody is behind it.
    "IBD201": Claim(_same_port, ProbeStage.CONNECT, True, False),
    "IBD202": Claim(_same_port_from_outside, ProbeStage.CONNECT, True, False),
    "IBD207": Claim(_same_port, ProbeStage.HELLO, True, False),
    "IBD301": Claim(_same_port, ProbeStage.HELLO, True, False),
    # It answers nobody, it takes nobody, its API was never opened.
    "IBD305": _NO_PROCESS,
    "IBD306": Claim(_same_port, ProbeStage.HELLO),
    "IBD309": _NO_LOGIN,
    "IBD310": Claim(_same_machine, ProbeStage.HELLO),
    "IBD311": Claim(_same_port, ProbeStage.HELLO),
    "IBD505": _NO_LOGIN,
    **dict.fromkeys(LOGIN_FAULTS, _NO_LOGIN),
    "IBD612": _NO_PROCESS,
    "IBD613": _NO_PROCESS,
    "IBD703": _NO_LOGIN,
}


def contradicts(run: RunView, code: str, probe: Probe) -> Probe | None:
    """The route that shows what `code` would say of this failed one to be false; None if there is none."""
    claim = CLAIMS.get(code)
    if claim is None or failure(probe) is None:
        return None
    behind = run.behind(probe)
    ends = (probe,) if behind is None else (probe, behind)  # what is false of the one is false of the other
    others = (other for other in run.evidence.probes if other is not probe and other.same_as is None)
    through = (other for other in others if ok(other, claim.stage))
    return next((other for other in through if any(claim.scope(run, end, other) for end in ends)), None)


def is_doubted(run: RunView, code: str, probes: tuple[Probe, ...]) -> bool:
    """Whether `code` would be false of all these routes if one that came through led to the same gateway, as it may."""
    claim = CLAIMS.get(code)
    if claim is None or not claim.of_the_gateway:
        return False
    through = [other for other in run.evidence.probes if other.same_as is None and ok(other, claim.stage)]
    return bool(probes) and all(
        any(other is not probe and not _is_another_gateway(probe, other) for other in through) for probe in probes
    )


def is_disproved(run: RunView, code: str, probes: tuple[Probe, ...]) -> bool:
    """Whether `code` is no explanation of the failure of these routes, or of all that fail if it is about none."""
    about = probes or run.failing
    return bool(about) and all(contradicts(run, code, probe) is not None for probe in about)


def undisproved(run: RunView, matches: dict[str, Match]) -> dict[str, Match]:
    """The matches without what the run shows to be false, each without the routes for which it does."""
    left: dict[str, Match] = {}
    for code, match in matches.items():
        claim = CLAIMS.get(code)
        if claim is None or claim.only_as_explanation or (not match.probes and not is_disproved(run, code, ())):
            left[code] = match
        elif probes := tuple(probe for probe in match.probes if contradicts(run, code, probe) is None):
            left[code] = Match(match.message, probes)
    return left
