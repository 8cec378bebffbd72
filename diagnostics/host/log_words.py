"""What the programs around a gateway say, and which state a line of theirs stands for.

Sources: IBC (Utils, LoginManager, SessionManager, TwsListener, the *DialogHandler classes, ErrorCodes,
resources/scripts/ibcstart.sh, displaybannerandlaunch.sh), the scripts of gnzsnz/ib-gateway-docker and
UnusualAlpha/ib-gateway-docker (run.sh, common.sh, run_socat.sh) and of extrange/ibkr-docker (start.sh), QuantConnect's
IBAutomater (IBAutomater.cs, WindowEventListener.java), the gateway's own log, socat, bash, Java and Linux.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from diagnostics.host.log_lines import LogLine, Speaker

# A start: everything before it belongs to an earlier life. The container's script or IBC's own; what IBC's script does
# in its loop afterwards (a restart of the gateway) continues the same life.
STARTED = "started"
ENDED, START_FAILED, READ_ONLY, WRITABLE = "ended", "start_failed", "read_only", "writable"
LISTENING, FULL_LOGIN, RESTARTING, STARTING = "api_listening", "full_login", "restarting", "starting"
DONE = ("logged_in", "configured", LISTENING)

# State -> what IBC says in it: lower case, anywhere in what it says. A line has the first state that fits. IBC begins
# with a list of its settings: a setting's name (AcceptIncomingConnectionAction) must never be taken for the event.
OF_IBC: dict[str, tuple[str, ...]] = {
    "twofa_device": ("could not find second factor device", "you should specify the required second factor device"),
    "twofa_timeout": (
        "second factor authentication timeout",
        "login has not completed after second factor authentication",
    ),
    "twofa_closed": ("duration since login:", "if login has not completed, ibc will exit in"),
    "twofa_pending": ("second factor authentication initiated",),
    "login_throttled": ("too many failed login attempts",),
    "login_failed": ("login failed", "login error message:"),
    "servers_unreachable": ("connection to server failed", "the system is not currently available"),
    "session_kept": ("(scenario 3)", "(scenario 5)"),  # the other one has to go
    "existing_session": ("(scenario *)", "re-login to session", "trading login handoff dialog;"),
    "login_dialog_missing": ("failed to display login dialog",),
    "stopping": ("login has completed: exiting via", "login has not completed: exiting immediately"),
    RESTARTING: ("re-starting session", "cold restart in progress", "initiate cold restart"),
    STARTING: ("starting gateway", "starting tws", "starting session: will exit if"),
    "logged_in": ("login has completed",),
    "configured": ("configuration tasks completed",),
    # These dialogs are known by their text only, which IBC prints when it fails to answer them or is told to print
    # the structure of windows.
    "paper_warning": ("not a brokerage account", "non-brokerage account warning"),
    "accept_dialog": ("accept incoming connection",),
    "write_access": ("api client needs write access",),
    "logging_in": ("login attempt:", "setting user name", "setting trading mode ="),
}

# The same for lines that do not show who speaks: here they must begin so. A * stands for anything. Programs of other
# people print "login failed", too, but not as the whole beginning of a line.
OF_OTHERS: dict[str, tuple[str, ...]] = {
    STARTED: (
        "starting ibc in",
        "starting ibc version",
        "starting ibautomater",
        "loading ibgateway - version:",
        "ib gateway restart",
    ),
    "forwarder_up": ("forking :::", "listening for incoming api connections on"),
    "forwarder_refused": ("socat[*] e connect(*connection refused",),
    "forwarder_timed_out": ("socat[*] e connect(*connection timed out",),
    # IBC's script says this at every start for which the gateway left no token: a first start, or the weekly one. It
    # says it at an end, too, because a token would mean that a restart was meant.
    FULL_LOGIN: ("autorestart file not found",),
    "token_expired": ("auto-restart token expired",),
    RESTARTING: (
        "autorestart file found at",
        "ibc will restart shortly",
        "ibc will cold-restart",
        "waiting for ibgateway auto-restart",
        "restart in progress",
    ),
    STARTING: (
        "starting gateway with this command",
        "starting tws with this command",
        "ibautomater process started",
        "ibgateway started",
    ),
    "twofa_timeout": (
        "second factor authentication dialog has timed out",
        "2fa confirmation timeout",
        "2fa maximum attempts reached",
        "ib automater 2fa timeout",
    ),
    "twofa_pending": ("waiting for 2fa confirmation", "new login attempt with 2fa"),
    "twofa_closed": ("2fa confirmation success",),
    "login_throttled": ("too many failed login attempts",),
    "login_failed": ("login failed:",),
    "servers_unreachable": ("connection to server failed: server disconnected", "server disconnection detected"),
    "existing_session": ("existing session detected",),
    "logged_in": ("ib automater initialized.", "ib automater restarted and initialized"),
    "configured": ("configuration settings updated",),
    "paper_warning": ("*not a brokerage account",),
    "accept_dialog": ("*accept incoming connection",),
    LISTENING: ("api server listening on port",),
    READ_ONLY: ("api in read-only mode: true",),
    WRITABLE: ("api in read-only mode: false",),
    "client_gone": ("*client{*} has closed",),
    "output_dropped": ("*output exceeded limit (was:*), removed",),
}

# Why a start fails that never gets to a login -> what is said then; whoever says it.
START_FAILURES: dict[str, tuple[str, ...]] = {
    "version": (
        "offline tws/gateway version * is not installed",
        "tws version * is not installed: can*t find",
        "code: ibgatewayversionnotinstalled",
        "neither tws.vmoptions nor ibgateway.vmoptions could be found",
        "tws major version number has not been supplied",
    ),
    "java": (
        "can*t find suitable java installation",
        "no java executable found in supplied path",
        "java installaton at * does not exist",
        "unsupportedclassversionerror",
        "code: javanotfound",
    ),
    "program": ("entry point: * is not correctly installed", "could not find or load main class"),
    "settings": (
        "ibc path: * does not exist",
        "tws settings path: * does not exist",
        "ibc configuration file: * does not exist",
        "error: invalid parameter",
    ),
    "processor": ("exec format error",),
    "display": ("timed out waiting for xvfb socket",),
    "too old": ("code: unsupportedversion",),
}

# Why a process ended -> what is said then.
ENDS: dict[str, tuple[str, ...]] = {
    "memory": (
        "*outofmemoryerror",
        "*there is insufficient memory for the java runtime environment",
        "out of memory: killed process * (java)",
        "memory cgroup out of memory: killed process * (java)",
    ),
    "crash": ("*a fatal error has been detected by the java runtime environment",),
    "killed": ("*: line *: * killed ",),
    "stopped": ("*received sigint or sigterm", "ibc terminated by sigterm"),
    "": ("gateway finished", "tws finished", "ibgateway process exited", "ibc is paused", "ibautomater stopped"),
}

# Exit statuses -> the state; IBC's own codes, which Linux gives modulo 256. Others end the process for what they say.
STATUS_STATES = {87: "twofa_timeout", 88: "login_dialog_missing"}
STATUS_FAILURES = {1106: "settings", 1107: "program", 1108: "settings", 1109: "settings"}
STATUS_FAILURES |= {1102: "settings", 1103: "settings", 1104: "settings", 1105: "settings"}
STATUS_FAILURES |= {code % 256: why for code, why in STATUS_FAILURES.items()}
# Of IBC's script on Windows. On Linux they are 1 to 8, which other programs use, too.
STATUS_FAILURES |= {1001: "java", 1002: "version", 1003: "settings", 1004: "version", 1007: "version"}
STATUS_FAILURES |= {1005: "settings", 1006: "settings", 1008: "settings"}
STATUS_ENDS = {137: "killed", 143: "stopped", 130: "stopped", 134: "crash", 139: "crash"}
STATUS = re.compile(
    r"(?:ibc returned exit status |exit(?:ing|ed) (?:after error )?with (?:exit )?code[= ]|exit status |"
    r"errorlevel = )(\d{1,5})\b"
)
FINISHED = re.compile(r"(?:gateway|tws)(?: [\w.]+ has)? finished")
KILLED = re.compile(r"killed|terminated")

# Titles of dialogs, as parts of them -> the state while one is open; None for those that IBC answers by itself.
DIALOGS: dict[str, str | None] = {
    "accept incoming connection": "accept_dialog",
    "needs write access": "write_access",
    "second factor authentication": "twofa_pending",
    "login failed": "login_failed",
    "login error": "login_failed",
    "existing session detected": "existing_session",
    "too many failed login attempts": "login_throttled",
    "non-brokerage account": "paper_warning",
    "configuration": None,
    "shutdown progress": None,
    "tip of the day": None,
    "pending tasks": None,
}
WINDOW = re.compile(r"detected dialog entitled: (.*); event=([\w ]+)$", re.IGNORECASE)
WINDOW_OF_AUTOMATER = re.compile(
    r"window event: \[window_(\w+)\] - window title: \[(.*)\] - window name: \[dialog\d*\]$", re.IGNORECASE
)
OPEN_EVENTS, CLOSED_EVENTS = ("opened", "activated", "focused"), ("closed",)

# What only a gateway's own programs print: a service of a compose log without one of them is something else.
MARKS = (
    "starting ibc",
    "starting ib gateway",
    "loading ibgateway",
    "ibautomater",
    "ib automater",
    "ibc returned exit status",
    "ibc will",
    "ibc version",
    "window event: [window_",
    "api in read-only mode:",
    "socket connection for client{",
    "*output exceeded limit (was:*), removed",
    "error: offline tws/gateway version",
    "error: tws version",
    "autorestart file",
)
DECORATION = " \t.>+=*!#-"


@dataclass(frozen=True, slots=True)
class LogMeaning:
    """What a line stands for."""

    state: str = ""
    why: str = ""  # of START_FAILED and ENDED: a key of START_FAILURES or ENDS
    status: int | None = None  # the exit status
    port: int | None = None  # of LISTENING
    dialog: str | None = None  # the title of a dialog that is open, or closed
    closed: bool = False


def meaning_of(line: LogLine) -> LogMeaning | None:
    """What the line stands for; None for most of them."""
    if line.speaker is Speaker.IBC and (found := WINDOW.search(line.text)):
        return _dialog(found[1], found[2])
    if found := WINDOW_OF_AUTOMATER.match(line.text):
        return _dialog(found[2], found[1])
    text = line.text.rstrip().lower()
    if line.speaker is Speaker.IBC:
        state = _SAID_BY_IBC.of(text)
        return LogMeaning(state) if state else _failure(text) or _status(text)
    plain = text.lstrip(DECORATION)
    state = _SAID_BY_OTHERS.of(plain)
    if state == LISTENING:
        digits = re.match(r"\d{1,5}\b", plain[len(OF_OTHERS[LISTENING][0]) :].lstrip())
        return LogMeaning(state, port=int(digits[0])) if digits else None
    return LogMeaning(state) if state else _failure(plain) or _end(plain)


def is_mark(line: LogLine) -> bool:
    """Whether only a program of a gateway can have written the line."""
    return line.speaker is not Speaker.UNKNOWN or _MARKED.of(line.text.lower().lstrip(DECORATION)) is not None


def dialog_state(title: str) -> str | None:
    """The state that stands for an open dialog of this title: "" for one that nobody knows."""
    lower = title.lower()
    return next((state for part, state in DIALOGS.items() if part in lower), "")


def _dialog(title: str, event: str) -> LogMeaning | None:
    title, event = title.strip(), event.lower()
    if event in CLOSED_EVENTS:
        return LogMeaning(dialog=title, closed=True)
    state = dialog_state(title)
    # One with a state of its own is looked at when it opens only: it is focused again when another one closes.
    if state is None or event not in OPEN_EVENTS or (state and event != "opened"):
        return None
    return LogMeaning(state, dialog=title)


def _failure(text: str) -> LogMeaning | None:
    why = _FAILED.of(text)
    return None if why is None else LogMeaning(START_FAILED, why)


def _end(text: str) -> LogMeaning | None:
    if FINISHED.fullmatch(text):
        return LogMeaning(ENDED)
    if KILLED.fullmatch(text):
        return LogMeaning(ENDED, "killed")
    why = _ENDED.of(text)
    return LogMeaning(ENDED, why) if why is not None else _status(text)


def _status(text: str) -> LogMeaning | None:
    found = STATUS.match(text)
    if found is None:
        return None
    status = int(found[1])
    if status in STATUS_FAILURES:
        return LogMeaning(START_FAILED, STATUS_FAILURES[status], status)
    state = STATUS_STATES.get(status % 256 if status > 1000 else status)
    return LogMeaning(state or ENDED, STATUS_ENDS.get(status, ""), status)


class WordTable:
    """Words and what they stand for, made ready for many lines: a log has a hundred thousand of them."""

    def __init__(self, words: dict[str, tuple[str, ...]], *, anywhere: bool = False) -> None:
        self._words = words
        self._anywhere = anywhere
        parts = [part for row in words.values() for part in row]
        plain = [] if anywhere else [part.partition("*")[0] for part in parts]
        self._starts = tuple(filter(None, plain))
        # Of those that may come after anything the longest piece.
        self._pieces = tuple(max(part.split("*"), key=len) for part in parts if anywhere or part.startswith("*"))

    def of(self, text: str) -> str | None:
        """What the first words that fit stand for; None if none do."""
        if not text.startswith(self._starts) and not any(map(text.__contains__, self._pieces)):
            return None
        return next((name for name, row in self._words.items() if self._fits(text, row)), None)

    def _fits(self, text: str, row: tuple[str, ...]) -> bool:
        return any(contains(text, part, self._anywhere) for part in row)


def contains(text: str, part: str, anywhere: bool = True) -> bool:
    """Whether the part is there, or the text begins with it; a * in it stands for anything between its pieces."""
    first, *rest = part.split("*")
    if not anywhere and not text.startswith(first):
        return False
    at = text.find(first)
    for piece in (None, *rest):
        if piece is not None:
            at = text.find(piece, at)
        if at < 0:
            return False
        at += len(first if piece is None else piece)
    return True


_SAID_BY_IBC, _SAID_BY_OTHERS = WordTable(OF_IBC, anywhere=True), WordTable(OF_OTHERS)
_FAILED, _ENDED, _MARKED = WordTable(START_FAILURES, anywhere=True), WordTable(ENDS), WordTable({"": MARKS})
