"""On which side to look: what comparing the routes tells, and what the finding itself does.

The same failure on every route is the gateway's; a route that works while another fails is routing. With a single route
there is nothing to compare, and only what was heard from the other end counts.
"""

from __future__ import annotations

from diagnostics.evidence import Outcome, Probe, ProbeStage
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import Side
from diagnostics.rules.between import Between, between
from diagnostics.rules.diagnosis import Finding
from diagnostics.rules.run_view import REACHES_HELLO, RunView, failure, failures, is_other_port, name_of, reach

Way = tuple[ProbeStage, Outcome]  # a way to fail


def ways(probes: tuple[Probe, ...]) -> set[Way]:
    """The ways in which these probes fail."""
    return {(failed.stage, failed.outcome) for failed in failures(probes)}


def distinct(probes: tuple[Probe, ...], most: int = 3) -> tuple[Probe, ...]:
    """One probe for every way to fail, in order."""
    first: dict[Way, Probe] = {}
    for probe in probes:
        failed = failure(probe)
        if failed is not None:
            first.setdefault((failed.stage, failed.outcome), probe)
    return tuple(first.values())[:most]


def same_everywhere(run: RunView) -> bool:
    """All routes fail in one way, or came as far as the one that was taken further."""
    found = ways(run.counted)
    unfailed = [probe for probe in run.counted if failure(probe) is None]
    if len(found) != 1 or any(reach(probe) < REACHES_HELLO for probe in unfailed):
        return False
    return not unfailed or all(stage in (ProbeStage.HELLO, ProbeStage.START_API, ProbeStage.SYNC) for stage, _ in found)


def main_finding(findings: tuple[Finding, ...]) -> Finding | None:
    """The first error, else the first finding."""
    errors = (finding for finding in findings if CATALOGUE[finding.code].severity == "error")
    return next(errors, findings[0] if findings else None)


def behind_main(run: RunView, main: Finding) -> Between | None:
    """What stands between on the first route of a finding that is about what answers."""
    probe = next((one for one in run.failing if name_of(one) in main.routes), None)
    return between(run, probe) if main.between else None


def side_of_working(run: RunView, findings: tuple[Finding, ...]) -> Side:
    """The side where something works."""
    others = [probe for probe in run.failing if probe is not run.best]
    if others:
        best = run.best
        return Side.LOCAL if best and all(is_other_port(run, probe, best) for probe in others) else Side.ROUTING
    main = next((finding for finding in findings if finding.matters), None)
    return Side.NONE if main is None else CATALOGUE[main.code].side


def side_of_failing(run: RunView, findings: tuple[Finding, ...]) -> Side:
    """The side where nothing works."""
    main = main_finding(findings)
    if main is None:
        return Side.UNCLEAR
    if main.code == "IBD205" and any(finding.code == "IBD207" for finding in findings):
        return Side.GATEWAY
    known = CATALOGUE[main.code].side
    if known is Side.LOCAL and (forwarder := behind_main(run, main)) is not None:
        return Side.GATEWAY if forwarder.is_sure else Side.UNCLEAR
    if known is not Side.GATEWAY or not main.routes:
        return known
    if same_everywhere(run):
        alone = len(run.counted) == 1
        return Side.UNCLEAR if alone and main.code == "IBD201" and not _ends_here(run) else Side.GATEWAY
    # Routes of equal rank that fail differently, or a configured one that does not come as far as another.
    furthest = max(map(reach, run.failing), default=0)
    behind = any(probe.route.kind == "configured" and reach(probe) < furthest for probe in run.failing)
    return Side.UNCLEAR if behind or len(ways(run.failing)) > 1 else Side.GATEWAY


def _ends_here(run: RunView) -> bool:
    """The one route ends on this very machine. Any other that refuses may as well be the wrong route."""
    return run.shares_the_host and run.is_local(run.counted[0])
