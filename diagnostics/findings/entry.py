"""What is known of one code: its entry, with everything that depends on the code alone.

Words in capitals in a command or a check stand for something of the user's: HOST and PORT of the route (of a redirect:
of where it leads), UPSTREAM for where the answer comes from, which is the route itself or what a forwarder there leads
to, APIPORT for the port of that, ADDRESS for what HOST stands for, GATEWAY and CLIENT for the names of the two
containers, NETWORK for the name of a Docker network.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

Severity = Literal["error", "warning", "info"]


class Side(Enum):
    """Where to look."""

    GATEWAY = "gateway"  # the gateway's process, its login, or what forwards to it on its own machine
    ROUTING = "routing"  # the way there: another route works, or something on the way interferes
    LOCAL = "local"  # here: this container's network, or the host, port or name that was asked for
    UNCLEAR = "unclear"  # what was seen does not decide it
    NONE = "none"  # nothing is wrong


class Sign(Enum):
    """Something a run may show beside its failures. How each is recognised is in rules/signs.py."""

    ALWAYS = auto()
    ASKED_AS_A_CLIENT = auto()  # the hello asked for the versions of a client in question, not for ours
    ACCEPTED_BEFORE = auto()  # a first connection was accepted
    BYTES_ARRIVED = auto()  # our bytes were acknowledged
    CONNECT_TOOK_SECONDS = auto()  # longer than it takes to learn that nobody has an address
    DIALS_LOOPBACK = auto()  # a route to 127.0.0.1 or localhost
    ENDED_LIKE_A_DIAL = auto()  # in answer to our hello, after as long as a relay's dial without an answer takes
    FEW_CLIENTS = auto()  # fewer connections than a gateway takes
    FORWARDER_FOUND_NOBODY = (
        auto()
    )  # its log says that its dial was refused, or where it leads nobody listens or refuses
    FORWARDER_WAITS = auto()  # the log of the forwarder says that its dial got no answer
    FROM_LOOPBACK = auto()  # the other end sees a loopback address, which a gateway trusts
    GATEWAY_PORT_ENDS = auto()  # a forwarder here dials a port of the gateway's own, which ends our connections, too
    LISTENS_HERE = auto()  # this machine is the other end, and somebody has the port
    LOGGED_IN = auto()  # the gateway's log says so
    LOGGED_IN_ALONE = auto()  # and it does not mention another session of the same user
    LOGIN_NOT_KNOWN = auto()  # no log, or one that does not say that the login is complete
    NOBODY_DIALS = auto()  # no forwarder on this machine waits for an answer to its dial
    NOBODY_LISTENS_HERE = auto()  # this machine is the other end, and nobody has the port
    NOTHING_LEFT_OVER = auto()  # no connection waits to be accepted or closed on the gateway's side
    NOT_ONLY_LOOPBACK = auto()  # the port is not bound to loopback only, or that would not matter
    NO_HOST_NAME = auto()  # the route is no name by which containers know their host
    NO_LEFTOVERS_KNOWN = auto()  # no sockets in CLOSE_WAIT were seen
    NO_NAME_OF_A_VM_HOST = auto()  # nor such a name where containers run in a virtual machine
    OWN_LOOPBACK_KNOWN = auto()  # loopback is the machine's own, or no route leads to it
    QUEUE_HAS_ROOM = auto()  # nobody waits in the accept queue that is seen
    RESET_AT_ACCEPT = auto()  # as ib-relay turns away those it does not admit
    RESET_AT_ONCE = auto()  # as ib-relay passes on that its own dial was refused
    SESSION_ELSEWHERE = auto()  # the gateway's log mentions another session of the same user


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A code that a finding may come from where the run alone cannot tell, and the words for it in that finding."""

    code: str
    check: str = ""  # what decides, where the check of that code does not fit here
    check_after_fin: str = ""  # the same, where the connection ended with FIN
    check_from_loopback: str = ""  # the same, where loopback was dialled: what it shows is known then
    meaning: str = ""  # what it is, where its title does not say it: a title tells what was seen in its own finding
    first_with: tuple[Sign, ...] = ()  # any of these signs puts it before all others
    check_if_first: str = ""  # what decides then
    after_reset: str = ""  # added to the verdict where it is the likeliest one and the connection was reset


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingEntry:
    """One code. It is permanent and never used for anything else; the slug may change."""

    code: str
    slug: str
    title: str
    severity: Severity
    side: Side  # where to look, unless comparing the routes tells it
    causes: tuple[str, ...]  # the likeliest first
    fix: str
    commands: tuple[str, ...]  # to type: they look, or start something; we run none of them
    check: str  # what decides between this and what looks the same
    docs: str  # what it means, for the page of the code
    silenced_by: tuple[str, ...]  # its causes: on a route where one of them is found, this is an effect and is left out

    # Where the run alone cannot tell what is behind it.
    explanations: tuple[Explanation, ...] = ()  # likeliest first, itself among them where it is one of them

    # As an explanation of another finding: any of these signs takes it off the list, or moves it up or down.
    excluded_by: tuple[Sign, ...] = ()
    supported_by: tuple[Sign, ...] = ()
    doubted_by: tuple[Sign, ...] = ()

    # What to do where the gateway is newer than what was asked for, and not too old; "": the same.
    fix_if_newer: str = ""

    # In the line of the verdict.
    does: str = ""  # what such a route does, where that says more than the stage it fails at
    where_to_look: str = ""  # where the general sentence about its side does not fit; {network} is filled in
    but: str = ""  # what fails all the same where it works for us: "Works via ..., but ..."
    title_in_verdict: bool = False  # a cause that was shown, by a log or the gateway itself: the line has its title
    may_be_maintenance: bool = False  # IB's planned maintenance looks like this


# A name or a network that does not work explains everything behind it.
NAME_FAULTS = ("IBD101", "IBD102")
# What the gateway's log can say that explains a dead port or a silent session.
LOGIN_FAULTS = tuple(f"IBD{number}" for number in range(601, 615))


def login_faults_but(*codes: str) -> tuple[str, ...]:
    """The others, for what they silence."""
    return tuple(code for code in LOGIN_FAULTS if code not in codes)
