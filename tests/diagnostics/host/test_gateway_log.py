"""Lines of real gateway logs to states: what counts, what does not, and that nothing of a line is kept."""

import pytest

from diagnostics.host.gateway_log import MAX_LINE, MAX_TEXT, STATES, read, state_of

STAMP = "2026-11-18 15:20:01:123 IBC: "
# Lines as IBC, the images' scripts and socat print them.
LINES = [
    (".> Starting IBC in paper mode, with params:", "started"),
    ("Starting IBC version 3.23.0 on 2026-11-18 at 15:20:00", "started"),
    (".> Forking :::4001 onto 0.0.0.0:4003", "forwarder_up"),
    ("Listening for incoming API connections on 8888", "forwarder_up"),
    ("2024/03/18 20:43:32 socat[90] E connect(5, AF=2 127.0.0.1:4002, 16): Connection refused", "forwarder_refused"),
    (
        "2024/03/18 20:43:32 socat[90] E connect(5, AF=2 127.0.0.1:4002, 16): Connection timed out",
        "forwarder_timed_out",
    ),
    ("autorestart file not found: full authentication will be required", "full_login"),
    ("autorestart file found at /root/Jts/x/autorestart: authentication will not be required", "restarting"),
    (STAMP + "Re-starting session", "restarting"),
    ("IBC will cold-restart shortly", "restarting"),
    ("Starting Gateway with this command:", "starting"),
    (STAMP + "Starting session: will exit if login dialog is not displayed within 60 seconds", "starting"),
    (STAMP + "Login attempt: 1", "logging_in"),
    (STAMP + "Setting user name", "logging_in"),
    (STAMP + "Second Factor Authentication initiated", "twofa_pending"),
    (STAMP + "Duration since login: 21 seconds", "twofa_closed"),
    (STAMP + "If login has not completed, IBC will exit in 60 seconds", "twofa_closed"),
    (STAMP + "Re-login after second factor authentication timeout in 5 second", "twofa_timeout"),
    (STAMP + "Re-login after second factor authentication timeout not required", "twofa_timeout"),
    ("IBC returned exit status 87", "twofa_timeout"),
    (STAMP + "could not find second factor device 'IB Key' in the list", "twofa_device"),
    (STAMP + "Login failed", "login_failed"),
    (STAMP + "detected dialog entitled: Login failed; event=Opened", "login_failed"),
    (STAMP + "Detected dialog entitled: LOGIN FAILED", "login_failed"),
    (STAMP + "Too many failed login attempts. Please try again in 300 seconds", "login_throttled"),
    (STAMP + "Connection to server failed: Server disconnected, please try again", "servers_unreachable"),
    (STAMP + "End this session and let the other session proceed (scenario 2)", "existing_session"),
    (STAMP + "Trading Login Handoff dialog; {}", "existing_session"),
    (STAMP + "Re-login to session", "existing_session"),
    ("IBC returned exit status 88", "login_dialog_missing"),
    (STAMP + "Login has completed", "logged_in"),
    (STAMP + "Configuration tasks completed", "configured"),
    (STAMP + "could not accept incoming connection because we could not find one of the controls.", "accept_dialog"),
    (STAMP + "could not dismiss non-brokerage account warning dialog.", "paper_warning"),
    (
        STAMP + "detected dialog entitled: API client needs write access action confirmation; event=Opened",
        "write_access",
    ),
]
# Lines that look like one of them and are none: the settings IBC lists at its start, and everyday messages.
OTHERS = [
    "    AcceptIncomingConnectionAction=manual",
    "    AcceptNonBrokerageAccountWarning=yes",
    "    ReloginAfterSecondFactorAuthenticationTimeout=no",
    "    ExistingSessionDetectedAction=primary",
    "IBC returned exit status 0",
    STAMP + "detected frame entitled: IBKR Gateway; event=Opened",
    "2024/03/18 20:43:32 socat[90] E connect(5, AF=2 127.0.0.1:4002, 16): No route to host",
    "",
    "\x00\xff",
]


@pytest.mark.parametrize(("line", "state"), LINES, ids=[line[-50:] for line, _ in LINES])
def test_a_line_stands_for_a_state(line, state):
    assert state_of(line) == state == state_of(line.upper())


@pytest.mark.parametrize("line", OTHERS, ids=range(len(OTHERS)))
def test_a_line_that_only_looks_like_one_stands_for_none(line):
    assert state_of(line) is None


def test_every_state_has_a_line():
    assert {state for _, state in LINES} == set(STATES)


def test_only_what_came_after_the_last_start_counts():
    text = f"{STAMP}Login has completed\nStarting IBC version 3.23.0 on 2026-11-18\n{STAMP}Login attempt: 1\n"
    assert read(text) == ("started", "logging_in")


def test_a_restart_within_a_life_is_no_new_life():
    text = f"Starting IBC version 3\n{STAMP}Login has completed\n{STAMP}Re-starting session\n"
    assert read(text) == ("started", "logged_in", "restarting")


def test_a_state_is_where_it_was_last_seen():
    steps = [
        "Second Factor Authentication initiated",
        "second factor authentication timeout",
        "Second Factor Authentication initiated",
    ]
    assert read("\n".join(steps)) == ("twofa_timeout", "twofa_pending")


def test_lines_may_end_in_any_way():
    assert read("Login failed\r\nLogin has completed\rConfiguration tasks completed") == (
        "login_failed",
        "logged_in",
        "configured",
    )


def test_nothing_but_names_of_states_comes_out():
    secret = "user=edemo password=hunter2 Login failed for DU1234567"
    assert read(secret) == ("login_failed",)


@pytest.mark.parametrize("text", ["", "\n" * 1000, "x" * 100_000, "\ud800", "E connect(" * 10_000])
def test_any_text_is_read(text):
    assert read(text) == ()


def test_long_lines_and_long_logs_are_bounded():
    assert read("x" * MAX_LINE + "login failed") == ()
    assert read("login failed\n" + "x" * MAX_TEXT) == ()
