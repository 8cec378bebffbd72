"""What rules are written with: probes by the way they failed, and the words for them.

A rule looks at the whole run and gives what it saw, in words, and the probes that show it; or None.
"""

from __future__ import annotations

from collections.abc import Callable

from diagnostics.evidence import Outcome, Probe, Stage, StageResult
from diagnostics.rules.seen import Seen, failure, name, stage_of

Found = tuple[str, tuple[Probe, ...]] | None
Rule = Callable[[Seen], Found]


def names(probes: tuple[Probe, ...], most: int = 4) -> str:
    """The routes by name, as many as one wants to read."""
    told = ", ".join(name(one) for one in probes[:most])
    return f"{told} and {len(probes) - most} more" if len(probes) > most else told


def at(stage: Stage, *outcomes: Outcome, errors: tuple[str, ...] = ()) -> Callable[[Seen], tuple[Probe, ...]]:
    """Probes that failed at this stage in one of these ways, with one of these errors."""

    def wanted(result: StageResult) -> bool:
        return result.stage is stage and result.outcome in outcomes and (not errors or result.error in errors)

    return lambda seen: seen.those(wanted)


def told(probes: tuple[Probe, ...], words: str) -> Found:
    return (f"{names(probes)}: {words}", probes) if probes else None


def counted(count: int, thing: str) -> str:
    """A number of things: "1 segment", "3 segments"."""
    return f"{count} {thing}{'s' if count != 1 else ''}"


def detail(probes: tuple[Probe, ...]) -> str:
    failed = failure(probes[0]) if probes else None
    return f" ({failed.error})" if failed and failed.error else ""


def seconds(probes: tuple[Probe, ...], stage: Stage) -> str:
    took = stage_of(probes[0], stage).seconds if probes else None
    return "" if took is None else f" in {took:.1f} s"


refused = at(Stage.CONNECT, Outcome.REFUSED, Outcome.RESET, Outcome.CLOSED)
no_hello = at(Stage.HELLO, Outcome.TIMED_OUT)


def silent(seen: Seen) -> tuple[Probe, ...]:
    """No byte came in answer to the hello."""
    return tuple(one for one in no_hello(seen) if not one.bytes_received)
