"""The words of a finding where a forwarder stands between: it is about what answers, which is at another port.

The blanks are those of rules/between.py, {program} has {port} and leads to {upstream}, and what differs from program to
program (ProgramWords). Commands have APIPORT and UPSTREAM, as everywhere (entry.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

OURS = "ib-relay"
DOCKERS = "docker-proxy"  # what it leads to is in a container, and so are that one's sockets


class ProgramWords(NamedTuple):
    """What is different from program to program."""

    change: str  # how it is made to lead elsewhere
    log: str  # where it says how its dial went
    hides: str = ""  # it lets nothing but an IB client through
    stranger: str = ""  # what it says itself of an upstream that is no gateway (relay/logs/explain.py)


PROGRAMS = {
    OURS: ProgramWords(
        "set upstream in its configuration and run ib-relay service install, or start ib-relay run with --upstream",
        "journalctl -t ib-relay, or its terminal",
        ", but not through the relay",
        "; the relay's log says 'what answered is no IB gateway'",
    ),
    "socat": ProgramWords("start it with that address at its end", "its terminal, with -d -d"),
    DOCKERS: ProgramWords("publish that port of the container", "the log of the container behind it"),
}
ANY_OTHER = ProgramWords("change its configuration", "its own log")


@dataclass(frozen=True, slots=True, kw_only=True)
class BehindWords:
    """What is right behind such a program instead of the entry's own words; "" and None: those are."""

    ours: bool | None = None  # behind our own relay, behind others, or behind any
    fix: str = ""
    check: str = ""
    commands: tuple[str, ...] | None = None
    where_to_look: str = ""


_LEADS_ASTRAY = "what {program} leads to, {upstream}, is another service"

BEHIND: dict[str, tuple[BehindWords, ...]] = {  # by code; the first that holds counts
    "IBD302": (
        BehindWords(
            ours=True,
            fix=(
                "acl_denied in its log ({log}) is its own: add the address to allow. Else put it beside the gateway, "
                "which it then dials from 127.0.0.1, or add its address to the gateway's trusted ones."
            ),
            commands=("ib-relay check-config", "ss -tn '( dport = :APIPORT )'"),
        ),
    ),
    "IBD303": (
        BehindWords(
            ours=True,
            commands=(
                "ss -tn state close-wait '( sport = :APIPORT )'",
                "ss -ltn 'sport = :APIPORT'",
                "ib-relay service status",
                "docker inspect --format '{{.State.Status}} paused={{.State.Paused}}' GATEWAY",
                "docker logs --tail 50 GATEWAY",
            ),
        ),
    ),
    "IBD304": (
        BehindWords(
            ours=True,
            fix=(
                "Put it beside the gateway, which it then dials from 127.0.0.1, or trust the exact address it comes "
                "from, or let IBC accept (then whoever reaches the port can trade)."
            ),
            commands=("ib-relay check-config", "docker logs --tail 50 GATEWAY"),
        ),
    ),
    "IBD307": (
        BehindWords(
            fix="Go to the machine of {program} and diagnose from there to {upstream}, where it leads.",
            commands=("ss -tn state syn-sent", "ib-diagnose --target UPSTREAM", "docker logs --tail 50 GATEWAY"),
        ),
    ),
    "IBD401": (
        BehindWords(
            fix=(
                "It leads to a service that is no gateway. Let it lead to the gateway's API, 4001 or 4002 of IB "
                "Gateway, 7496 or 7497 of TWS: {change}."
            ),
            check="ss -ltnp on the machine of {program} names the program at {upstream}{stranger}.",
            commands=("ss -ltnp 'sport = :APIPORT'", "docker port GATEWAY"),
            where_to_look=_LEADS_ASTRAY,
        ),
    ),
    "IBD402": (
        BehindWords(
            fix=(
                "It leads to a web server. Let it lead to the TWS API, 4001 or 4002 of IB Gateway, 7496 or 7497 of "
                "TWS: {change}."
            ),
            check="curl of {upstream} on its machine gets an HTTP answer{hides}{stranger}.",
            where_to_look=_LEADS_ASTRAY,
        ),
    ),
    "IBD403": (
        BehindWords(
            fix=(
                "It leads to a TLS server. Let it lead to the gateway's own port, which speaks without TLS, or to the "
                "client end of the tunnel: {change}."
            ),
            check="openssl s_client of {upstream} on its machine shows a certificate{hides}{stranger}.",
            where_to_look=_LEADS_ASTRAY,
        ),
    ),
    "IBD404": (
        BehindWords(
            ours=True,
            commands=(
                "ss -ltnp 'sport = :APIPORT'",
                "ib-relay service status",
                "docker logs --tail 50 GATEWAY",
            ),
        ),
        BehindWords(commands=("ss -ltnp 'sport = :APIPORT'", "docker logs --tail 50 GATEWAY")),
    ),
    "IBD405": (
        BehindWords(
            fix="Find out which program answers at {upstream}, and dial it there without {program} between.",
            check="ss -ltnp on the machine of {program} names the program at {upstream}{stranger}.",
        ),
    ),
    "IBD501": (
        BehindWords(
            ours=True,
            check="Try another id: if that works, the gateway is fine. The relay's log names the id of every session.",
            commands=("ib-diagnose --client-id 7301", "ss -tn '( sport = :PORT or sport = :APIPORT )'"),
        ),
        BehindWords(commands=("ib-diagnose --client-id 7301", "ss -tn '( sport = :PORT or sport = :APIPORT )'")),
    ),
    "IBD506": (
        BehindWords(
            ours=True,
            fix=(
                "Wait a minute: the relay notices vanished clients within 45 s and closes both sides. If the id is "
                "still taken then, restart the gateway."
            ),
            commands=("ss -tn state close-wait '( sport = :APIPORT )'", "docker restart GATEWAY"),
        ),
    ),
}


def behind_words(code: str, program: str) -> BehindWords | None:
    """What is different in this finding behind this program."""
    ours = program == OURS
    return next((row for row in BEHIND.get(code, ()) if row.ours in (None, ours)), None)


def said_behind(text: str, program: str, port: int, upstream: str) -> str:
    """The text with its blanks filled."""
    words = PROGRAMS.get(program, ANY_OTHER)
    return text.format(program=program, port=port, upstream=upstream, **words._asdict())


def is_about_what_answers(code: str, texts: tuple[str, ...]) -> bool:
    """Whether a finding with these words is about the program that answers, and not the one that takes connections."""
    return code in BEHIND or any(re.search(r"\b(APIPORT|UPSTREAM)\b", text) for text in texts)


def commands_behind(program: str, commands: tuple[str, ...]) -> tuple[str, ...]:
    """The commands as they are typed behind this program."""
    if program != DOCKERS:
        return commands
    return tuple(re.sub(r"^ss (.*APIPORT.*)", r"docker exec GATEWAY ss \1", command) for command in commands)


def commands_for_both(commands: tuple[str, ...]) -> tuple[str, ...]:
    """The commands where it is not sure that a forwarder has the port: they look at that one, too.

    UPSTREAM is on another machine then, perhaps: our own program is told the place that was dialled.
    """
    told = (re.sub(r"^(ib-diagnose .*)\bUPSTREAM\b", r"\1HOST:PORT", command) for command in commands)
    return tuple(dict.fromkeys(each for command in told for each in _at_both(command)))


def _at_both(command: str) -> tuple[str, ...]:
    if "UPSTREAM" in command:
        return command.replace("UPSTREAM", "HOST:PORT"), command
    if re.search(r"\bPORT\b", command):
        return (command,)
    command = command.replace("sport = :APIPORT", "sport = :PORT or sport = :APIPORT")
    return (command.replace("-iTCP:APIPORT", "-iTCP:PORT,APIPORT"),)
