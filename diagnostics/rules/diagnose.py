"""Evidence in, Diagnosis out: a table of small predicates, tried in the order of the catalogue.

All that apply are collected first; then an effect stays silent on the routes on which one of its causes (depends_on)
was found too. A rule may only claim what was seen: what cannot be told apart from here is one finding with candidates
(candidates.py), unless the sockets of the gateway's side or its log were seen and decide.
"""

from __future__ import annotations

from diagnostics.evidence import Evidence, Probe
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.rules import maintenance
from diagnostics.rules.candidates import candidates
from diagnostics.rules.diagnosis import Candidate, Diagnosis, Finding, Level, Side, Verdict, exit_code
from diagnostics.rules.logins import LOG_RULES
from diagnostics.rules.peers import PEER_RULES
from diagnostics.rules.routes import ROUTE_RULES
from diagnostics.rules.seen import Seen, look_at, name
from diagnostics.rules.sessions import SESSION_RULES
from diagnostics.rules.verdict import verdict

__all__ = ["RULES", "Candidate", "Diagnosis", "Finding", "Level", "Side", "Verdict", "diagnose", "exit_code"]

RULES = (*ROUTE_RULES, *PEER_RULES, *SESSION_RULES, *LOG_RULES)


def diagnose(evidence: Evidence, windows: tuple[maintenance.Window, ...] = maintenance.WINDOWS) -> Diagnosis:
    """What is the matter, or that nothing is. `windows` are IB's maintenance times."""
    seen = look_at(evidence)
    fired = {code: found for code, rule in RULES if (found := rule(seen)) is not None}
    if _may_be_maintenance(fired) and (now := maintenance.inside(evidence.created, windows)):
        fired["IBD703"] = (f"the run was during {now[0].told()} (as of {maintenance.AS_OF})", ())
    found = sorted(_without_effects(fired), key=lambda one: _rank(one[0], one[1][1]))
    findings = tuple(_finding(seen, code, words, probes) for code, (words, probes) in found)
    return Diagnosis(verdict(seen, findings), findings)


def _without_effects(fired: dict[str, tuple[str, tuple[Probe, ...]]]):
    """Findings in the order of the catalogue, each without the routes on which a cause of it was found too.

    A cause without routes is the gateway's own and explains all of them.
    """
    for code, entry in CATALOGUE.items():
        if code not in fired:
            continue
        words, probes = fired[code]
        causes = [fired[cause][1] for cause in entry.depends_on if cause in fired]
        explained = {id(probe) for cause in causes for probe in cause}
        left = tuple(probe for probe in probes if id(probe) not in explained)
        if not causes or (left and all(causes)):
            yield code, (words, left)


def _rank(code: str, probes: tuple[Probe, ...]) -> int:
    """What the user asked for comes first, other routes after it; within these the catalogue's order stays."""
    if CATALOGUE[code].severity == "info":
        return 2
    return 0 if not probes or any(one.route.kind == "configured" for one in probes) else 1


def _may_be_maintenance(fired: dict) -> bool:
    return any(code in fired for code in ("IBD301", "IBD503", "IBD609", "IBD611", "IBD701", "IBD702"))


def _finding(seen: Seen, code: str, words: str, probes: tuple[Probe, ...]) -> Finding:
    routes = tuple(name(one) for one in probes)
    commands = tuple(_filled(line, probes[0] if probes else seen.best) for line in CATALOGUE[code].commands)
    return Finding(code, words, routes, candidates(seen, code, probes), commands)


PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:")


def _filled(command: str, probe: Probe | None) -> str:
    """The command for this route.

    A host that is not plainly a name or address (it may come from a file) is not put in.
    """
    if probe is None:
        return command
    if probe.redirect:
        return command.replace("HOST:PORT", probe.redirect) if _plain(probe.redirect) else command
    command = command.replace("PORT", str(probe.route.port))
    return command.replace("HOST", probe.route.host) if _plain(probe.route.host) else command


def _plain(place: str) -> bool:
    return bool(place) and set(place) <= PLAIN and place[0] != "-"
