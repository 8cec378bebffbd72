"""6xx, too: how the gateway's process ends, what is open on its screen, and what else its log tells."""

from __future__ import annotations

from diagnostics.findings.entry import NAME_FAULTS, FindingEntry, Side

# Why a login fails: that ends the process, too, and is what has to be mended.
CAUSES_OF_ENDS = tuple(f"IBD{number}" for number in (603, 604, 605, 606, 607, 608, 610, 611))

ENTRIES = (
    FindingEntry(
        code="IBD612",
        slug="ends-before-login",
        title="the gateway ends before it can log in",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the version in its settings is not the one that is installed",
            "a volume over the program's folder keeps an older version than the image has",
            "an image for another kind of processor, or one without a usable Java",
            "a restart (TWS_COLD_RESTART) that starts it again and again",
        ),
        fix=(
            "Waiting does not help: give the image and its settings (TWS_MAJOR_VRSN, paths, volumes) one version, "
            "then create the container anew."
        ),
        commands=(
            "docker logs --tail 50 GATEWAY",
            "docker inspect -f '{{.Config.Image}} {{.RestartCount}}' GATEWAY",
        ),
        check="The log: an error soon after each start, and no login attempt that was answered.",
        docs=(
            "The log shows one or more starts, none of which came to a login, and no cause that has to do with the "
            "account. A container that is restarted automatically repeats this for ever. User name, password and "
            "network were not used yet, so they are not to blame."
        ),
        silenced_by=(*NAME_FAULTS, *CAUSES_OF_ENDS),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD613",
        slug="process-ended",
        title="the gateway's process has ended",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "it was stopped, or its automatic restart found no token",
            "too little memory for Java or for the container",
            "a fault of this gateway build",
        ),
        fix="Start it again. If it ended for want of memory, give Java's heap and the gateway's container more.",
        commands=(
            "docker ps -a",
            "docker logs --tail 50 GATEWAY",
            "docker restart GATEWAY",
        ),
        check="The log: its end, and no start after it.",
        docs=(
            "The last thing the log tells is that the process ended. Nothing listens on the API port then, whatever "
            "the log says of a login before. A forwarder in the same container may still accept connections."
        ),
        silenced_by=(*NAME_FAULTS, *CAUSES_OF_ENDS, "IBD612"),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD614",
        slug="dialog-open",
        title="a dialog on the gateway's screen waits for somebody",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "a message of IB that IBC does not know, or may not answer",
            "a notice about the password or the account",
        ),
        fix="Look at the gateway's screen (VNC) and answer the dialog, or log in once by hand on IB's website.",
        commands=("docker logs --tail 50 GATEWAY",),
        check="The log: the dialog was opened, and not closed since.",
        docs=(
            "IBC writes down every dialog that opens and closes. One that stays open keeps the login or the API "
            "waiting, and in a container nobody sees it. The finding names its title. A dialog that was only hidden "
            "looks the same in the log."
        ),
        silenced_by=(
            *NAME_FAULTS,
            "IBD304",
            "IBD309",
            "IBD602",
            "IBD603",
            "IBD604",
            "IBD605",
            "IBD606",
            "IBD607",
            "IBD612",
            "IBD613",
        ),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD615",
        slug="log-not-known",
        title="no line of this log is known: it says nothing about the gateway",
        severity="info",
        side=Side.UNCLEAR,
        causes=(
            "the log of another container, or an empty one",
            "a program around the gateway whose words are not known here",
        ),
        fix="Give the output of the container in which the gateway runs.",
        commands=(
            "docker ps",
            "docker logs -t GATEWAY",
        ),
        check="Does the log have lines of IBC, of IBAutomater or of the gateway itself?",
        docs=(
            "A log was given, and not one line of it is of a kind that the programs around a gateway write. So "
            "nothing was concluded from it: neither that the login is fine nor that it is not. In a log of several "
            "services only the lines of a gateway count."
        ),
        silenced_by=(),
    ),
    FindingEntry(
        code="IBD616",
        slug="api-read-only",
        title="the gateway's API is in read-only mode",
        severity="info",
        side=Side.GATEWAY,
        causes=("the setting 'Read-Only API' is on, which it is by default",),
        fix="Nothing, for reading. For orders switch it off: READ_ONLY_API=no, or the API settings.",
        commands=("docker logs --tail 50 GATEWAY",),
        check="The gateway's own log: 'API in Read-Only mode: true'.",
        docs=(
            "Data and account values can be read. Orders, and some requests about them, are refused with error 321, "
            "or wait for a dialog on the gateway's screen."
        ),
        silenced_by=("IBD802",),
    ),
    FindingEntry(
        code="IBD617",
        slug="output-dropped",
        title="the gateway threw away messages for a client that reads too slowly",
        severity="warning",
        side=Side.UNCLEAR,
        causes=(
            "a client that computes where it should read",
            "more subscriptions, or bigger ones, than the client can keep up with",
        ),
        fix="Let the client read all the time and work elsewhere, or subscribe to less.",
        commands=("ss -tn",),
        check="ss -tn: bytes in Recv-Q of the client's socket, again and again.",
        docs=(
            "The gateway keeps some 100 kB for a client that does not read. Beyond that it removes half of them, and "
            "the client never learns what it missed. The connection itself is fine."
        ),
        silenced_by=(),
    ),
)
