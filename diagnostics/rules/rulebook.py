"""What rules are written with: the probes that failed in some way, and the words for them.

A rule looks at the whole run. It returns what it saw and the probes that show it, or None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostics.evidence import Outcome, Probe, ProbeStage, StageResult
from diagnostics.rules.run_view import RunView, failure, name_of


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule saw, as a sentence, and the probes that show it; none where it is about the gateway as a whole."""

    message: str
    probes: tuple[Probe, ...] = ()


Rule = Callable[[RunView], Match | None]


def match(probes: tuple[Probe, ...], message: str) -> Match | None:
    """A match that begins with the names of these routes; None if there are no probes."""
    return Match(f"{names(probes)}: {message}", probes) if probes else None


def failing_at(
    stage: ProbeStage, *outcomes: Outcome, errors: tuple[str, ...] = ()
) -> Callable[[RunView], tuple[Probe, ...]]:
    """Selects the judged probes that failed at this stage in one of these ways, with one of these errors if any."""

    def wanted(result: StageResult) -> bool:
        return result.stage is stage and result.outcome in outcomes and (not errors or result.error in errors)

    return lambda run: run.failed(wanted)


refused = failing_at(ProbeStage.CONNECT, Outcome.REFUSED, Outcome.RESET, Outcome.CLOSED)
ended_early = failing_at(ProbeStage.QUIET, Outcome.CLOSED, Outcome.RESET)
_ended_at_hello = failing_at(ProbeStage.HELLO, Outcome.CLOSED, Outcome.RESET)
_no_hello = failing_at(ProbeStage.HELLO, Outcome.TIMED_OUT)


def ended_by_hello(run: RunView) -> tuple[Probe, ...]:
    """The judged probes whose connection was ended in answer to the hello, without a byte."""
    return tuple(probe for probe in _ended_at_hello(run) if not probe.bytes_received)


def silent(run: RunView) -> tuple[Probe, ...]:
    """The judged probes that got no byte in answer to the hello."""
    return tuple(probe for probe in _no_hello(run) if not probe.bytes_received)


def half_answered(run: RunView) -> tuple[Probe, ...]:
    """The judged probes that got the beginning of a gateway's hello and no more; anything else is a bad peer's."""
    return tuple(probe for probe in _ended_at_hello(run) + _no_hello(run) if probe.bytes_received)


def names(probes: tuple[Probe, ...], most: int = 4) -> str:
    """The names of the routes, at most as many as somebody wants to read."""
    listed = ", ".join(name_of(probe) for probe in probes[:most])
    return f"{listed} and {len(probes) - most} more" if len(probes) > most else listed


def counted(count: int, thing: str) -> str:
    """A number with its noun: "1 segment", "3 segments"."""
    return f"{count} {thing}{'s' if count != 1 else ''}"


def error_of(probes: tuple[Probe, ...]) -> str:
    """The name of the error that the first of these probes failed with, in brackets; "" if there is none."""
    failed = failure(probes[0]) if probes else None
    return f" ({failed.error})" if failed and failed.error else ""


def time_at(probes: tuple[Probe, ...], stage: ProbeStage) -> str:
    """How long this stage took the first of these probes, as " in 5.0 s"; "" if that is not known."""
    seconds = probes[0].result(stage).seconds if probes else None
    return "" if seconds is None else f" in {seconds:.1f} s"


def milliseconds_after(seconds: float | None, event: str) -> str:
    """As " 3 ms after it was sent"; "" if the time is not known."""
    return "" if seconds is None else f" {seconds * 1000:.0f} ms after {event}"


def was_reset(probe: Probe) -> bool:
    """Whether the stage this probe failed at ended with a reset."""
    failed = failure(probe)
    return failed is not None and failed.outcome is Outcome.RESET
