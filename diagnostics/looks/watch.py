"""Looks at a gateway at a polite interval and tells changes of its state: what `ib-diagnose watch` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from diagnostics.looks.check import Look, State

INTERVAL = 30.0  # seconds between looks; every look is a client the gateway has to greet
MIN_INTERVAL = 2.0  # a gateway answers reqCurrentTime at most once a second, and ignores what comes sooner


def watch(
    look_once: Callable[[], Look],
    interval: float,
    report: Callable[[str], None],
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> NoReturn:
    """Look for ever; `report` gets a line for the first state and for every change. Ends by an exception only."""
    reported: State | None = None
    since = turned = 0.0  # when the state changed, and when it last changed between good and bad
    while True:
        look = look_once()
        if look.state != reported:
            at = now()
            turns = reported is None or look.ready is not reported.ready  # an outage counts from its first phase
            lasted = f" (after {duration(at - (turned if turns else since))})" if reported is not None else ""
            report(f"{stamp(at)}  {look.line}{lasted}")
            reported, since, turned = look.state, at, at if turns else turned
        sleep(interval)


def stamp(at: float) -> str:
    """Unix time as UTC to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def duration(seconds: float) -> str:
    """Like `3 h 05 min`; a clock that was set back makes it zero."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
