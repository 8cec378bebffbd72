"""Rules for what only the gateway's log knows: its start and login (6xx), and dialogs on its screen.

The states come in the order in which each was last seen, so the last one is now. A state holds as long as nothing that
ends it came after. A log is a hint about a gateway that does not work: if it does, old trouble in the log is no
finding.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnostics.evidence import Outcome, Probe, ProbeStage
from diagnostics.rules.maintenance import is_weekly_login
from diagnostics.rules.rulebook import Match, Rule, silent
from diagnostics.rules.run_view import RunView, failure
from diagnostics.rules.sessions import ID_IN_USE

DONE = ("logged_in", "configured")
ACCEPTED = (*DONE, "twofa_pending", "twofa_closed")  # past user name and password


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
        ends=DONE,
        message="it was started, and no login is complete yet",
    ),
    LogRule(
        code="IBD602",
        begins=("twofa_pending",),
        ends=(*DONE, "twofa_closed", "twofa_timeout"),
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
        ends=ACCEPTED,
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
        ends=DONE,
        message="a restart has begun, and the login is not complete yet",
    ),
    LogRule(
        code="IBD611",
        begins=("servers_unreachable",),
        ends=ACCEPTED,
        message="the connection to IB's servers failed",
    ),
)


def state_holds(states: tuple[str, ...], begins: tuple[str, ...], ends: tuple[str, ...]) -> str | None:
    """The last of these states, if none that ends it came after."""
    for state in reversed(states):
        if state in ends:
            return None
        if state in begins:
            return state
    return None


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


def _rule_of(row: LogRule) -> tuple[str, Rule]:
    def rule(run: RunView) -> Match | None:
        if not _is_troubled(run) or state_holds(run.evidence.log_states, row.begins, row.ends) is None:
            return None
        if run.failed_at(ProbeStage.START_API) and any(ID_IN_USE in probe.codes for probe in run.judged):
            return None  # the gateway said what it is
        return Match(f"the gateway's log: {row.message}")

    return row.code, rule


def _weekly(run: RunView) -> Match | None:
    """A full login on a Sunday. On other days the same line comes with every first start."""
    waiting = state_holds(run.evidence.log_states, ("full_login",), DONE)
    if not waiting or not _is_troubled(run) or not is_weekly_login(run.evidence.created):
        return None
    return Match("the gateway's log: no token for the automatic restart, a full login is needed, and it is Sunday")


def _accept_dialog(run: RunView) -> Match | None:
    probes = silent(run)
    if not probes or "accept_dialog" not in run.evidence.log_states:
        return None
    return Match("no answer to the hello, and the gateway's log has the dialog about an incoming connection", probes)


def _modal(run: RunView) -> Match | None:
    probes = silent(run) + run.failed_at(ProbeStage.START_API, Outcome.TIMED_OUT)
    if not probes or "paper_warning" not in run.evidence.log_states:
        return None
    return Match("no answer, and the gateway's log has the warning that this is not a brokerage account", probes)


LOGIN_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD304", _accept_dialog),
    ("IBD309", _modal),
    *(_rule_of(row) for row in TABLE),
    ("IBD610", _weekly),
)
