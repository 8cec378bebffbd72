"""One look at one route, as far as asked, in one line: the whole of `check`, and what `wait` and `watch` repeat.

A look is one probe of the ordinary kind. What it means is only worked out when it failed, since a health check that
succeeds is the usual one and should cost next to nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, Route, Stage, StageResult
from diagnostics.place import routes
from diagnostics.probing import probe

# As diagnosis.EXIT, for the stage that failed.
EX_READY, EX_NO_TCP, EX_NO_HANDSHAKE, EX_NO_SESSION = 0, 2, 3, 4


class Level(Enum):
    """How far a route must work."""

    TCP = "tcp"  # accepted, and not closed at once
    HELLO = "hello"  # the gateway answers the IB handshake
    SESSION = "session"  # START_API, accounts, an answered request


LAST = {Level.TCP: Stage.QUIET, Level.HELLO: Stage.HELLO, Level.SESSION: Stage.SYNC}
EXIT_CODES = {
    Stage.RESOLVE: EX_NO_TCP,
    Stage.CONNECT: EX_NO_TCP,
    Stage.QUIET: EX_NO_HANDSHAKE,
    Stage.HELLO: EX_NO_HANDSHAKE,
    Stage.START_API: EX_NO_SESSION,
    Stage.SYNC: EX_NO_SESSION,
}


def route_of(targets: tuple[routes.Target, ...], port: int) -> Route:
    """The route to look at: the first target, or where nothing is configured the likeliest one of this place."""
    if targets:
        return routes.candidates((), targets, port)[0]
    from diagnostics.place.facts import look_around

    return routes.candidates(look_around(), (), port)[0]


def look(route: Route, level: Level, asked: Asked, limit: float = float("inf")) -> Look:
    """Look once, within `limit` seconds and a polite goodbye."""
    seen = Look(level, routes.label(route), probe.walk(route, asked, LAST[level], limit=limit))
    return seen if seen.ready else Look(level, seen.place, seen.probe, _finding(seen.probe, asked))


def _finding(found: Probe, asked: Asked) -> str:
    """What the rules make of it: code and title of the first finding, "" if there is none."""
    from diagnostics.findings.catalogue import CATALOGUE
    from diagnostics.place.facts import look_around
    from diagnostics.rules.diagnose import diagnose

    findings = diagnose(Evidence(time.time(), "", asked, look_around(), (found,))).findings
    return f"{findings[0].code} {CATALOGUE[findings[0].code].title}" if findings else ""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw."""

    level: Level
    place: str  # host:port
    probe: Probe
    finding: str = ""  # "IBD201 its title", where the rules name one

    @property
    def failed(self) -> StageResult | None:
        """The first stage that did not go well, of those that were asked for."""
        stages = list(Stage)
        wanted = stages[: stages.index(LAST[self.level]) + 1]
        return next((one for one in self.probe.stages if one.stage in wanted and one.outcome is not Outcome.OK), None)

    @property
    def ready(self) -> bool:
        """Does the route work as far as was asked?"""
        return self.failed is None

    @property
    def exit_code(self) -> int:
        """0, or which part of the way is missing."""
        return EX_READY if self.failed is None else EXIT_CODES[self.failed.stage]

    @property
    def state(self) -> tuple:
        """Equal for two looks that tell the same; times and addresses are not part of it."""
        failed = self.failed
        return (self.finding, failed.stage, failed.outcome, failed.error) if failed else ()

    @property
    def line(self) -> str:
        """All of it for people, in one line."""
        failed = self.failed
        if failed is None:
            return f"OK {self.place}: {self._success()}"
        why = self.finding or failed.detail or failed.error or ""
        return f"FAIL {self.place}: {failed.stage.value} {failed.outcome.value}{': ' if why else ''}{why}"

    def _success(self) -> str:
        took = sum(one.seconds or 0.0 for one in self.probe.stages if one.outcome is Outcome.OK)
        version = f", server version {self.probe.server_version}" if self.probe.server_version is not None else ""
        accounts = f", {' '.join(self.probe.accounts)}" if self.probe.accounts else ""
        return f"{self.level.value}{version}{accounts}, {took * 1000:.0f} ms"
