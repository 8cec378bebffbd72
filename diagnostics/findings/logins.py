"""6xx: the gateway's process and its login, of which only its log knows. What else the log tells is in gateway_logs."""

from __future__ import annotations

from diagnostics.findings.entry import NAME_FAULTS, FindingEntry, Side, Sign, login_faults_but

ENTRIES = (
    FindingEntry(
        code="IBD601",
        slug="starting",
        title="the gateway is still starting",
        severity="error",
        side=Side.GATEWAY,
        causes=("it was started a moment ago; one to two minutes are normal",),
        fix="Wait up to three minutes. If nothing is new in the log after that, look at the gateway's screen.",
        commands=(
            "ib-diagnose wait --for online --timeout 180",
            "docker logs --tail 50 GATEWAY",
        ),
        check="The log goes on, and 'Login has completed' has not come yet.",
        docs=(
            "The log shows a start and no finished login since. The API port opens after the login. A start "
            "that takes more than three minutes is waiting for something: a second factor, a dialog, or IB's "
            "servers."
        ),
        silenced_by=(*NAME_FAULTS, *login_faults_but("IBD601")),
        excluded_by=(Sign.LOGGED_IN,),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD602",
        slug="twofa-pending",
        title="the login waits for the second factor",
        severity="error",
        side=Side.GATEWAY,
        causes=("the message on the phone has not been confirmed",),
        fix="Confirm the login in IBKR Mobile.",
        commands=(
            "docker logs --tail 50 GATEWAY",
            "ib-diagnose wait --for online --timeout 180",
        ),
        check="The log: the second factor was started, and no login completed after it.",
        docs=(
            "User name and password were accepted, and IB sent a message to the user's device. It is valid "
            "for about three minutes."
        ),
        silenced_by=(
            *NAME_FAULTS,
            "IBD603",
            "IBD604",
            "IBD605",
            "IBD606",
            "IBD607",
            "IBD610",
            "IBD611",
            "IBD612",
            "IBD613",
        ),
        excluded_by=(Sign.LOGGED_IN,),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD603",
        slug="twofa-timeout",
        title="the second factor was not confirmed in time",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "nobody confirmed within three minutes",
            "the message never reached the device",
        ),
        fix=(
            "Let the gateway try again and confirm then. So that it tries by itself: "
            "TWOFA_TIMEOUT_ACTION=restart and RELOGIN_AFTER_TWOFA_TIMEOUT=yes."
        ),
        commands=(
            "docker restart GATEWAY",
            "docker logs --tail 50 GATEWAY",
        ),
        check="The log: a time-out of the second factor, or exit status 87.",
        docs=(
            "The login was given up because the second factor was missing. Depending on its settings the "
            "gateway tries again, or has ended."
        ),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD604",
        slug="twofa-device-choice",
        title="the login does not know which second-factor device to use",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the user has several devices",
            "the device named in the settings does not exist",
        ),
        fix="Set TWOFA_DEVICE to the exact name of the device as the login dialog shows it.",
        commands=(
            "docker logs --tail 50 GATEWAY",
            "docker restart GATEWAY",
        ),
        check="The log: the device was not found in the list.",
        docs=(
            "The login dialog offers a list of devices, and IBC does not find the one it was told, or was "
            "told none. Nothing is sent to any device, so there is nothing to confirm."
        ),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD605",
        slug="login-failed",
        title="IB refused the login",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "wrong user name or password",
            "the password has expired",
            "paper credentials with live mode, or the reverse",
        ),
        fix=(
            "Correct user, password and trading mode; log in once by hand on IB's website to see a message "
            "about an expired password."
        ),
        commands=("docker logs --tail 50 GATEWAY",),
        check="The log: 'Login failed' and the message after it.",
        docs=(
            "The gateway runs and reaches IB; the account data were not accepted. Repeating it locks the user (IBD606)."
        ),
        silenced_by=(*NAME_FAULTS, "IBD606", "IBD611"),
        excluded_by=(Sign.LOGGED_IN,),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD606",
        slug="login-throttled",
        title="too many failed logins: IB makes you wait",
        severity="error",
        side=Side.GATEWAY,
        causes=("a restart loop with a wrong password",),
        fix=("Stop the gateway, wait as long as its message says, correct the credentials, start it once."),
        commands=(
            "docker stop GATEWAY",
            "docker logs --tail 50 GATEWAY",
        ),
        check="The log: too many failed login attempts.",
        docs=("IB counts failed logins and refuses more of them for some time. Every automatic restart prolongs it."),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD607",
        slug="existing-session",
        title="the user is logged in somewhere else",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "TWS, IBKR Mobile or the website is used by the same user",
            "a second container with the same user",
        ),
        fix=(
            "Log out there, or use a second user name for the API. EXISTING_SESSION_DETECTED_ACTION=primary "
            "keeps this session, and logs the other one out."
        ),
        commands=("docker logs --tail 50 GATEWAY",),
        check="The log: a dialog about an existing session after the last finished login.",
        docs=(
            "IB allows one session per user name. The gateway found another one and waits for a decision, or "
            "was pushed out by it."
        ),
        silenced_by=(*NAME_FAULTS, "IBD605"),
        excluded_by=(Sign.LOGGED_IN_ALONE,),
        supported_by=(Sign.SESSION_ELSEWHERE,),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD608",
        slug="login-dialog-missing",
        title="the gateway's login window never appeared",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "trouble of Java or of the display in the container",
            "too little memory or too few file descriptors",
        ),
        fix=(
            "Restart it; if it happens again, give the gateway's container more memory and a limit of 10000 open files."
        ),
        commands=(
            "docker restart GATEWAY",
            "docker stats --no-stream GATEWAY",
            "docker logs --tail 50 GATEWAY",
        ),
        check="The log: exit status 88.",
        docs=(
            "IBC waited for the login window and gave up. Nothing was sent to IB, so account and network are "
            "not to blame."
        ),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD609",
        slug="restart-in-progress",
        title="the gateway is restarting itself",
        severity="error",
        side=Side.GATEWAY,
        causes=("the daily automatic restart",),
        fix="Wait one to three minutes; this is expected once a day.",
        commands=(
            "ib-diagnose wait --for online --timeout 300",
            "docker logs --tail 50 GATEWAY",
        ),
        check="The log: a restart without a new full login, and 'Login has completed' not yet.",
        docs=(
            "Gateways restart once a day and log in again with the token they have. Meanwhile connections are "
            "dropped and refused. Clients should reconnect with growing pauses."
        ),
        silenced_by=(*NAME_FAULTS, *login_faults_but("IBD601", "IBD609")),
        title_in_verdict=True,
        may_be_maintenance=True,
    ),
    FindingEntry(
        code="IBD610",
        slug="weekly-reauth",
        title="the weekly full login is due",
        severity="error",
        side=Side.GATEWAY,
        causes=("on Sunday IB invalidates the token of the automatic restart, and a full login is needed",),
        fix="Confirm the second factor in IBKR Mobile; plan for it once a week.",
        commands=(
            "docker logs --tail 50 GATEWAY",
            "docker restart GATEWAY",
        ),
        check="The log: no token for the automatic restart, or one that has expired; full authentication.",
        docs=(
            "The automatic restart works from Sunday to Sunday. After that user name, password and second "
            "factor are asked for again, and without somebody to confirm it the gateway stays down."
        ),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD611",
        slug="server-unreachable",
        title="the gateway cannot reach IB's servers",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "its machine has no way to the internet",
            "maintenance at IB",
            "a firewall or proxy for outgoing traffic",
        ),
        fix="Check the way out from the gateway's machine, and IB's system status page.",
        commands=(
            "docker exec GATEWAY curl -sI https://www.interactivebrokers.com",
            "docker logs --tail 50 GATEWAY",
        ),
        check="From the gateway's container: does it reach the internet at all?",
        docs=(
            "The login could not even begin. The route from the client to the gateway is a different one and "
            "not affected."
        ),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
        may_be_maintenance=True,
    ),
)
