"""The verdict: one line that says what works or what does not, how far the evidence goes, and on which side to look.

The comparison of routes decides the side: the same failure on every route is the gateway's, a route that works while
another fails is routing. With a single route there is nothing to compare, and only what was heard from the other end
counts.
"""

from __future__ import annotations

from diagnostics.evidence import Outcome, Probe, Stage
from diagnostics.findings.catalogue import CATALOGUE, LOGIN
from diagnostics.rules.diagnosis import Finding, Level, Side, Verdict
from diagnostics.rules.seen import HELLO_AT, Seen, failure, name, ok, reach, works

# Where to look for a finding, if the comparison of the routes does not say it.
SIDES: dict[Side, tuple[str, ...]] = {
    Side.LOCAL: ("IBD101", "IBD102", "IBD103", "IBD106", "IBD204", "IBD209", "IBD401", "IBD402", "IBD403"),
    Side.ROUTING: ("IBD104", "IBD105", "IBD203", "IBD206", "IBD208", "IBD210"),
    Side.UNCLEAR: ("IBD205", "IBD405"),
}
SIDE_OF = {code: side for side, codes in SIDES.items() for code in codes}

# What a route does, by the stage it fails at; "every route" or "HOST:PORT" comes before it.
FAILS: dict[tuple[Stage, Outcome], str] = {
    (Stage.RESOLVE, Outcome.UNREACHABLE): "is a name that cannot be looked up",
    (Stage.RESOLVE, Outcome.TIMED_OUT): "is a name whose look-up got no answer",
    (Stage.CONNECT, Outcome.REFUSED): "refuses the connection",
    (Stage.CONNECT, Outcome.RESET): "refuses the connection",
    (Stage.CONNECT, Outcome.TIMED_OUT): "leaves the connection attempt without an answer",
    (Stage.CONNECT, Outcome.UNREACHABLE): "cannot be reached",
    (Stage.QUIET, Outcome.CLOSED): "connects and is closed at once, before a byte was said",
    (Stage.QUIET, Outcome.RESET): "connects and is reset at once, before a byte was said",
    (Stage.QUIET, Outcome.BAD_PEER): "connects, and something that is no IB gateway speaks first",
    (Stage.HELLO, Outcome.TIMED_OUT): "connects, and the gateway never answers the handshake",
    (Stage.HELLO, Outcome.CLOSED): "connects, and the connection is closed in answer to the handshake",
    (Stage.HELLO, Outcome.RESET): "connects, and the connection is reset in answer to the handshake",
    (Stage.HELLO, Outcome.BAD_PEER): "connects, and what answers is no IB gateway",
    (Stage.START_API, Outcome.REFUSED): "reaches the gateway, which refuses the session",
    (Stage.START_API, Outcome.CLOSED): "reaches the gateway, which ends the connection instead of starting the session",
    (
        Stage.START_API,
        Outcome.RESET,
    ): "reaches the gateway, which resets the connection instead of starting the session",
    (Stage.START_API, Outcome.TIMED_OUT): "reaches the gateway, and the session never becomes ready",
    (Stage.START_API, Outcome.BAD_PEER): "reaches a gateway whose answer cannot be read",
    (Stage.SYNC, Outcome.CLOSED): "gets a session, which the gateway ends at once",
    (Stage.SYNC, Outcome.RESET): "gets a session, which the gateway resets at once",
    (Stage.SYNC, Outcome.BAD_PEER): "gets a session whose answers cannot be read",
}
# Instead, where a finding knows better.
BY_CODE = {
    "IBD101": "is a name that is not known here",
    "IBD102": "is a name, and no name server answers",
    "IBD206": "is an address that no machine has",
    "IBD208": "is forbidden by a rule on the way",
    "IBD209": "cannot be reached: there is no network to go by",
    "IBD210": "connects, and then data disappears on the way",
    "IBD307": "connects to a forwarder that cannot reach the gateway",
    "IBD405": "connects, and the answer is not the IB protocol",
    "IBD407": "reaches a gateway that sends us elsewhere",
    "IBD501": "reaches the gateway, where the client id is in use",
}


def verdict(seen: Seen, findings: tuple[Finding, ...]) -> Verdict:
    """The line for these findings, which are in order."""
    level = _level(seen)
    route = name(seen.best) if seen.best is not None else None
    if seen.working:
        side = _side_of_working(seen, findings)
        return Verdict(level, _works(seen, findings, level), route, side)
    side = _side(seen, findings)
    return Verdict(level, _fails(seen, findings, side), route, side)


def _level(seen: Seen) -> Level:
    best = seen.best
    if best is None:
        return Level.NO_TCP
    if not ok(best, Stage.HELLO):
        return Level.NO_HANDSHAKE
    if works(best, True):
        return Level.USABLE
    return Level.NO_SESSION if seen.evidence.asked.session else Level.ANSWERS


# It works


def _works(seen: Seen, findings: tuple[Finding, ...], level: Level) -> str:
    best, others = seen.best, tuple(one for one in seen.failing if one is not seen.best)
    version = "" if best.server_version is None else f"server version {best.server_version}"
    if level is Level.ANSWERS:
        line = f"Answers via {name(best)}: handshake done{f' ({version})' if version else ''}; no session was asked for"
    else:
        details = ", ".join(one for one in (version, _accounts(best)) if one)
        line = f"Works via {name(best)}: session usable{f' ({details})' if details else ''}"
    if others:
        does = _does(others[0], _of(findings, others[0]))
        line += f", but not via {name(others[0])} as configured: it {does}. The routes differ, so this is routing: the "
        line += "gateway itself works"
        return f"{line}. {_codes(findings, others)}".rstrip()
    told = [one for one in findings if CATALOGUE[one.code].severity != "info"]
    if told:
        return f"{line}. Note: {CATALOGUE[told[0].code].title}. ({told[0].code})"
    return f"{line}."


def _accounts(probe: Probe) -> str:
    count = len(probe.accounts)
    return f"{count} account{'s' if count != 1 else ''}" if count else ""


def _codes(findings: tuple[Finding, ...], probes: tuple[Probe, ...]) -> str:
    wanted = {name(one) for one in probes}
    code = next((one.code for one in findings if wanted & set(one.routes)), None)
    return f"({code})" if code else ""


def _side_of_working(seen: Seen, findings: tuple[Finding, ...]) -> Side:
    if any(one is not seen.best for one in seen.failing):
        return Side.ROUTING
    main = next((one for one in findings if CATALOGUE[one.code].severity != "info"), None)
    return Side.NONE if main is None else SIDE_OF.get(main.code, Side.GATEWAY)


# It does not


def _fails(seen: Seen, findings: tuple[Finding, ...], side: Side) -> str:
    if not seen.counted:
        return "Does not work: no route was tried."
    main = _main(findings)
    failing = seen.failing
    if not failing:
        return _unfinished(seen)
    if _same_everywhere(seen):
        what = f"{_who(seen)} {_does(failing[0], main)}{_tried(seen, failing[0])}"
    else:
        what = "; ".join(f"{name(one)} {_does(one, _of(findings, one))}" for one in _distinct(failing))
    where = _where(seen, side, main)
    return " ".join(one for one in (f"Does not work: {what}.", where, f"({main.code})" if main else "") if one)


def _unfinished(seen: Seen) -> str:
    if seen.best is None:
        return "Does not work: no route was tried to its end."
    tried = "session" if ok(seen.best, Stage.HELLO) else "handshake"
    return f"Not known: {name(seen.best)} connects, which proves nothing yet, and no {tried} was tried."


def _main(findings: tuple[Finding, ...]) -> Finding | None:
    """The first error, else the first finding."""
    errors = (one for one in findings if CATALOGUE[one.code].severity == "error")
    return next(errors, findings[0] if findings else None)


def _of(findings: tuple[Finding, ...], probe: Probe) -> Finding | None:
    return next((one for one in findings if name(probe) in one.routes), None)


def _does(probe: Probe, finding: Finding | None) -> str:
    if finding is not None and finding.code in BY_CODE and (not finding.routes or name(probe) in finding.routes):
        return BY_CODE[finding.code]
    failed = failure(probe)
    known = FAILS.get((failed.stage, failed.outcome))
    return known or f"fails at {failed.stage.name} ({failed.error or failed.outcome.value})"


def _distinct(probes: tuple[Probe, ...], most: int = 3) -> tuple[Probe, ...]:
    """One for every way to fail, the configured ones first."""
    ways: dict[tuple, Probe] = {}
    for one in probes:
        ways.setdefault((failure(one).stage, failure(one).outcome), one)
    return tuple(ways.values())[:most]


def _who(seen: Seen) -> str:
    return "every route" if len(seen.counted) > 1 else name(seen.counted[0])


def _tried(seen: Seen, probe: Probe) -> str:
    """A handshake is tried on one route; what was seen on that one is not said of the others."""
    untried = any(failure(one) is None for one in seen.counted)
    return f" (tried via {name(probe)})" if untried else ""


def _same_everywhere(seen: Seen) -> bool:
    """All routes fail in one way, or came as far as the one that was taken further."""
    ways = {(failure(one).stage, failure(one).outcome) for one in seen.counted if failure(one)}
    untried = [one for one in seen.counted if failure(one) is None]
    return len(ways) == 1 and all(reach(one) >= HELLO_AT for one in untried) and (not untried or _beyond_tcp(ways))


def _beyond_tcp(ways: set[tuple[Stage, Outcome]]) -> bool:
    return all(stage in (Stage.HELLO, Stage.START_API, Stage.SYNC) for stage, _ in ways)


def _side(seen: Seen, findings: tuple[Finding, ...]) -> Side:
    main = _main(findings)
    if main is None:
        return Side.UNCLEAR
    known = SIDE_OF.get(main.code, Side.GATEWAY)
    if main.code == "IBD205" and any(one.code == "IBD207" for one in findings):
        return Side.GATEWAY
    if known is not Side.GATEWAY or not main.routes:
        return known
    if _same_everywhere(seen):
        alone = len(seen.counted) == 1
        return Side.UNCLEAR if alone and main.code == "IBD201" and not _is_here(seen) else Side.GATEWAY
    # Routes of equal rank that fail differently, or a configured one that does not come as far as another.
    asked = any(one.route.kind == "configured" and reach(one) < max(map(reach, seen.failing)) for one in seen.failing)
    return Side.UNCLEAR if asked or len(_distinct(seen.failing)) > 1 else Side.GATEWAY


# Where to look when the side is LOCAL and it is not this machine's network.
TARGET = {
    "IBD106": "The target is wrong, not the gateway.",
    "IBD204": "The port asked for is not the one that is open.",
    "IBD401": "The host or port asked for is another service's.",
    "IBD402": "The host or port asked for is another service's.",
    "IBD403": "The host or port asked for is another service's.",
}


def _is_here(seen: Seen) -> bool:
    """The one route ends on this very machine. Any other that refuses may as well be the wrong route."""
    shared = seen.contained is False or seen.fact("network_mode") == "host"
    return shared and seen.is_local(seen.counted[0])


def _where(seen: Seen, side: Side, main: Finding | None) -> str:
    if main is None:
        return ""
    if side is Side.GATEWAY:
        return _at_the_gateway(seen, main)
    if side is Side.ROUTING:
        return "The fault is on the way to the gateway, not in the gateway."
    if side is Side.LOCAL:
        place = {True: " of this container", False: " of this machine", None: ""}[seen.contained]
        return TARGET.get(
            main.code, f"The fault is here, in the network or the settings{place}; the gateway was not asked."
        )
    if len(_distinct(seen.failing)) > 1:
        return "The routes fail differently, so this does not tell on which side the fault is."
    return "This does not tell whether the gateway or the way to it is at fault."


# Causes that the gateway's log, its sockets or its own words have shown: the line says them too.
TOLD = ("IBD207", "IBD304", "IBD305", "IBD309", "IBD310", "IBD505", "IBD704", "IBD804", *LOGIN)
# Some of their explanations (a wrong port mapping, a firewall that rejects) are not the gateway itself.
SOFT = {
    "IBD201": "look on the gateway's side (what listens there, and for whom), not in {network}",
    "IBD301": "the fault is at the gateway or at what forwards to it, not on the way from here",
    "IBD404": "the fault is at the gateway or at what forwards to it, not on the way from here",
}
# What a reset in answer to the hello most likely is, by the first explanation.
RESETS = {
    "IBD301": "most likely a relay has the port, and no gateway listens behind it",
    "IBD307": "most likely a relay has the port, and its dial of the gateway got no answer",
}


def _at_the_gateway(seen: Seen, main: Finding) -> str:
    network = "Docker's networking" if seen.fact("runtime") == "docker" else "the routing"
    words = SOFT.get(main.code, "the fault is on the gateway's side, not in {network}").format(network=network)
    if any(one.code == "IBD210" for one in main.candidates):
        words = (
            "the fault is most likely on the gateway's side"  # the kernel does not say here whether the bytes arrived
        )
    first = main.candidates[0].code if main.candidates else ""
    reset = any(failure(one).outcome is Outcome.RESET for one in seen.failing if name(one) in main.routes)
    if main.code == "IBD404" and reset and first in RESETS:
        words += f"; {RESETS[first]}"
    if main.code in TOLD:
        words += f": {CATALOGUE[main.code].title}"
    if _level(seen) is Level.NO_SESSION:
        return f"The way there works: {words}."
    if _same_everywhere(seen) and len(seen.counted) > 1:
        return f"The same on every route: {words}."
    return f"{words[0].upper()}{words[1:]}."
