"""What each line of a gateway's programs stands for, and lines that only look like one of them."""

import pytest

from diagnostics.host.gateway_log import STATES
from diagnostics.host.log_lines import read_line
from diagnostics.host.log_words import DIALOGS, ENDS, START_FAILURES, LogMeaning, contains, is_mark, meaning_of
from diagnostics.rules.logins import WHY

STAMP = "2026-11-18 15:20:01:123 IBC: "
LEAN = "20261118 15:20:01.123 TRACE:: InteractiveBrokersBrokerage.OnIbAutomaterOutputDataReceived(): "
JTS = "2026-11-18 15:20:01.129 [QH] INFO  [JTS-SocketListener-58] - "
# Lines as IBC, the images' scripts, IBAutomater, the gateway and socat print them.
LINES = [
    (".> Starting IBC in paper mode, with params:", "started"),
    ("Starting IBC version 3.23.0 on 2026-11-18 at 15:20:00", "started"),
    ("===> Starting IBAutomater", "started"),
    (LEAN + "Loading IBGateway - Version: 1030 - Path: /root/ibgateway - User: edemo", "started"),
    (JTS + "------------------------------- IB GATEWAY RESTART --------------------------------", "started"),
    (".> Forking :::4001 onto 0.0.0.0:4003", "forwarder_up"),
    ("Listening for incoming API connections on 8888", "forwarder_up"),
    ("2024/03/18 20:43:32 socat[90] E connect(5, AF=2 127.0.0.1:4002, 16): Connection refused", "forwarder_refused"),
    (
        "2024/03/18 20:43:32 socat[90] E connect(5, AF=2 127.0.0.1:4002, 16): Connection timed out",
        "forwarder_timed_out",
    ),
    ("autorestart file not found: full authentication will be required", "full_login"),
    ("autorestart file not found", "full_login"),
    (LEAN + "Auto-restart token expired, closing IBGateway", "token_expired"),
    ("autorestart file found at /root/Jts/x/autorestart: authentication will not be required", "restarting"),
    (STAMP + "Re-starting session", "restarting"),
    (STAMP + "Login dialog has been invalidated - initiate cold restart", "restarting"),
    ("IBC will cold-restart shortly", "restarting"),
    (LEAN + "Waiting for IBGateway auto-restart", "restarting"),
    ("Starting Gateway with this command:", "starting"),
    (STAMP + "Starting Gateway", "starting"),
    (STAMP + "Starting session: will exit if login dialog is not displayed within 60 seconds", "starting"),
    (LEAN + "IBAutomater process started - Id:77 - Name:java", "starting"),
    (STAMP + "Login attempt: 1", "logging_in"),
    (STAMP + "Setting user name", "logging_in"),
    (STAMP + "Second Factor Authentication initiated", "twofa_pending"),
    (LEAN + "Waiting for 2FA confirmation on IBKR mobile app (to be confirmed within 3 minutes).", "twofa_pending"),
    (STAMP + "detected dialog entitled: Second Factor Authentication; event=Opened", "twofa_pending"),
    (STAMP + "Duration since login: 21 seconds", "twofa_closed"),
    (STAMP + "If login has not completed, IBC will exit in 60 seconds", "twofa_closed"),
    (LEAN + "2FA confirmation success", "twofa_closed"),
    (STAMP + "Re-login after second factor authentication timeout in 5 second", "twofa_timeout"),
    (STAMP + "Re-login after second factor authentication timeout not required", "twofa_timeout"),
    (STAMP + "IBC closing because login has not completed after Second Factor Authentication", "twofa_timeout"),
    ("IBC returned exit status 87", "twofa_timeout"),
    (STAMP + "Exiting with exit code=1111", "twofa_timeout"),
    (LEAN + "2FA maximum attempts reached", "twofa_timeout"),
    (STAMP + "could not find second factor device 'IB Key' in the list", "twofa_device"),
    (STAMP + "Login failed", "login_failed"),
    (STAMP + "Login error message:", "login_failed"),
    (STAMP + "detected dialog entitled: Login failed; event=Opened", "login_failed"),
    (STAMP + "Detected dialog entitled: LOGIN FAILED; event=Opened", "login_failed"),
    (LEAN + "Login failed: a user account-task is required.", "login_failed"),
    (STAMP + "Too many failed login attempts. Please try again in 300 seconds", "login_throttled"),
    (LEAN + "Too many failed login attempts, closing IBGateway.", "login_throttled"),
    (STAMP + "Connection to server failed: Server disconnected, please try again", "servers_unreachable"),
    ("Connection to server failed: Server disconnected, please try again", "servers_unreachable"),
    (LEAN + "Server disconnection detected, closing IBGateway.", "servers_unreachable"),
    (STAMP + "End this session and let the other session proceed (scenario 2)", "existing_session"),
    (STAMP + "Continue this session and let the other session exit (scenario 5)", "session_kept"),
    (STAMP + "Trading Login Handoff dialog; {}", "existing_session"),
    (STAMP + "Re-login to session", "existing_session"),
    ("IBC returned exit status 88", "login_dialog_missing"),
    (STAMP + "IBC closing after TWS/Gateway failed to display login dialog", "login_dialog_missing"),
    (STAMP + "Login has completed", "logged_in"),
    (LEAN + "IB Automater initialized.", "logged_in"),
    (STAMP + "Login has completed: exiting via [File, Close] menu", "stopping"),
    (STAMP + "Configuration tasks completed", "configured"),
    (LEAN + "Configuration settings updated.", "configured"),
    (STAMP + "could not accept incoming connection because we could not find one of the controls.", "accept_dialog"),
    ("    JLabel: Accept incoming connection attempt?", "accept_dialog"),
    (STAMP + "could not dismiss non-brokerage account warning dialog.", "paper_warning"),
    ("    JLabel: This is not a brokerage account", "paper_warning"),
    (
        STAMP + "detected dialog entitled: API client needs write access action confirmation; event=Opened",
        "write_access",
    ),
    (JTS + "API server listening on port 4001", "api_listening"),
    ("API server listening on port 4001", "api_listening"),
    (JTS + "API in Read-Only mode: true", "read_only"),
    ("API in Read-Only mode: false", "writable"),
    (JTS + "Socket connection for client{1} has closed. Reason: Connection terminated", "client_gone"),
    (JTS + "LOG Client 216 Output exceeded limit (was: 100413), removed first half", "output_dropped"),
    ("Output exceeded limit (was: 100413), removed first half", "output_dropped"),
]
# (line, state, why, exit status)
ENDINGS = [
    (
        "Error: Offline TWS/Gateway version 1037 is not installed: can't find jars folder",
        "start_failed",
        "version",
        None,
    ),
    ("Error: TWS version 964 is not installed: can't find /root/Jts/964/jars", "start_failed", "version", None),
    ("Error: Can't find suitable Java installation", "start_failed", "java", None),
    (r"Error: Can\'t find suitable Java installation", "start_failed", "java", None),
    ("Error: No java executable found in supplied path /x", "start_failed", "java", None),
    (
        STAMP + "Can't find the Gateway entry point: ibgateway.GWClient.main. Gateway is not correctly installed.",
        "start_failed",
        "program",
        None,
    ),
    ("Error: Could not find or load main class ibcalpha.ibc.IbcGateway", "start_failed", "program", None),
    ("Error: IBC configuration file: /x  does not exist", "start_failed", "settings", None),
    ("exec /home/ibgateway/scripts/run.sh: exec format error", "start_failed", "processor", None),
    ("Error: Timed out waiting for Xvfb socket!", "start_failed", "display", None),
    (LEAN + "IBAutomater error - Code: UnsupportedVersion Message: x", "start_failed", "too old", None),
    ("exit status 1107", "start_failed", "program", 1107),
    ("IBC returned exit status 83", "start_failed", "program", 83),
    (STAMP + "Exiting after error with exit code=1107", "start_failed", "program", 1107),
    ("ERRORLEVEL = 1004", "start_failed", "version", 1004),
    ("IBC returned exit status 0", "ended", "", 0),
    ("IBC returned exit status 1", "ended", "", 1),
    ("IBC returned exit status 137", "ended", "killed", 137),
    ("IBC returned exit status 143", "ended", "stopped", 143),
    (STAMP + "Exiting with exit code=1100", "ended", "", 1100),
    ("ib-gateway-1 exited with code 137", "ended", "killed", 137),
    ("Gateway finished", "ended", "", None),
    ("+ Gateway 1037 has finished", "ended", "", None),
    (LEAN + "IBGateway process exited", "ended", "", None),
    ("java.lang.OutOfMemoryError: Java heap space", "ended", "memory", None),
    ('Exception in thread "JTS-Main" java.lang.OutOfMemoryError: Java heap space', "ended", "memory", None),
    ("# There is insufficient memory for the Java Runtime Environment to continue.", "ended", "memory", None),
    ("box kernel: Out of memory: Killed process 77 (java) total-vm:1kB", "ended", "memory", None),
    ("# A fatal error has been detected by the Java Runtime Environment:", "ended", "crash", None),
    ("Killed", "ended", "killed", None),
    ("/opt/ibc/scripts/ibcstart.sh: line 492:    77 Killed    java -cp x", "ended", "killed", None),
    (".> Received SIGINT or SIGTERM. Shutting down IB Gateway.", "ended", "stopped", None),
]
# Lines that look like one of them and are none: the settings IBC lists at its start, and everyday messages of others.
OTHERS = [
    "    AcceptIncomingConnectionAction=manual",
    "    AcceptNonBrokerageAccountWarning=yes",
    "    ReloginAfterSecondFactorAuthenticationTimeout=no",
    "    ExistingSessionDetectedAction=primary",
    STAMP + "detected frame entitled: IBKR Gateway; event=Opened",
    STAMP + "detected dialog entitled: DU1234567 Trader Workstation Configuration; event=Opened",
    STAMP + "detected dialog entitled: Login failed; event=Activated",
    "2024/03/18 20:43:32 socat[90] E connect(5, AF=2 127.0.0.1:4002, 16): No route to host",
    "user bob: login failed",
    "ERROR connection to server failed",
    "connection to server failed",
    "login has completed",
    "API server listening on port",
    "process 77 killed by bob",
    "IBC returned exit status",
    "exit status 1234567",
    "",
    "\x00\xff",
]


@pytest.mark.parametrize(("line", "state"), LINES, ids=[f"{state} {line[-40:]}" for line, state in LINES])
def test_a_line_stands_for_a_state(line, state):
    assert meaning_of(read_line(line)).state == state


@pytest.mark.parametrize(("line", *"swx"), ENDINGS, ids=[line[-50:] for line, *_ in ENDINGS])
def test_an_end_has_a_reason_as_far_as_the_line_tells(line, s, w, x):
    assert meaning_of(read_line(line)) == LogMeaning(s, w, x)


@pytest.mark.parametrize("line", OTHERS, ids=range(len(OTHERS)))
def test_a_line_that_only_looks_like_one_stands_for_none(line):
    assert meaning_of(read_line(line)) is None


def test_every_state_has_a_line():
    assert {state for _, state in LINES} | {"ended", "start_failed"} == set(STATES)


def test_every_reason_has_words_and_can_come():
    reasons = {*START_FAILURES, *filter(None, ENDS)}
    assert reasons | {"no token"} == set(WHY)
    assert reasons == set(filter(None, (why for _, _, why, _ in ENDINGS)))


# (line, what it tells of a dialog)
WINDOWS = [
    ("detected dialog entitled: Password Notice; event=Opened", LogMeaning(dialog="Password Notice")),
    ("detected dialog entitled: Password Notice; event=Focused", LogMeaning(dialog="Password Notice")),
    ("detected dialog entitled: Password Notice; event=Closed", LogMeaning(dialog="Password Notice", closed=True)),
    ("detected dialog entitled: Password Notice; event=Lost focus", None),
    ("detected dialog entitled: a; event=b; event=Opened", LogMeaning(dialog="a; event=b")),
    ("detected dialog entitled: Login failed; event=Opened", LogMeaning("login_failed", dialog="Login failed")),
    ("detected dialog entitled: Tip of the Day; event=Opened", None),
]


@pytest.mark.parametrize(("said", "meaning"), WINDOWS, ids=[row[0] for row in WINDOWS])
def test_a_dialog_has_a_title_and_is_open_or_closed(said, meaning):
    assert meaning_of(read_line(STAMP + said)) == meaning


def test_the_automater_tells_of_windows_in_its_own_words():
    words = "Window event: [WINDOW_{}] - Window title: [Password Notice] - Window name: [{}]"
    assert meaning_of(read_line(words.format("OPENED", "dialog3"))) == LogMeaning(dialog="Password Notice")
    assert meaning_of(read_line(LEAN + words.format("CLOSED", "dialog3"))).closed
    assert meaning_of(read_line(words.format("OPENED", "frame0"))) is None


def test_only_ibc_tells_of_dialogs():
    assert meaning_of(read_line("detected dialog entitled: Login failed; event=Opened")) is None


def test_every_title_is_small_letters():
    assert all(part == part.lower() for part in DIALOGS)


@pytest.mark.parametrize(
    "line, marked",
    [
        (STAMP + "anything", True),
        (JTS + "anything", True),
        (LEAN + "anything", True),
        ("Starting IBC version 3", True),
        ("Error: Offline TWS/Gateway version 1037 is not installed", True),
        ("API in Read-Only mode: true", True),
        ("API server listening on port 3001", False),
        ("Login failed: bob", False),
        ("Killed", False),
    ],
)
def test_what_only_a_program_of_a_gateway_writes(line, marked):
    assert is_mark(read_line(line)) == marked


@pytest.mark.parametrize(
    "text, part, anywhere, found",
    [
        ("abc", "b", True, True),
        ("abc", "b", False, False),
        ("abc", "ab", False, True),
        ("abc", "*c", False, True),
        ("a1b2c", "a*b*c", False, True),
        ("acb", "a*b*c", True, False),
        ("aba", "ab*ba", True, False),
        ("", "a", True, False),
    ],
)
def test_a_star_stands_for_anything(text, part, anywhere, found):
    assert contains(text, part, anywhere) == found
