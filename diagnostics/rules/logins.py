"""Rules for what only the gateway's log knows: its start, login and end (6xx), and dialogs on its screen.

The states come in the order in which each was last seen, so the last one is now. A state holds as long as nothing that
ends it came after. A log is a hint about a gateway that does not work: if it does, old trouble in the log is no
finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from diagnostics.evidence import LogView, Outcome, Probe, ProbeStage
from diagnostics.rules.log_view import (
    DONE,
    GONE,
    LISTENING,
    LOGGED_IN,
    is_logged_in,
    log_name,
    log_view,
    passed,
    seen_at,
    span,
    state_holds,
    when,
)
from diagnostics.rules.maintenance import is_weekly_login
from diagnostics.rules.rulebook import Match, Rule, counted, silent
from diagnostics.rules.run_view import RunView, failure
from diagnostics.rules.sessions import ID_IN_USE

ACCEPTED = (*DONE, "twofa_pending", "twofa_closed")  # past user name and password

TWOFA_VALID = 300.0  # seconds, more than the three minutes that IB waits for an answer on the phone
LOOP = 3  # starts in a row without a login: a first start and a restart are no loop yet
LOOP_PACE = 1800.0  # seconds from one to the next, at most: a container's restart takes a minute, a daily one a day

# Why a login fails. A process that ends after one of these ended for it.
CAUSES = (
    "twofa_pending",
    "twofa_timeout",
    "twofa_device",
    "login_throttled",
    "login_failed",
    "existing_session",
    "login_dialog_missing",
    "servers_unreachable",
    "token_expired",
)

# Of START_FAILURES and ENDS in host/log_words.py: what it means.
WHY = {
    "version": "the program is not there in the version that its settings name",
    "java": "no usable Java was found",
    "program": "the program that was found is not the one expected",
    "settings": "its own settings or paths are wrong",
    "processor": "the image is for another kind of processor",
    "display": "its display did not start",
    "too old": "IB does not support this version any more",
    "memory": "out of memory",
    "crash": "Java crashed",
    "killed": "it was killed, often for want of memory",
    "stopped": "it was told to stop",
    "no token": "there was no token for a restart",
}
FATE = ("memory", "killed", "stopped")  # no fault of its version, whenever they come


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRule:
    """A code for the states that begin it, until one of those that end it."""

    code: str
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    message: str


TABLE = (
    LogRule(
        code="IBD601",
        begins=("started", "starting", "logging_in", "twofa_closed"),
        ends=(*DONE, *GONE),
        message="it was started, and no login is complete yet",
    ),
    LogRule(
        code="IBD602",
        begins=("twofa_pending",),
        ends=(*DONE, *GONE, "twofa_closed", "twofa_timeout"),
        message="the second factor was asked for and not given yet",
    ),
    LogRule(
        code="IBD603",
        begins=("twofa_timeout",),
        ends=(*DONE, "twofa_pending"),
        message="the time for the second factor ran out",
    ),
    LogRule(
        code="IBD604",
        begins=("twofa_device",),
        ends=(*DONE, "twofa_pending"),
        message="the second-factor device was not found in the list",
    ),
    LogRule(code="IBD605", begins=("login_failed",), ends=ACCEPTED, message="IB refused the login"),
    LogRule(code="IBD606", begins=("login_throttled",), ends=ACCEPTED, message="too many failed logins"),
    LogRule(
        code="IBD607",
        begins=("existing_session",),
        ends=(*ACCEPTED, "session_kept"),
        message="another session of the same user was met",
    ),
    LogRule(
        code="IBD608",
        begins=("login_dialog_missing",),
        ends=(*DONE, "logging_in"),
        message="IBC ended because no login window appeared (exit status 88)",
    ),
    LogRule(
        code="IBD609",
        begins=("restarting",),
        ends=(*DONE, *GONE),
        message="a restart has begun, and the login is not complete yet",
    ),
    LogRule(
        code="IBD611",
        begins=("servers_unreachable",),
        ends=ACCEPTED,
        message="the connection to IB's servers failed",
    ),
)

# Half of IBD610: the other half is the weekly login, which the log tells only on a Sunday.
TOKEN_EXPIRED = LogRule(
    code="IBD610",
    begins=("token_expired",),
    ends=ACCEPTED,
    message="the token of the automatic restart has expired, a full login is needed",
)


def _is_troubled(run: RunView) -> bool:
    """Something was refused, closed or silent that a gateway without a login could explain. A dead route could not."""
    return not run.working and any(_a_login_could_explain(probe) for probe in run.failing)


def _a_login_could_explain(probe: Probe) -> bool:
    failed = failure(probe)
    if failed is None or failed.stage is ProbeStage.RESOLVE or probe.redirect is not None:
        return False
    if failed.stage is ProbeStage.CONNECT:
        return failed.outcome is Outcome.REFUSED
    return failed.outcome in (Outcome.REFUSED, Outcome.CLOSED, Outcome.RESET, Outcome.TIMED_OUT)


def _log_explains(run: RunView) -> bool:
    """Troubled, and the gateway did not say itself what it is."""
    said = run.failed_at(ProbeStage.START_API) and any(ID_IN_USE in probe.codes for probe in run.judged)
    return _is_troubled(run) and not said


def _states(run: RunView) -> tuple[str, ...]:
    """Those of the log; a question to the phone that is older than IB waits was not answered in time."""
    asked = passed(run, seen_at(run, "twofa_pending"))
    late = asked is not None and asked > TWOFA_VALID
    return tuple("twofa_timeout" if late and one == "twofa_pending" else one for one in run.evidence.log_states)


def _said_of(run: RunView, row: LogRule) -> Match | None:
    state = state_holds(_states(run), row.begins, row.ends) if _log_explains(run) else None
    if state is None:
        return None
    at = seen_at(run, state)
    at = seen_at(run, "twofa_pending") if at is None and state == "twofa_timeout" else at
    return Match(f"{log_name(run)}: {row.message}{when(run, at)}")


def _weekly(run: RunView) -> Match | None:
    """A full login on a Sunday. On other days the same line comes with every first start."""
    waiting = state_holds(run.evidence.log_states, ("full_login",), (*DONE, "start_failed"))
    if not waiting or not _is_troubled(run) or not is_weekly_login(run.evidence.created):
        return None
    return Match(f"{log_name(run)}: no token for the automatic restart, a full login is needed, and it is Sunday")


def _full_login(run: RunView) -> Match | None:
    return _said_of(run, TOKEN_EXPIRED) or _weekly(run)


# The end of the process.


def _ends_before_login(run: RunView) -> Match | None:
    if not _log_explains(run) or not _failed_to_start(run):
        return None
    state = state_holds(run.evidence.log_states, GONE, ())
    what = "it ended before it could log in" if state else "it starts again and again without a login"
    at = "" if state is None else when(run, seen_at(run, state))
    return Match(f"{log_name(run)}: {what}{_starts(run)}{_why(run)}{at}")


def _failed_to_start(run: RunView) -> bool:
    states, view = run.evidence.log_states, log_view(run)
    if "start_failed" in states:
        return True
    known = state_holds(states, (*CAUSES, *DONE), ("started", "starting", "restarting"))
    if known or is_logged_in(states) or view.ended_by in FATE:
        return False
    return _loops(view) or ("ended" in states and not set(states) & set(DONE))


def _loops(view: LogView) -> bool:
    """Starts that follow each other closely, as far as their times are known."""
    seconds = 0.0 if view.first_start is None or view.last_time is None else view.last_time - view.first_start
    return view.starts >= LOOP and seconds <= LOOP_PACE * view.starts


def _starts(run: RunView) -> str:
    """As " (5 starts in 4 min)"."""
    view = log_view(run)
    if view.starts < 2:
        return ""
    first, last = view.first_start, view.last_time
    within = "" if first is None or last is None or last <= first else f" in {span(last - first)}"
    return f" ({counted(view.starts, 'start')}{within})"


def _why(run: RunView) -> str:
    """As ": no usable Java was found, exit status 1"; "" where the log does not say."""
    view = log_view(run)
    status = "" if view.exit_status is None else f"exit status {view.exit_status}"
    known = ", ".join(filter(None, (WHY.get(view.ended_by, ""), status)))
    return f": {known}" if known else ""


def _ended(run: RunView) -> Match | None:
    state = state_holds(run.evidence.log_states, GONE, ()) if _log_explains(run) else None
    if state is None:
        return None
    return Match(f"{log_name(run)}: the process ended {_after(run)}{_why(run)}{when(run, seen_at(run, state))}")


def _after(run: RunView) -> str:
    """How far it had come, as far as its log tells."""
    if set(LOGGED_IN) & set(run.evidence.log_states):
        return "after the login was complete"
    return "after its API had listened" if LISTENING in run.evidence.log_states else "before a login"


# Dialogs.


def _accept_dialog(run: RunView) -> Match | None:
    probes = silent(run)
    if not probes or "accept_dialog" not in run.evidence.log_states:
        return None
    at = when(run, seen_at(run, "accept_dialog"))
    said = f"{log_name(run)} has the dialog about an incoming connection{at}"
    return Match(f"no answer to the hello, and {said}", probes)


def _modal(run: RunView) -> Match | None:
    probes = silent(run) + run.failed_at(ProbeStage.START_API, Outcome.TIMED_OUT)
    if not probes or "paper_warning" not in run.evidence.log_states:
        return None
    return Match(f"no answer, and {log_name(run)} has the warning that this is not a brokerage account", probes)


def _dialog_open(run: RunView) -> Match | None:
    view = log_view(run)
    if not view.dialogs or not _log_explains(run):
        return None
    which = " and ".join(f'"{title}"' for title in view.dialogs[:3])
    is_open = "a dialog {} is open" if len(view.dialogs) == 1 else "dialogs are open: {}"
    return Match(f"{log_name(run)}: {is_open.format(which)}{when(run, view.dialog_since)}")


# What else the log tells.


def _not_known(run: RunView) -> Match | None:
    view = run.evidence.gateway_log
    if view is None or view.known_lines:
        return None
    if not view.lines:
        return Match("the log that was given is empty")
    return Match(f"{counted(view.lines, 'line')}, and none is one that the programs around a gateway write")


def _read_only_mode(run: RunView) -> Match | None:
    if not run.working or "read_only" not in run.evidence.log_states:
        return None
    at = when(run, seen_at(run, "read_only"))
    return Match(f"{log_name(run)}: its API takes no orders, it is in read-only mode{at}")


def _output_dropped(run: RunView) -> Match | None:
    if "output_dropped" not in run.evidence.log_states:
        return None
    at = when(run, seen_at(run, "output_dropped"))
    return Match(f"{log_name(run)}: more was queued for a client than the gateway keeps, half of it was removed{at}")


LOGIN_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD304", _accept_dialog),
    ("IBD309", _modal),
    *((row.code, partial(_said_of, row=row)) for row in TABLE),
    ("IBD610", _full_login),
    ("IBD612", _ends_before_login),
    ("IBD613", _ended),
    ("IBD614", _dialog_open),
    ("IBD615", _not_known),
    ("IBD616", _read_only_mode),
    ("IBD617", _output_dropped),
)
