"""Evidence in, Diagnosis out: a table of small predicates, reported in the order of the catalogue.

All that match are collected first, without what another route disproves (proved.py). Then an effect is left out on the
routes on which one of its causes (silenced_by) was found too. A rule may only claim what was seen: what cannot be told
apart from here is one finding with candidates (candidates.py), unless the sockets of the gateway's side or its log were
seen and decide.
"""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.evidence import Evidence, Probe
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.rules import maintenance
from diagnostics.rules.advice import advice
from diagnostics.rules.candidates import candidates
from diagnostics.rules.diagnosis import Diagnosis, Finding
from diagnostics.rules.logins import LOGIN_RULES
from diagnostics.rules.peers import PEER_RULES
from diagnostics.rules.places import PLACE_RULES
from diagnostics.rules.proved import is_disproved, undisproved
from diagnostics.rules.routes import ROUTE_RULES
from diagnostics.rules.rulebook import Match
from diagnostics.rules.run_view import RunView, failure, look_at, name_of
from diagnostics.rules.sessions import SESSION_RULES
from diagnostics.rules.verdict import verdict

RULES = (*ROUTE_RULES, *PEER_RULES, *SESSION_RULES, *LOGIN_RULES, *PLACE_RULES)


def diagnose(evidence: Evidence, windows: tuple[maintenance.Window, ...] = maintenance.WINDOWS) -> Diagnosis:
    """What is the matter, or that nothing is. `windows` are IB's maintenance times."""
    run = look_at(evidence)
    matches = undisproved(run, {code: match for code, rule in RULES if (match := rule(run)) is not None})
    now = maintenance.inside(evidence.created, windows) if _may_be_maintenance(run, matches) else None
    if now:
        matches["IBD703"] = Match(f"the run was during {now[0].sentence} (as of {maintenance.AS_OF})")
    known_false = frozenset({"IBD703"}) if now == () else frozenset()
    left = sorted(_without_effects(matches), key=lambda pair: _rank(*pair))
    findings = tuple(_finding(run, code, match, known_false) for code, match in left)
    return Diagnosis(verdict(run, findings), findings)


def _without_effects(matches: dict[str, Match]) -> Iterator[tuple[str, Match]]:
    """The matches in the order of the catalogue, each without the routes on which a cause of it was found too.

    A cause without routes is the gateway's own and explains all of them.
    """
    for code, entry in CATALOGUE.items():
        if code not in matches:
            continue
        match = matches[code]
        causes = [matches[cause].probes for cause in entry.silenced_by if cause in matches]
        explained = {id(probe) for probes in causes for probe in probes}
        left = tuple(probe for probe in match.probes if id(probe) not in explained)
        if not causes or (all(causes) and _is_left(match, left)):
            yield code, Match(match.message, left)


def _is_left(match: Match, left: tuple[Probe, ...]) -> bool:
    """Whether there is something left to explain: where a match had failed routes, more than what answered beside."""
    failed = {id(probe) for probe in match.probes if failure(probe) is not None}
    return bool(left) and (not failed or any(id(probe) in failed for probe in left))


def _rank(code: str, match: Match) -> int:
    """What the user asked for comes first, other routes after it; within these the catalogue's order stays."""
    if CATALOGUE[code].severity == "info":
        return 2
    return 0 if not match.probes or any(probe.route.kind == "configured" for probe in match.probes) else 1


def _may_be_maintenance(run: RunView, matches: dict[str, Match]) -> bool:
    alike = [match for code, match in matches.items() if CATALOGUE[code].may_be_maintenance]
    return any(not is_disproved(run, "IBD703", match.probes) for match in alike)


def _finding(run: RunView, code: str, match: Match, known_false: frozenset[str]) -> Finding:
    routes = tuple(name_of(probe) for probe in match.probes)
    advised, causes = advice(run, code, match.probes), candidates(run, code, match.probes, known_false)
    commands = tuple(command for command in advised.commands if not _names_a_dead_end(run, command, routes))
    return Finding(code, match.message, routes, causes, commands, advised.fix, advised.check, advised.between)


def _names_a_dead_end(run: RunView, command: str, routes: tuple[str, ...]) -> bool:
    """Whether it proposes a target, not the one that was asked for or found at fault, that this run has seen fail."""
    probes = (probe for probe in run.evidence.probes if probe.route.kind != "configured")
    failed = {name_of(probe) for probe in probes if failure(probe) is not None}
    return any(f"--target {target}" in command for target in failed.difference(routes))
