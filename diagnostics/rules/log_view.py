"""What the states of a gateway's log come to: which of them hold now, since when, and whose log it is.

A log has a clock of its own. Where its lines name a zone (`docker logs -t`), times are told as ages; where they do not,
as they stand there, and only their differences count.
"""

from __future__ import annotations

from datetime import UTC, datetime

from diagnostics.evidence import LogView
from diagnostics.rules.run_view import RunView

LISTENING = "api_listening"  # which is no line about a login
LOGGED_IN = ("logged_in", "configured")
DONE = (*LOGGED_IN, LISTENING)
GONE = ("ended", "start_failed")  # the process
# After one of these a login of before says nothing any more.
NOT_LOGGED_IN = (
    *GONE,
    "started",
    "starting",
    "restarting",
    "logging_in",
    "twofa_pending",
    "twofa_timeout",
    "twofa_device",
    "login_failed",
    "login_throttled",
    "login_dialog_missing",
    "token_expired",
)


def state_holds(states: tuple[str, ...], begins: tuple[str, ...], ends: tuple[str, ...]) -> str | None:
    """The last of these states, if none that ends it came after."""
    for state in reversed(states):
        if state in ends:
            return None
        if state in begins:
            return state
    return None


def is_logged_in(states: tuple[str, ...]) -> bool:
    """Whether the login is complete or the API listens, which it does after it, and nothing that ends it came since."""
    return state_holds(states, DONE, NOT_LOGGED_IN) is not None


def log_view(run: RunView) -> LogView:
    """What is known of the log; an empty view where none was given."""
    return run.evidence.gateway_log or LogView()


def log_name(run: RunView) -> str:
    """What the log is called in a message."""
    service = log_view(run).service
    return f"the gateway's log (service {service})" if service else "the gateway's log"


def seen_at(run: RunView, state: str) -> float | None:
    """When the state was last seen, on the log's clock."""
    times = dict(zip(run.evidence.log_states, log_view(run).state_times, strict=False))
    return times.get(state)


def passed(run: RunView, at: float | None) -> float | None:
    """Seconds from that moment of the log to the run, or at least to the log's end; None if not known."""
    view = log_view(run)
    end = run.evidence.created if view.has_zone else view.last_time
    return None if at is None or end is None or end < at else end - at


def when(run: RunView, at: float | None) -> str:
    """As " (2026-01-05 10:00:01 UTC, 3 h before this run)"; "" if the time is not known."""
    try:
        moment = "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    except (OSError, OverflowError, ValueError):
        moment = ""
    if not moment:
        return ""
    seconds = passed(run, at)
    if not log_view(run).has_zone:
        return f" ({moment} by its own clock)"
    return f" ({moment} UTC{'' if seconds is None else f', {span(seconds)} before this run'})"


def span(seconds: float) -> str:
    """A duration for people: 20 s, 4 min, 3 h, 5 days."""
    for most, size, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
