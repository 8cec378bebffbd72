"""Whole logs to states with beginnings and ends, times and owners; and that nothing else of a log is kept."""

import re
from dataclasses import asdict

import pytest

from diagnostics.evidence import LogView
from diagnostics.host.gateway_log import MAX_DIALOGS, MAX_SERVICES, STATES, read
from diagnostics.host.log_lines import MAX_LINE, MAX_TEXT

TEN = 1_767_607_200.0  # 2026-01-05 10:00:00 UTC


def ibc(said: str, at: str = "10:00:00:000") -> str:
    return f"2026-01-05 {at} IBC: {said}\n"


def dialog(title: str, event: str, at: str = "10:00:00:000") -> str:
    return ibc(f"detected dialog entitled: {title}; event={event}", at)


def of(service: str, log: str) -> str:
    """As docker compose shows it."""
    return "".join(f"{service}  | {line}\n" for line in log.splitlines())


LIFE = "Starting IBC version 3.23.0 on 2026-01-05 at 10:0{}:00\n"
START = LIFE.format(0) + "Starting Gateway with this command:\n"
LOGIN = START + ibc("Login attempt: 1") + ibc("Login has completed", "10:00:30:000")
STARTED = ("started", "starting")
IN = (*STARTED, "logging_in", "logged_in")
NO_JARS = "Error: Offline TWS/Gateway version 1037 is not installed: can't find jars folder\n"
COLD = "IBC returned exit status 0\nIBC will cold-restart shortly\nStarting Gateway with this command:\n"
JTS = "2026-01-05 10:0{}:00.000 [QH] INFO  [JTS-Main] - ------------------------------- IB GATEWAY RESTART -------\n"
LEAN = "2026-01-05T10:00:00 OnIbAutomaterOutputDataReceived(): "
OF_THE_GATEWAY = """\
API server listening on port 4001
API in Read-Only mode: true
Socket connection for client{1} has closed. Reason: Connection terminated
Output exceeded limit (was: 100413), removed first half
"""

# name -> (log, states)
STATES_OF = {
    "what came before the last start does not count": (LOGIN + LIFE.format(5), ("started",)),
    "a start told by two programs is one": (
        ".> Starting IBC in paper mode, with params:\n.> Forking :::4001 onto 0.0.0.0:4003\n" + LIFE.format(0),
        ("forwarder_up", "started"),
    ),
    "a restart within a life is no new life": (LOGIN + ibc("Re-starting session"), (*IN, "restarting")),
    "a state is where it was last seen": (
        ibc("Second Factor Authentication initiated")
        + ibc("Re-login after second factor authentication timeout in 5 second")
        + ibc("Second Factor Authentication initiated"),
        ("twofa_timeout", "twofa_pending"),
    ),
    # Ends.
    "exit status": (LOGIN + "IBC returned exit status 1\n", (*IN, "ended")),
    "no token after a login": (LOGIN + "autorestart file not found\n", (*IN, "full_login", "ended")),
    "no token at a start": (
        LIFE.format(0) + "autorestart file not found: full authentication will\nStarting Gateway with this command:\n",
        ("started", "full_login", "starting"),
    ),
    "finished": (LOGIN + "Gateway finished\n", (*IN, "ended")),
    "killed": (LOGIN + "Killed\n", (*IN, "ended")),
    "no memory": (LOGIN + "java.lang.OutOfMemoryError: Java heap space\n", (*IN, "ended")),
    "no memory, and it went on": (LOGIN + "java.lang.OutOfMemoryError: x\n" + dialog("a", "Closed"), IN),
    "a restart is no end": (
        LOGIN + "IBC returned exit status 0\nautorestart file found at /x/autorestart: no\nIBC will restart shortly\n",
        (*IN, "restarting"),
    ),
    "a cold restart is no end": (LOGIN + COLD, ("started", "logging_in", "logged_in", "restarting", "starting")),
    "a new start after an end": (LOGIN + "Killed\n" + LIFE.format(5), ("started",)),
    "an end takes the screen with it": (
        LOGIN + dialog("API client needs write access action confirmation", "Opened") + "Killed\n",
        (*IN, "ended"),
    ),
    "an end takes the question to the phone with it": (
        START + ibc("Second Factor Authentication initiated") + "IBC returned exit status 143\n",
        (*STARTED, "ended"),
    ),
    "a failed start": (LIFE.format(0) + NO_JARS, ("started", "start_failed")),
    "the reason comes before the status": (
        START + "IBC: Exiting with exit code=1107\nGateway finished\n",
        (*STARTED, "start_failed"),
    ),
    "the script's end after a failed start": (START + "Gateway finished\n" + NO_JARS, (*STARTED, "start_failed")),
    "the kernel kills it": (
        of("ib", LOGIN) + "Jan  5 10:00:00 box kernel: Out of memory: Killed process 7 (java)\n",
        (*IN, "ended"),
    ),
    "docker compose tells of its end": (of("ib", LOGIN) + "ib exited with code 137\n", (*IN, "ended")),
    "read-only and then not": ("API in Read-Only mode: true\nAPI in Read-Only mode: false\n", ("writable",)),
    # Dialogs.
    "a dialog that was opened": (LOGIN + dialog("Accept incoming connection", "Opened"), (*IN, "accept_dialog")),
    "a dialog that was closed": (
        LOGIN + dialog("Accept incoming connection", "Opened") + dialog("Accept incoming connection", "Closed"),
        IN,
    ),
    "opened, closed, opened": (
        LOGIN + "".join(dialog("Accept incoming connection", event) for event in ("Opened", "Closed", "Opened")),
        (*IN, "accept_dialog"),
    ),
    "a dialog known by its text only": (
        LOGIN + dialog("IBKR Gateway", "Opened") + "    JLabel: Accept incoming connection attempt\n",
        (*IN, "accept_dialog"),
    ),
    "and closed": (
        LOGIN
        + dialog("IBKR Gateway", "Opened")
        + "    JLabel: Accept incoming connection attempt\n"
        + dialog("IBKR Gateway", "Closed"),
        IN,
    ),
    "another one closed": (
        LOGIN + dialog("Accept incoming connection", "Opened") + dialog("Tip of the Day", "Closed"),
        (*IN, "accept_dialog"),
    ),
    "the second factor's dialog closed": (
        START + dialog("Second Factor Authentication", "Opened") + dialog("Second Factor Authentication", "Closed"),
        (*STARTED, "twofa_closed"),
    ),
    # Other programs around a gateway.
    "Lean waits for the phone": (LEAN + "Waiting for 2FA confirmation on IBKR mobile app\n", ("twofa_pending",)),
    "Lean's token": (
        LEAN + "Auto-restart token expired, closing IBGateway\n" + LEAN + "IBGateway process exited\n",
        ("token_expired", "ended"),
    ),
    "the gateway's own log": (
        OF_THE_GATEWAY,
        ("api_listening", "read_only", "client_gone", "output_dropped"),
    ),
    # Owners.
    "a web app and a bot beside it": (
        of("web-1", "user bob: login failed\nLogin failed: bob\nAPI server listening on port 3001\n")
        + of("ib-1", LOGIN)
        + of("bot-1", "connection to server failed\nConnection to server failed: Server disconnected\nKilled\n"),
        IN,
    ),
    "nobody but a web app and a bot": (of("web", "Login failed: bob\n") + of("bot", "Killed\n"), ()),
    "one service whose last lines are few": (of("ib", "Killed\n"), ("ended",)),
    "their lines without a prefix": (START + "user bob: login failed\nconnection to server failed\n", STARTED),
    "of two gateways the one that is not logged in": (
        of("live", LOGIN) + of("paper", LOGIN) + of("live", "Killed\n"),
        (*IN, "ended"),
    ),
    # Encodings and lines that are none.
    "UTF-16": (LOGIN.encode("utf-16"), IN),
    "UTF-8 with a byte order mark": (LOGIN.encode("utf-8-sig"), IN),
    "Latin-1": (b"Gesch\xe4ft\n" + LOGIN.encode(), IN),
    "nothing": (b"", ()),
    "noise": ("GET /login failed 200\n" * 1000, ()),
    "any line ending": (LOGIN.replace("\n", "\r"), IN),
    "a long line": ("IBC: " + "x" * MAX_LINE + "login failed", ()),
    "a long log": ("IBC: login failed\n" + "x" * MAX_TEXT, ()),
}


@pytest.mark.parametrize("name", STATES_OF)
def test_states_have_a_beginning_and_an_end(name):
    log, states = STATES_OF[name]
    assert read(log)[0] == states and set(states) <= set(STATES)


# name -> (log, what is known beside the states, as far as it matters)
VIEWS = {
    "nothing": ("", {"lines": 0, "known_lines": 0}),
    "noise": ("x\n" * 1000, {"lines": 1000, "known_lines": 0}),
    "lines of IBC that mean nothing are known": (ibc("Getting config dialog"), {"lines": 1, "known_lines": 1}),
    "times of the log's own clock": (
        LOGIN,
        {"has_zone": False, "state_times": (TEN, TEN, TEN, TEN + 30), "last_time": TEN + 30},
    ),
    "times of docker": (
        f"2026-01-05T09:00:00Z {ibc('Login failed')}2026-01-05T09:05:00Z x\n",
        {"has_zone": True, "state_times": (TEN - 3600,), "last_time": TEN - 3300},
    ),
    "one start": (LIFE.format(0) + NO_JARS, {"starts": 1, "ended_by": "version", "exit_status": None}),
    "five starts in four minutes": (
        "".join(LIFE.format(minute) + NO_JARS for minute in range(5)),
        {"starts": 5, "first_start": TEN, "last_time": TEN + 240, "ended_by": "version"},
    ),
    "starts that nothing follows": ("".join(LIFE.format(minute) for minute in range(5)), {"starts": 5}),
    "cold restarts in a loop, as the script tells": (LOGIN + COLD * 4, {"starts": 4}),
    "cold restarts in a loop, as the gateway tells": (
        "".join(JTS.format(minute) for minute in range(4)),
        {"starts": 4, "first_start": TEN, "last_time": TEN + 180},
    ),
    "a login ends the count": (LIFE.format(0) + NO_JARS + LOGIN + COLD, {"starts": 1}),
    "starts that end for a known cause do not count": (
        (START + ibc("Login failed") + "IBC returned exit status 1\n") * 4 + START,
        {"starts": 1},
    ),
    "starts that were stopped do not count": (
        (START + ".> Received SIGINT or SIGTERM. Shutting down IB Gateway.\n") * 4 + START,
        {"starts": 1, "ended_by": ""},
    ),
    "the first words of an end tell most": (
        START + "IBC: Exiting with exit code=1107\nIBC returned exit status 83\nautorestart file not found\n",
        {"ended_by": "program", "exit_status": 1107},
    ),
    "killed, and its status": (
        LOGIN + "/x/ibcstart.sh: line 492:  77 Killed   java\nIBC returned exit status 137\nGateway finished\n",
        {"ended_by": "killed", "exit_status": 137},
    ),
    "gone on after an end": (LOGIN + COLD, {"ended_by": "", "exit_status": None}),
    "the port": ("API server listening on port 4001\n", {"api_port": 4001}),
    "a dialog nobody knows": (
        START + dialog("Password Notice", "Opened") + ibc("x", "10:09:00:000"),
        {"dialogs": ("Password Notice",), "dialog_since": TEN},
    ),
    "one that is closed": (
        START + dialog("Password Notice", "Opened") + dialog("Password Notice", "Closed"),
        {"dialogs": (), "dialog_since": None},
    ),
    "one of a process that is gone": (START + dialog("Password Notice", "Opened") + "Killed\n", {"dialogs": ()}),
    "one that IBC answers": (START + dialog("Shutdown progress", "Opened"), {"dialogs": ()}),
    "one of the automater": (
        LEAN + "Window event: [WINDOW_OPENED] - Window title: [Password Notice] - Window name: [dialog3]\n",
        {"dialogs": ("Password Notice",)},
    ),
    "a title with an account": (dialog("DU1234567 Notice", "Opened"), {"dialogs": ("DU***567 Notice",)}),
    "a title that would do harm": (dialog("a\x00\x9b2J\u202eb", "Opened"), {"dialogs": ("a?2J?b",)}),
    "a title without an end": (dialog("x" * 1000, "Opened"), {"dialogs": ("x" * 80,)}),
    "many dialogs": (
        "".join(dialog(f"a{number}", "Opened") for number in range(100)),
        {"dialogs": tuple(f"a{number}" for number in range(MAX_DIALOGS))},
    ),
    "the service": (of("web", "x\n") + of("ib-1", LOGIN), {"service": "ib-1", "lines": 5, "known_lines": 4}),
    "the only service": (of("ib-1", LOGIN), {"service": ""}),
    "the gateway that ended": (of("live", LOGIN) + of("paper", LOGIN + "Killed\n"), {"service": "paper"}),
    "services without end": (
        "".join(of(f"web{number}", "x\n") for number in range(MAX_SERVICES + 9)) + of("ib", LOGIN),
        {"known_lines": 0},
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_log_tells_more_than_states(name):
    log, wanted = VIEWS[name]
    states, view = read(log)
    assert {key: getattr(view, key) for key in wanted} == wanted
    assert len(view.state_times) == len(states)


def test_nothing_but_names_of_states_comes_out():
    states, view = read(ibc("user=edemo password=hunter2 Login failed for DU1234567"))
    assert states == ("login_failed",)
    assert view == LogView(1, 1, state_times=(TEN,), last_time=TEN)
    assert not re.search("hunter2|edemo|1234567", str(asdict(view)))


@pytest.mark.parametrize(
    "log", ["", "\n" * 1000, "x" * 100_000, "\ud800", "E connect(" * 10_000, b"\xff\xfe\0", b"\0" * 1001, "| " * 9000]
)
def test_any_log_is_read(log):
    assert read(log)[0] == ()
