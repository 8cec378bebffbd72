"""What the log of a gateway's container says about its login: lines in, names of states out, nothing else is kept.

Only lines after the last start count: an old 'Login has completed' says nothing about the gateway of now. Older and
newer IBC write the same in different case, and scripts write without a time, so lines are searched for what they
contain. Sources: IBC (Utils, LoginManager, SessionManager, GatewayLoginFrameHandler, the *DialogHandler classes,
resources/scripts/ibcstart.sh, ErrorCodes), the scripts of gnzsnz/ib-gateway-docker (run.sh, common.sh, run_socat.sh)
and of extrange/ibkr-docker (start.sh), and socat's own messages.
"""

from __future__ import annotations

MAX_TEXT = 16 << 20  # characters, from the end: a week of a talkative gateway
MAX_LINE = 2000  # characters looked at; IBC's lines are short, Java's dumps are not and say nothing to us

# A start: everything before it belongs to an earlier life. The container's script or IBC's own; what IBC's script does
# in its loop afterwards (a restart of the gateway) continues the same life.
STARTED = "started"

# State -> what a line of it contains, lower case; a * stands for anything. A line has the first state that fits. No
# state says that the API port is open, because no line does. IBC begins with a list of its settings: a setting's name
# (AcceptIncomingConnectionAction) must never be taken for the event.
STATES: dict[str, tuple[str, ...]] = {
    STARTED: (".> starting ibc in", "starting ibc version"),
    "forwarder_up": ("forking :::", "listening for incoming api connections on"),
    "forwarder_refused": ("e connect(*connection refused",),
    "forwarder_timed_out": ("e connect(*connection timed out",),
    # IBC's script says this at every start for which the gateway left no token: a first start, or the weekly one.
    "full_login": ("autorestart file not found: full authentication",),
    "restarting": (
        "autorestart file found at",
        "re-starting session",
        "ibc will restart shortly",
        "ibc will cold-restart",
    ),
    "starting": (
        "starting gateway",
        "starting session: will exit if",
        "will exit if login dialog is not displayed within",
    ),
    "twofa_device": ("could not find second factor device", "you should specify the required second factor device"),
    "twofa_timeout": (
        "second factor authentication timeout",
        "login has not completed after second factor authentication",
        "exit status 87",
    ),
    "twofa_closed": ("duration since login:", "if login has not completed, ibc will exit in"),
    "twofa_pending": ("second factor authentication initiated",),
    "login_throttled": ("too many failed login attempts",),
    "login_failed": ("login failed", "login error message:"),
    "servers_unreachable": ("connection to server failed",),
    "existing_session": ("(scenario *)", "re-login to session", "trading login handoff dialog;"),
    "login_dialog_missing": ("exit status 88",),
    "logged_in": ("login has completed",),
    "configured": ("configuration tasks completed",),
    # These dialogs are known by their text only, which IBC prints when it fails to answer them or is told to print
    # the structure of windows.
    "paper_warning": ("not a brokerage account", "non-brokerage account warning"),
    "accept_dialog": ("accept incoming connection",),
    "write_access": ("api client needs write access",),
    "logging_in": ("login attempt:", "setting user name", "setting trading mode ="),
}


def read(text: str) -> tuple[str, ...]:
    """The states since the last start, each once, in the order in which they were last seen: the last one is now."""
    states: dict[str, None] = {}
    for line in text[-MAX_TEXT:].splitlines():
        state = state_of(line)
        if state == STARTED:
            states.clear()
        if state is not None:
            states.pop(state, None)
            states[state] = None
    return tuple(states)


def state_of(line: str) -> str | None:
    """The state a line stands for; None for most of them."""
    text = line[:MAX_LINE].lower()
    return next((state for state, parts in STATES.items() if any(_contains(text, part) for part in parts)), None)


def _contains(text: str, part: str) -> bool:
    """Whether the part is there; a * in it stands for anything between its two halves."""
    at = 0
    for piece in part.split("*"):
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True
