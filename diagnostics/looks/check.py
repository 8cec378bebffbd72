"""One look at one route, as far as asked, in one line: the whole of `check`, and what `wait` and `watch` repeat.

A look is one probe of the ordinary kind. What it means is only worked out when it failed, since a health check that
succeeds is the usual one and should cost next to nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, ProbeStage, Route, StageResult
from diagnostics.place.addresses import label
from diagnostics.place.routes import candidates
from diagnostics.place.targets import ProbeTarget
from diagnostics.probing.probe import walk
from relay.printable import LONGEST_LINE, printable
from relay.wire.events import accounts_said
from relay.wire.heard import Heard, Said, replayed

# As diagnosis.EXIT, for the stage that failed.
EX_READY, EX_NO_TCP, EX_NO_HANDSHAKE, EX_NO_SESSION = 0, 2, 3, 4


CLIENT_WAITS = 4.0  # seconds for hello and START_API; as rules.sessions, which a good look does not import


AS_USUAL = Asked()


class Goal(Enum):
    """How far a route must work."""

    TCP = "tcp"  # accepted, and not closed at once
    HELLO = "hello"  # the gateway answers the IB handshake
    SESSION = "session"  # START_API, accounts, an answered request
    ONLINE = "online"  # and the gateway does not say that it is cut off from IB


LAST = {
    Goal.TCP: ProbeStage.QUIET,
    Goal.HELLO: ProbeStage.HELLO,
    Goal.SESSION: ProbeStage.SYNC,
    Goal.ONLINE: ProbeStage.SYNC,
}
EXIT_CODES = {
    ProbeStage.RESOLVE: EX_NO_TCP,
    ProbeStage.CONNECT: EX_NO_TCP,
    ProbeStage.QUIET: EX_NO_HANDSHAKE,
    ProbeStage.HELLO: EX_NO_HANDSHAKE,
    ProbeStage.START_API: EX_NO_SESSION,
    ProbeStage.SYNC: EX_NO_SESSION,
}


class State(NamedTuple):
    """What a look tells, without times and addresses: equal for two looks that tell the same."""

    ready: bool
    finding: str
    failed: tuple[ProbeStage, Outcome, str | None] | None  # with the error's name
    offline: bool  # as the gateway says
    farms: frozenset[Said]  # those it reports as broken
    server_version: int | None
    accounts: tuple[str, ...]
    account_count: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw."""

    goal: Goal
    route: str  # host:port
    probe: Probe
    finding: str = ""  # "IBD201 its title", where the rules name one
    asked: Asked = AS_USUAL

    @property
    def failed(self) -> StageResult | None:
        """The first stage that did not go well, of those that were asked for."""
        stages = list(ProbeStage)
        asked_for = stages[: stages.index(LAST[self.goal]) + 1]
        failures = (
            result for result in self.probe.stages if result.stage in asked_for and result.outcome is not Outcome.OK
        )
        return next(failures, None)

    @property
    def never_dialled(self) -> bool:
        """Whether it ended before any address was dialled: the name has none, or there was no time left."""
        before = self.failed is not None and self.failed.stage in (ProbeStage.RESOLVE, ProbeStage.CONNECT)
        return before and self.probe.address is None

    @property
    def heard(self) -> Heard:
        """What counts of the gateway's codes."""
        return replayed(self.probe.codes, self.probe.farms)

    @property
    def offline(self) -> int | None:
        """The code by which the gateway says that it is cut off from IB."""
        return self.heard.upstream_lost

    @property
    def ready(self) -> bool:
        """Does the route work as far as was asked?"""
        return self.failed is None and (self.goal is not Goal.ONLINE or self.offline is None)

    @property
    def exit_code(self) -> int:
        """0, or which part of the way is missing."""
        if self.failed is None:
            return EX_READY if self.ready else EX_NO_SESSION
        return EXIT_CODES[self.failed.stage]

    @property
    def state(self) -> State:
        """Equal for two looks that tell the same."""
        failed, probe = self.failed, self.probe
        return State(
            self.ready,
            self.finding,
            (failed.stage, failed.outcome, failed.error) if failed is not None else None,
            self.offline is not None,
            self.heard.farms,
            probe.server_version,
            probe.accounts,
            probe.account_count,
        )

    @property
    def line(self) -> str:
        """All of it for people, in one line."""
        failed = self.failed
        if failed is None:
            word, what = ("OK", self._success()) if self.ready else ("FAIL", self._offline())
            return printable(f"{word} {self.route}: {what}", LONGEST_LINE)
        why = self.finding or failed.detail or failed.error or ""
        why += f" ({failed.detail})" if self.finding and self.probe.answering else ""
        how = f"{failed.stage.value} {failed.outcome.value}{': ' if why else ''}{why}"
        return printable(f"FAIL {self.route}: {how}", LONGEST_LINE)

    def _success(self) -> str:
        took = sum(result.seconds or 0.0 for result in self.probe.stages if result.outcome is Outcome.OK)
        number = self.probe.server_version
        version = f", {self.asked.server_version(number)}" if number is not None else ""
        probe = self.probe
        accounts = f", {accounts_said(probe.accounts, probe.number_of_accounts, ' ')}" if probe.accounts else ""
        farms = self.heard.broken_farms
        notices = f", {self._cut_off()}" if self.offline else f", broken farms: {farms}" if farms else ""
        return f"{self.goal.value}{version}{accounts}, {took * 1000:.0f} ms{notices}{self._slow()}"

    def _slow(self) -> str:
        answers = [self.probe.result(stage).seconds or 0.0 for stage in (ProbeStage.HELLO, ProbeStage.START_API)]
        return ", slower than ib_async waits (4 s)" if sum(answers) >= CLIENT_WAITS else ""

    def _offline(self) -> str:
        return f"session usable, {self._cut_off()}{': ' if self.finding else ''}{self.finding}"

    def _cut_off(self) -> str:
        return f"the gateway says it is cut off from IB ({self.offline})"


def route_of(targets: tuple[ProbeTarget, ...], port: int) -> Route:
    """The route to look at: the first target, or where nothing is configured the likeliest one of this place."""
    if targets:
        return candidates((), targets, port)[0]
    from diagnostics.place.facts import look_around

    return candidates(look_around(), (), port)[0]


def look(route: Route, goal: Goal, asked: Asked, limit: float = float("inf")) -> Look:
    """Look once, within `limit` seconds and a polite goodbye."""
    result = Look(
        goal, label(route), walk(route, asked, LAST[goal], limit=limit, settle=goal is Goal.ONLINE), asked=asked
    )
    return result if result.ready else replace(result, finding=_finding(result))


def _finding(look: Look) -> str:
    """What the rules make of it: code and title of the finding that explains the failure, "" if there is none.

    A finding that the same run has without what failed is about something beside it, like a setting or a version.
    """
    from diagnostics.findings.catalogue import CATALOGUE
    from diagnostics.place.facts import look_around
    from diagnostics.rules.diagnose import diagnose

    evidence = Evidence(time.time(), "", look.asked, look_around(), (look.probe,))
    beside = replace(evidence, probes=(_before_the_failure(look.probe, look.failed),))
    known = {finding.code for finding in diagnose(beside).findings}
    code = next((finding.code for finding in diagnose(evidence).findings if finding.code not in known), None)
    return f"{code} {CATALOGUE[code].title}" if code is not None else ""


def _before_the_failure(probe: Probe, failed: StageResult | None) -> Probe:
    """The probe as if nobody had tried the stage that failed, nor the gateway had said anything of itself there."""
    probe = replace(probe, codes=(), farms=())
    if failed is None:
        return probe
    stages = list(ProbeStage)
    left = stages[: stages.index(failed.stage)]
    probe = replace(probe, stages=tuple(result for result in probe.stages if result.stage in left), kernel=None)
    if failed.stage not in (ProbeStage.START_API, ProbeStage.SYNC):
        probe = replace(probe, server_version=None, redirect=None, first_bytes=None, bytes_received=0)
    return probe
