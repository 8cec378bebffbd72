"""Looks again and again until the gateway can be used: what `ib-diagnose wait` does, with its own idea of patience.

A look that reaches no listener costs nobody anything and is repeated soon. One that got as far as a handshake and
failed may have left a client behind in a gateway that is already in trouble, so those keep their distance.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from diagnostics.evidence import Outcome
from diagnostics.looks.check import EX_NO_TCP, Look, State
from diagnostics.probing.resolve import RESOLVE_TIMEOUT

LookOnce = Callable[[float], Look]  # looks once, within the seconds it is given

# Seconds until the next look: after the first failure of its kind, and at most. A login takes 20 s to minutes, a
# nightly restart one to three minutes: with these the longest unneeded wait is a few percent of what was waited for
# anyway.
UNHEARD = 0.25, 5.0
HEARD = 1.0, 15.0
GROWTH = 2.0

MIN_LOOK = 0.05  # seconds; with less left there is no use in looking
MIN_NAP = 0.01  # seconds; less may not even move the clock
LAST_LOOK = 1.0  # seconds before the end at which one more look is due: plenty for a healthy gateway's answer
# Seconds; a silence that lasted less tells nothing. Who answers at all does so within 70 ms.
TELLING = 0.25

EX_NOT_EXECUTABLE, EX_NOT_FOUND = 126, 127  # as shells have it


def pause(look: Look, repeated: int) -> float:
    """Seconds to leave the gateway alone after `look`, the `repeated`th failure of its kind in a row (from 1)."""
    first, longest = UNHEARD if look.exit_code == EX_NO_TCP else HEARD
    return min(longest, first * GROWTH ** min(repeated - 1, 16))


def wait(
    look_once: LookOnce,
    limit: float,
    report: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Look:
    """The first look that is good, or the last one within `limit` seconds (0: no limit) that had time to see anything.

    `report` gets a line for the first look and for every one that differs from the one before.
    """
    started = clock()
    before: Look | None = None
    reported: State | None = None
    kind, repeated = -1, 0  # exit code of the last failure, and how often it came in a row
    while True:
        given = limit - (clock() - started) if limit else float("inf")
        look = look_once(given)
        if before is not None and _is_cut_short(look, given):
            return before
        before = look
        if look.state != reported:
            report(f"{clock() - started:.1f} s: {look.line}")
            reported = look.state
        if look.ready:
            return look
        repeated = repeated + 1 if look.exit_code == kind else 1
        kind = look.exit_code
        nap = _nap(pause(look, repeated), limit - (clock() - started) if limit else float("inf"))
        if nap < MIN_NAP:
            return look
        sleep(nap)


def _is_cut_short(look: Look, given: float) -> bool:
    """Whether it ended with the seconds it was given, before these could tell anything: it says that we had no time."""
    failed = look.failed
    if failed is None or failed.outcome is not Outcome.TIMED_OUT:
        return False
    return given < (RESOLVE_TIMEOUT if look.never_dialled else TELLING)


def _nap(planned: float, left: float) -> float:
    """The planned seconds, or less so that one more look has time for an answer; below MIN_NAP with time for none."""
    room = left - LAST_LOOK
    if planned <= room:
        return planned
    return room if room >= UNHEARD[0] else min(planned, left - MIN_LOOK)


def become(command: Sequence[str]) -> tuple[int, str]:
    """Replace this process by `command`; returns only if that failed, with the exit code and the reason.

    The command starts as if it had been started directly: Python ignores SIGPIPE and SIGXFSZ, and what is
    ignored stays ignored in the program that comes next, whose pipes then never end.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))
    except (FileNotFoundError, NotADirectoryError) as error:
        return EX_NOT_FOUND, f"{command[0]}: {error.strerror}"
    except (OSError, ValueError) as error:
        return EX_NOT_EXECUTABLE, f"{command[0]}: {getattr(error, 'strerror', None) or error}"
