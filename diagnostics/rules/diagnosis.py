"""What was concluded from a run: the verdict in one line, the findings behind it, and the exit code for both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import Side


class Level(Enum):
    """How far the best route came."""

    USABLE = "usable"  # order id and accounts came
    ANSWERS = "answers"  # the handshake was answered, and no session was asked for
    NO_SESSION = "no_session"
    NO_HANDSHAKE = "no_handshake"  # something accepts the connection; that is all that can be said
    NO_TCP = "no_tcp"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several explanations that look the same from here, and what tells it from the others."""

    code: str
    check: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One code that applies. `candidates` in order, likely ones first; empty where what was seen is enough."""

    code: str
    message: str  # what was seen
    routes: tuple[str, ...] = ()  # "host:port"
    candidates: tuple[Candidate, ...] = ()
    commands: tuple[str, ...] = ()  # the catalogue's, for this place, with what the user typed filled in
    fix: str = ""
    check: str = ""
    between: str = ""  # what stands between, where the finding is about what is behind that

    @property
    def matters(self) -> bool:
        """Whether it is more than a remark."""
        return CATALOGUE[self.code].severity != "info"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first line of every report."""

    level: Level
    line: str
    route: str | None  # "host:port" of the route the level is about; None where no route connects
    side: Side
    configured: Level | None = None  # that of the configured target, where another route works and that one does not


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of it, the most important finding first."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()


EXIT = {Level.USABLE: 0, Level.ANSWERS: 0, Level.NO_TCP: 2, Level.NO_HANDSHAKE: 3, Level.NO_SESSION: 4}
EXIT_WARNING = 5


class Tone(Enum):
    """How good the news is."""

    GOOD = "good"  # it works
    WARNING = "warning"  # it works, and something has to be looked at
    BAD = "bad"  # it does not work


def exit_code(diagnosis: Diagnosis, fail_on_warning: bool = False) -> int:
    """The exit code of a run; 5, if asked for, where it works with warnings.

    What was configured is what the user's program dials: while that fails, a route that works elsewhere is advice.
    """
    code = EXIT[diagnosis.verdict.configured or diagnosis.verdict.level]
    troubled = any(finding.matters for finding in diagnosis.findings)
    return EXIT_WARNING if code == 0 and fail_on_warning and troubled else code


def tone(diagnosis: Diagnosis) -> Tone:
    """That of the worst that matters."""
    if exit_code(diagnosis):
        return Tone.BAD
    return Tone.WARNING if exit_code(diagnosis, fail_on_warning=True) else Tone.GOOD
