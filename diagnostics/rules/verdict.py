"""The verdict: one line that says what works or what does not, how far the evidence goes, and where to look."""

from __future__ import annotations

from diagnostics.evidence import Outcome, Probe, ProbeStage
from diagnostics.findings.behind import behind_words, said_behind
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import Side
from diagnostics.place.setting import here
from diagnostics.rules.between import Between
from diagnostics.rules.candidates import explanation_of, shows_any
from diagnostics.rules.diagnosis import Finding, Level, Verdict
from diagnostics.rules.rulebook import counted, was_reset
from diagnostics.rules.run_view import RunView, failure, failure_is, is_other_port, name_of, ok, reach, works
from diagnostics.rules.side import (
    Way,
    behind_main,
    distinct,
    main_finding,
    same_everywhere,
    side_of_failing,
    side_of_working,
    ways,
)

# What a route does, by the way it fails; "every route" or "HOST:PORT" comes before it. An entry's `does` goes first.
FAILS: dict[Way, str] = {
    (ProbeStage.RESOLVE, Outcome.UNREACHABLE): "is a name that cannot be looked up",
    (ProbeStage.RESOLVE, Outcome.TIMED_OUT): "is a name whose look-up got no answer",
    (ProbeStage.CONNECT, Outcome.REFUSED): "refuses the connection",
    (ProbeStage.CONNECT, Outcome.RESET): "refuses the connection",
    (ProbeStage.CONNECT, Outcome.TIMED_OUT): "leaves the connection attempt without an answer",
    (ProbeStage.CONNECT, Outcome.UNREACHABLE): "cannot be reached",
    (ProbeStage.QUIET, Outcome.CLOSED): "connects and is closed at once, before a byte was said",
    (ProbeStage.QUIET, Outcome.RESET): "connects and is reset at once, before a byte was said",
    (ProbeStage.QUIET, Outcome.BAD_PEER): "connects, and something that is no IB gateway speaks first",
    (ProbeStage.HELLO, Outcome.TIMED_OUT): "connects, and the gateway never answers the handshake",
    (ProbeStage.HELLO, Outcome.CLOSED): "connects, and the connection is closed in answer to the handshake",
    (ProbeStage.HELLO, Outcome.RESET): "connects, and the connection is reset in answer to the handshake",
    (ProbeStage.HELLO, Outcome.BAD_PEER): "connects, and what answers is no IB gateway",
    (ProbeStage.START_API, Outcome.REFUSED): "reaches the gateway, which refuses the session",
    (
        ProbeStage.START_API,
        Outcome.CLOSED,
    ): "reaches the gateway, which ends the connection instead of starting the session",
    (ProbeStage.START_API, Outcome.RESET): (
        "reaches the gateway, which resets the connection instead of starting the session"
    ),
    (ProbeStage.START_API, Outcome.TIMED_OUT): "reaches the gateway, and the session never becomes ready",
    (ProbeStage.START_API, Outcome.BAD_PEER): "reaches a gateway whose answer cannot be read",
    (ProbeStage.SYNC, Outcome.CLOSED): "gets a session, which the gateway ends at once",
    (ProbeStage.SYNC, Outcome.RESET): "gets a session, which the gateway resets at once",
    (ProbeStage.SYNC, Outcome.BAD_PEER): "gets a session whose answers cannot be read",
}


def verdict(run: RunView, findings: tuple[Finding, ...]) -> Verdict:
    """The line for these findings, which are in order."""
    level = _level(run)
    if run.best is not None and run.working:
        line = _line_of_working(run, run.best, findings, level)
        return Verdict(level, line, name_of(run.best), side_of_working(run, findings), _level_of_configured(run))
    side = side_of_failing(run, findings)
    route = name_of(run.best) if run.best is not None else None
    return Verdict(level, _line_of_failing(run, findings, side), route, side)


def _level(run: RunView) -> Level:
    return Level.NO_TCP if run.best is None else _level_of(run.best, run.evidence.asked.session)


def _level_of(probe: Probe, session: bool) -> Level:
    if not ok(probe, ProbeStage.CONNECT):
        return Level.NO_TCP
    if not ok(probe, ProbeStage.HELLO):
        return Level.NO_HANDSHAKE
    if works(probe, session=True):
        return Level.USABLE
    return Level.NO_SESSION if session else Level.ANSWERS


def _level_of_configured(run: RunView) -> Level | None:
    """How far the configured target comes, where only another route works; of several targets the furthest."""
    session = run.evidence.asked.session
    configured = [probe for probe in run.counted if probe.route.kind == "configured"]
    if not configured or any(works(probe, session) for probe in configured):
        return None
    furthest = max(configured, key=reach)
    return _level_of(furthest, session) if failure(furthest) is not None else None


# It works.


def _line_of_working(run: RunView, best: Probe, findings: tuple[Finding, ...], level: Level) -> str:
    line = f"Answers via {name_of(best)}: handshake done" if level is Level.ANSWERS else f"Works via {name_of(best)}"
    if level is Level.ANSWERS:
        version = _version(run, best)
        line += f"{f' ({version})' if version else ''}; no session was asked for"
    else:
        line += f": {_session(run, best)}"
    broken = next((probe for probe in run.failing if probe is not best), None)
    if broken is not None:
        does = _does(broken, _finding_about(broken, findings))
        why = "The routes differ, so this is routing: the gateway itself works"
        if best.route.kind == "address" and best.address in broken.addresses:
            why = "The fault is in what the name stands for: another of its addresses works"
        elif is_other_port(run, broken, best):
            why = "The machine is the same, so it is the port"
        elif _may_be_another_gateway(run, broken, best, findings):
            why = "A gateway works; whether this route leads to the same one is not known"
        line += f", but not via {name_of(broken)} as configured: it {does}. {why}. "
        return f"{line}{_code_of_others(run, best, findings)}".rstrip()
    main = next((finding for finding in findings if finding.matters), None)
    if main is None:
        return f"{line}."
    entry = CATALOGUE[main.code]
    return f"{line}, but {entry.but}. ({main.code})" if entry.but else f"{line}. Note: {entry.title}. ({main.code})"


def _may_be_another_gateway(run: RunView, broken: Probe, best: Probe, findings: tuple[Finding, ...]) -> bool:
    """Somebody answers there, on what is not known to be the same machine, and nothing shows that it is the way."""
    answers = ok(broken, ProbeStage.CONNECT) or failure_is(broken, ProbeStage.CONNECT, Outcome.REFUSED)
    about = _finding_about(broken, findings)
    of_the_gateway = about is not None and CATALOGUE[about.code].side is Side.GATEWAY
    return answers and of_the_gateway and not run.same_machine(broken, best)


def _session(run: RunView, probe: Probe) -> str:
    count = probe.number_of_accounts
    accounts = f"{len(probe.accounts)} accounts or more" if count is None else counted(count, "account")
    accounts = accounts if probe.accounts else ""
    details = ", ".join(filter(None, (_version(run, probe), accounts)))
    return f"session usable{f' ({details})' if details else ''}"


def _version(run: RunView, probe: Probe) -> str:
    return "" if probe.server_version is None else run.evidence.asked.server_version(probe.server_version)


def _code_of_others(run: RunView, best: Probe, findings: tuple[Finding, ...]) -> str:
    """The first finding about a route that fails beside the one that works."""
    names = {name_of(probe) for probe in run.failing if probe is not best}
    code = next((finding.code for finding in findings if names & set(finding.routes)), None)
    return f"({code})" if code else ""


# It does not.


def _line_of_failing(run: RunView, findings: tuple[Finding, ...], side: Side) -> str:
    if not run.counted:
        return "Does not work: no route was tried."
    if not run.failing:
        return _line_of_unfinished(run)
    main = main_finding(findings)
    if same_everywhere(run):
        subject = "every route" if len(run.counted) > 1 else name_of(run.counted[0])
        problem = f"{subject} {_does(run.failing[0], main)}{_tried_via(run, run.failing[0])}"
    else:
        problems = (
            f"{name_of(probe)} {_does(probe, _finding_about(probe, findings))}" for probe in distinct(run.failing)
        )
        problem = "; ".join(problems)
    where, code = (_where_to_look(run, side, main), f"({main.code})") if main else ("", "")
    beside = _session_beside(run)
    if beside is not None:
        problem += f"; but {name_of(beside)} works, {_session(run, beside)}"
    return " ".join(filter(None, (f"Does not work: {problem}.", where, code)))


def _session_beside(run: RunView) -> Probe | None:
    """Another port of a machine that does not do what was asked for, with a session all the same."""
    having = [probe for probe in run.siblings if works(probe, session=True)]
    pairs = ((probe, other) for probe in run.failing for other in having)
    return next(
        (other for probe, other in pairs if is_other_port(run, probe, other) or _is_behind(run, probe, other)), None
    )


def _is_behind(run: RunView, probe: Probe, other: Probe) -> bool:
    """Whether the second one was had at the address to which a forwarder here passes on the first one."""
    forwarder = run.forwarder(probe)
    return forwarder is not None and other.address == forwarder.upstream_address


def _line_of_unfinished(run: RunView) -> str:
    if run.best is None:
        return "Does not work: no route was tried to its end."
    untried = "session" if ok(run.best, ProbeStage.HELLO) else "handshake"
    return f"Not known: {name_of(run.best)} connects, which proves nothing yet, and no {untried} was tried."


def _finding_about(probe: Probe, findings: tuple[Finding, ...]) -> Finding | None:
    return next((finding for finding in findings if name_of(probe) in finding.routes), None)


def _does(probe: Probe, finding: Finding | None) -> str:
    """What the route of a probe that failed does."""
    does = CATALOGUE[finding.code].does if finding is not None else ""
    if finding is not None and does and (not finding.routes or name_of(probe) in finding.routes):
        return does
    failed = failure(probe)
    if failed is None:
        return ""
    known = FAILS.get((failed.stage, failed.outcome))
    return known or f"fails at {failed.stage.name} ({failed.error or failed.outcome.value})"


def _tried_via(run: RunView, probe: Probe) -> str:
    """A handshake is tried on one route; what was seen on that one is not said of the others."""
    untried = any(failure(other) is None for other in run.counted)
    return f" (tried via {name_of(probe)})" if untried else ""


# Where to look.


def _where_to_look(run: RunView, side: Side, main: Finding) -> str:
    entry, behind = CATALOGUE[main.code], behind_main(run, main)
    if entry.side is Side.LOCAL and behind is not None:
        return _sentence(_where_behind(main.code, behind))
    if side is Side.GATEWAY:
        return _at_the_gateway(run, main)
    if side is Side.ROUTING:
        return "The fault is on the way to the gateway, not in the gateway."
    if side is Side.LOCAL:
        local = f"the fault is here, in the network or the settings of {here(run.setting)}; the gateway was not asked"
        return _sentence(CATALOGUE[main.code].where_to_look or local)
    if len(ways(run.failing)) > 1:
        return "The routes fail differently, so this does not tell on which side the fault is."
    return "This does not tell whether the gateway or the way to it is at fault."


def _where_behind(code: str, behind: Between) -> str:
    row, asked_for = behind_words(code, behind.program), CATALOGUE[code].where_to_look
    if behind.is_sure and row is not None:
        return said_behind(row.where_to_look, behind.program, behind.port, behind.upstream)
    return f"{asked_for}, or {behind.program} has the port and leads to one"


def _at_the_gateway(run: RunView, main: Finding) -> str:
    entry = CATALOGUE[main.code]
    network = "Docker's networking" if run.fact("runtime") == "docker" else "the routing"
    where = entry.where_to_look or "the fault is on the gateway's side, not in {network}"
    where = where.format(network=network)
    if any(candidate.code == "IBD210" for candidate in main.candidates):
        # The kernel does not say here whether the bytes arrived.
        where = "the fault is most likely on the gateway's side"
    where += _after_reset(run, main)
    if entry.title_in_verdict:
        where += f": {entry.title}"
    if _level(run) is Level.NO_SESSION:
        return f"The way there works: {where}."
    if same_everywhere(run) and len(run.counted) > 1:
        return f"The same on every route: {where}."
    return _sentence(where)


def _after_reset(run: RunView, main: Finding) -> str:
    """What a reset most likely is, by the first explanation, where something that was seen speaks for that one."""
    first = explanation_of(main.code, main.candidates[0].code) if main.candidates else None
    reset = tuple(probe for probe in run.failing if name_of(probe) in main.routes and was_reset(probe))
    if first is None or not first.after_reset or not reset:
        return ""
    supported = shows_any(run, CATALOGUE[first.code].supported_by, reset)
    return f"; {first.after_reset}" if supported else ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
