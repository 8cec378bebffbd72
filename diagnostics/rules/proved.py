"""What the run proved, and what that makes false: a rule sees a route, a gateway may be seen by another one.

Every claim about the gateway, its login or its port says what would be seen elsewhere if it were false. A finding or an
explanation that such a route shows to be false is not reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostics.evidence import Probe, ProbeStage
from diagnostics.findings.entry import LOGIN_FAULTS
from diagnostics.place.addresses import is_loopback
from diagnostics.rules.log_view import log_view
from diagnostics.rules.rulebook import Match
from diagnostics.rules.run_view import RunView, failure, ok

# Ports whose meaning is the same with IBKR's defaults and with every image that publishes them. 4003 and 4004 are not
# here: the first is live inside one image and this project's relay, of either kind, outside.
KIND_OF_PORT = {4001: "live", 7496: "live", 4002: "paper", 7497: "paper"}

Scope = Callable[[RunView, Probe, Probe], bool]  # is what the second one shows about the same thing as the first one?


def _same_port(run: RunView, probe: Probe, other: Probe) -> bool:
    return probe.route.port == other.route.port and run.same_machine(probe, other)


def _same_port_from_outside(run: RunView, probe: Probe, other: Probe) -> bool:
    return _same_port(run, probe, other) and not is_loopback(other.address or "")


def _same_gateway(run: RunView, probe: Probe, other: Probe) -> bool:
    """Another port of the machine may be another gateway's: where the user named both, or one is live and one paper."""
    port, its = probe.route.port, other.route.port
    if not run.same_machine(probe, other) or port == its:
        return run.same_machine(probe, other)
    if its == log_view(run).api_port:
        return True
    both_named = probe.route.kind == other.route.kind == "configured"
    return not both_named and len({KIND_OF_PORT.get(port), KIND_OF_PORT.get(its)} - {None}) < 2


def _same_machine(run: RunView, probe: Probe, other: Probe) -> bool:
    return run.same_machine(probe, other)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a code says of the gateway is false where a route of this scope came through this stage."""

    scope: Scope
    stage: ProbeStage
    only_as_explanation: bool = False  # as a finding it is what was seen, which stays true


_NO_LOGIN = Claim(_same_gateway, ProbeStage.START_API)
_NO_PROCESS = Claim(_same_gateway, ProbeStage.HELLO)

CLAIMS: dict[str, Claim] = {
    # The gateway is not in this container.
    "IBD106": Claim(_same_machine, ProbeStage.HELLO),
    # Nobody has the port; only loopback has it; its queue is full; nobody is behind it.
    "IBD201": Claim(_same_port, ProbeStage.CONNECT, only_as_explanation=True),
    "IBD202": Claim(_same_port_from_outside, ProbeStage.CONNECT, only_as_explanation=True),
    "IBD207": Claim(_same_port, ProbeStage.HELLO, only_as_explanation=True),
    "IBD301": Claim(_same_port, ProbeStage.HELLO, only_as_explanation=True),
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
    others = (other for other in run.evidence.probes if other is not probe and other.same_as is None)
    return next((other for other in others if ok(other, claim.stage) and claim.scope(run, probe, other)), None)


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
