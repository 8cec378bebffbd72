"""Recorded runs about what only the gateway's log knows: each gives its findings, in order, and no others."""

from dataclasses import replace

import pytest

from diagnostics.host.gateway_log import STATES, read
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.logins import CAUSES, TABLE, TOKEN_EXPIRED
from tests.diagnostics.recorded import CASES, LOGINS, WAYS, check


@pytest.mark.parametrize("case", LOGINS, ids=lambda case: case.name)
def test_a_recorded_run_gives_its_findings_and_no_others(case):
    check(case)


REFUSED, SILENT, HEALTHY = "refused-everywhere", "seed-accept-then-silence", "healthy-docker-bridge"
NOBODY_LISTENS = "refused-and-seen-that-nobody-listens"
LIFE = "Starting IBC version 3.23.0 on 2026-11-18 at 15:0{}:00\n"
NO_JARS = "Error: Offline TWS/Gateway version 1037 is not installed: can't find jars folder\n"
IBC = "2026-11-18 15:00:30:000 IBC: "
LOGIN = LIFE.format(0) + "Starting Gateway with this command:\n" + IBC + "Login has completed\n"
COLD = "IBC returned exit status 0\nIBC will cold-restart shortly\nStarting Gateway with this command:\n"
OPENED, CLOSED = (IBC + "detected dialog entitled: {}; event=" + event + "\n" for event in ("Opened", "Closed"))
ACCEPT = "Accept incoming connection"
LEAN = "2026-11-18T15:00:30 OnIbAutomaterOutputDataReceived(): "
COMPOSE = f"web-1  | user bob: login failed\nib-1  | {IBC}Starting Gateway\nbot-1  | connection to server failed\n"
AT = "2026-11-18 15:00:30 by its own clock"

# name -> (log, the run it comes with, codes, words of the one about the log)
LOGS = {
    "no jars": (LIFE.format(0) + NO_JARS, REFUSED, "612", "ended before it could log in: the program is not there"),
    "no jars, five times": (
        "".join(LIFE.format(minute) + NO_JARS for minute in range(5)),
        REFUSED,
        "612",
        "ended before it could log in (5 starts in 4 min): the program is not there in the version that its settings",
    ),
    "no java": (LIFE.format(0) + "Error: Can't find suitable Java installation\n", REFUSED, "612", "no usable Java"),
    "1107": (LIFE.format(0) + "exit status 1107\n", REFUSED, "612", "not the one expected, exit status 1107"),
    "cold restarts": (LOGIN + COLD * 4, REFUSED, "612", "again and again without a login (4 starts)"),
    "three starts in three days": (
        "".join(f"Starting IBC version 3 on 2026-11-{day} at 15:00:00\n" for day in (15, 16, 17)),
        REFUSED,
        "601",
        "no login is complete yet",
    ),
    "the other session has to go": (
        IBC + "Login attempt: 1\n" + OPENED.format("Existing session detected") + IBC + "Continue this (scenario 5)\n",
        REFUSED,
        "601",
        "",
    ),
    "this session has to go": (
        IBC + "Login attempt: 1\n" + OPENED.format("Existing session detected") + IBC + "End this (scenario 2)\n",
        REFUSED,
        "607",
        "",
    ),
    "one cold restart": (LOGIN + COLD, REFUSED, "609", "a restart has begun"),
    "exit status 1": (
        LOGIN + "IBC returned exit status 1\n",
        REFUSED,
        "613",
        f"login was complete: exit status 1 ({AT})",
    ),
    "no token": (
        LOGIN + "autorestart file not found\n",
        REFUSED,
        "613",
        f"complete: there was no token for a restart ({AT})",
    ),
    "finished": (LOGIN + "Gateway finished\n", NOBODY_LISTENS, "613", f"ended after the login was complete ({AT})"),
    "out of memory": (LOGIN + "java.lang.OutOfMemoryError\n", NOBODY_LISTENS, "613", "complete: out of memory"),
    "killed": (LOGIN + "Killed\n", NOBODY_LISTENS, "613", "complete: it was killed, often for want of memory"),
    "logged in": (LOGIN, NOBODY_LISTENS, "310", ""),
    "listens elsewhere": ("API server listening on port 4001\n", NOBODY_LISTENS, "311", "the API listens on port 4001"),
    "restarting": (LOGIN + IBC + "Re-starting session\n", NOBODY_LISTENS, "609", ""),
    "Lean waits": (LEAN + "Waiting for 2FA confirmation on IBKR mobile app\n", REFUSED, "602", "not given yet"),
    "Lean's token": (
        LEAN + "Auto-restart token expired, closing IBGateway\n" + LEAN + "IBGateway process exited\n",
        REFUSED,
        "610",
        "has expired",
    ),
    "Lean goes on": (LOGIN + LEAN + "Waiting for IBGateway auto-restart\n", REFUSED, "609", ""),
    "read-only": (
        "API server listening on port 4001\nAPI in Read-Only mode: true\n",
        HEALTHY,
        "616",
        "takes no orders",
    ),
    "slow": ("LOG Client 2 Output exceeded limit (was: 100413), removed first half\n", HEALTHY, "617", "half of it"),
    "a client left": ("Socket connection for client{1} has closed. Reason: x\n", HEALTHY, "", ""),
    "empty": ("", REFUSED, "201 615", "the log that was given is empty"),
    "noise": ("GET / 200\n" * 2000, REFUSED, "201 615", "2000 lines, and none is one that"),
    "noise beside what works": ("GET / 200\n" * 2000, HEALTHY, "615", "2000 lines"),
    "UTF-16": ((IBC + "Login failed\n").encode("utf-16"), REFUSED, "605", ""),
    "compose": (COMPOSE, REFUSED, "601", "(service ib-1): it was started"),
    "compose without a gateway": ("web  | Login failed: a\nbot  | a\n", REFUSED, "201 615", "2 lines"),
    "accept dialog": (LOGIN + OPENED.format(ACCEPT), SILENT, "304", f"an incoming connection ({AT})"),
    "accept dialog, closed": (LOGIN + OPENED.format(ACCEPT) + CLOSED.format(ACCEPT), SILENT, "303", ""),
    "a dialog nobody knows": (
        LIFE.format(0) + IBC + "Login attempt: 1\n" + OPENED.format("Password Notice"),
        REFUSED,
        "614",
        f'a dialog "Password Notice" is open ({AT})',
    ),
    "two of them": (OPENED.format("a") + OPENED.format("b"), REFUSED, "614", 'dialogs are open: "a" and "b"'),
    "a dialog, closed": (LOGIN + OPENED.format("a") + CLOSED.format("a"), SILENT, "303", ""),
    "a dialog beside what works": (LOGIN + OPENED.format("a"), HEALTHY, "", ""),
    "an end beside what works": (LOGIN + "Killed\n", HEALTHY, "", ""),
    "asked an hour ago": (
        f"2026-11-18T14:20:00Z {IBC}Second Factor Authentication initiated\n",
        REFUSED,
        "603",
        "(2026-11-18 14:20:00 UTC, 60 min before this run)",
    ),
    "asked a minute ago": (
        f"2026-11-18T15:19:00Z {IBC}Second Factor Authentication initiated\n",
        REFUSED,
        "602",
        "60 s before this run",
    ),
    "a failed login that ends it": (
        LIFE.format(0) + IBC + "Login failed\nIBC returned exit status 1\nGateway finished\n",
        REFUSED,
        "605",
        "",
    ),
    "an API that listened and a process that ended": (
        "API server listening on port 4001\nIBC returned exit status 143\n",
        REFUSED,
        "613",
        "the process ended after its API had listened",
    ),
    "logins that fail in a loop": ((LIFE.format(0) + IBC + "Login failed\nKilled\n") * 5, REFUSED, "605", ""),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_comes_to_its_finding(name):
    log, case, codes, words = LOGS[name]
    states, view = read(log)
    evidence = next(one for one in CASES if one.name == case).evidence
    found = diagnose(replace(evidence, log_states=states, gateway_log=view)).findings
    assert tuple(one.code[3:] for one in found) == tuple(codes.split()), found
    assert words in (found[-1].message if found else "")


def test_the_states_of_the_rules_are_those_of_the_log():
    named = {state for row in (*TABLE, TOKEN_EXPIRED) for state in (*row.begins, *row.ends)}
    assert named | set(CAUSES) <= set(STATES)


def test_a_state_nobody_knows_is_no_error():
    case = next(one for one in LOGINS if one.name == "twofa-pending")
    states = ("a state of a later version", *case.evidence.log_states, "\x1b[31m")
    assert [one.code for one in diagnose(replace(case.evidence, log_states=states)).findings] == ["IBD602"]


def test_a_route_that_is_dead_is_not_explained_by_a_login():
    """Packets that are dropped say nothing about a login; the log may be of a gateway that is reached another way."""
    case = next(one for one in WAYS if one.name == "filtered")
    found = diagnose(replace(case.evidence, log_states=("started", "twofa_pending"))).findings
    assert [one.code for one in found] == ["IBD205"]
