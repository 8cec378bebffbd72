"""Rules for what only the gateway's log knows: its start and login (6xx), and dialogs on its screen.

The states come in the order in which each was last seen, so the last one is now. A state holds as long as nothing that
ends it came after. A log is a hint about a gateway that does not work: if it does, old trouble in the log is no
finding.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnostics.evidence import Stage
from diagnostics.rules.maintenance import is_weekly_login
from diagnostics.rules.rulebook import Found, Rule, silent
from diagnostics.rules.seen import Seen, failure

DONE = ("logged_in", "configured")
ACCEPTED = (*DONE, "twofa_pending", "twofa_closed")  # past user name and password


@dataclass(frozen=True, slots=True)
class LogRule:
    """A code for the states that begin it, until one of those that end it; `words` for people."""

    code: str
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    words: str


TABLE = (
    LogRule(
        "IBD601",
        ("started", "starting", "logging_in", "twofa_closed"),
        DONE,
        "it was started, and no login is complete yet",
    ),
    LogRule(
        "IBD602",
        ("twofa_pending",),
        (*DONE, "twofa_closed", "twofa_timeout"),
        "the second factor was asked for and not given yet",
    ),
    LogRule("IBD603", ("twofa_timeout",), (*DONE, "twofa_pending"), "the time for the second factor ran out"),
    LogRule(
        "IBD604", ("twofa_device",), (*DONE, "twofa_pending"), "the second-factor device was not found in the list"
    ),
    LogRule("IBD605", ("login_failed",), ACCEPTED, "IB refused the login"),
    LogRule("IBD606", ("login_throttled",), ACCEPTED, "too many failed logins"),
    LogRule("IBD607", ("existing_session",), ACCEPTED, "another session of the same user was met"),
    LogRule(
        "IBD608",
        ("login_dialog_missing",),
        (*DONE, "logging_in"),
        "IBC ended because no login window appeared (exit status 88)",
    ),
    LogRule("IBD609", ("restarting",), DONE, "a restart has begun, and the login is not complete yet"),
    LogRule("IBD611", ("servers_unreachable",), ACCEPTED, "the connection to IB's servers failed"),
)


def state_holds(states: tuple[str, ...], begins: tuple[str, ...], ends: tuple[str, ...]) -> str | None:
    """The last of these states, if none that ends it came after."""
    for state in reversed(states):
        if state in ends:
            return None
        if state in begins:
            return state
    return None


def _troubled(seen: Seen) -> bool:
    """Something was refused, closed or silent that a gateway without a login could explain. A dead route could not."""
    return not seen.working and any(
        failure(one).stage is not Stage.RESOLVE
        and failure(one).outcome.value in ("REFUSED", "CLOSED", "RESET", "TIMED_OUT")
        and one.redirect is None
        for one in seen.failing
        if failure(one).stage is not Stage.CONNECT or failure(one).outcome.value == "REFUSED"
    )


def _from(row: LogRule) -> tuple[str, Rule]:
    def rule(seen: Seen) -> Found:
        if not _troubled(seen) or state_holds(seen.evidence.log_states, row.begins, row.ends) is None:
            return None
        if seen.failed_at(Stage.START_API) and 326 in {code for one in seen.judged for code in one.codes}:
            return None  # the gateway said what it is
        return f"the gateway's log: {row.words}", ()

    return row.code, rule


def _weekly(seen: Seen) -> Found:
    """A full login on a Sunday. On other days the same line comes with every first start."""
    waiting = state_holds(seen.evidence.log_states, ("full_login",), DONE)
    if not waiting or not _troubled(seen) or not is_weekly_login(seen.evidence.created):
        return None
    return "the gateway's log: no token for the automatic restart, a full login is needed, and it is Sunday", ()


def _accept_dialog(seen: Seen) -> Found:
    found = silent(seen)
    if not found or "accept_dialog" not in seen.evidence.log_states:
        return None
    return "no answer to the hello, and the gateway's log has the dialog about an incoming connection", found


def _modal(seen: Seen) -> Found:
    found = silent(seen) + tuple(
        one for one in seen.failed_at(Stage.START_API) if failure(one).outcome.value == "TIMED_OUT"
    )
    if not found or "paper_warning" not in seen.evidence.log_states:
        return None
    return "no answer, and the gateway's log has the warning that this is not a brokerage account", found


LOG_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD304", _accept_dialog),
    ("IBD309", _modal),
    *(_from(row) for row in TABLE),
    ("IBD610", _weekly),
)
