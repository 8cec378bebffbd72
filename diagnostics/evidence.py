"""What a run saw, as plain frozen values: everything a verdict is made of, and nothing that was concluded from it.

An Evidence can be saved as JSON and read back, and gives the same report then. None always means "not looked at or not
knowable here", never "no". Accounts are masked before they get in here; no environment variable, file or payload is
kept beyond what the fields below name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from relay.wire.events import MAX_ACCOUNTS_SHOWN, mask_accounts
from relay.wire.versions import version_said

SCHEMA_VERSION = 1  # of a saved one
OUR_VERSIONS = (100, 176)  # server versions; relay.wire.session says why


class ProbeStage(Enum):
    """The steps of a probe, in order."""

    RESOLVE = "resolve"  # name to address
    CONNECT = "connect"  # TCP
    QUIET = "quiet"  # nothing said for 150 ms: a proxy with nothing behind it closes in that time
    HELLO = "hello"  # the IB handshake: our hello, the gateway's answer
    START_API = "start_api"  # START_API sent, NEXT_VALID_ID and MANAGED_ACCTS awaited
    SYNC = "sync"  # current time asked for and answered: the session does what it is for


class Outcome(Enum):
    """How a step went."""

    OK = "OK"
    REFUSED = "REFUSED"  # by the kernel (no listener), or by the gateway (error 326)
    UNREACHABLE = "UNREACHABLE"  # the name is unknown, or there is no way to the address
    TIMED_OUT = "TIMED_OUT"
    CLOSED = "CLOSED"  # the peer said FIN
    RESET = "RESET"
    BAD_PEER = "BAD_PEER"  # what answered does not speak the IB API, or none of the versions asked for
    SKIPPED = "SKIPPED"  # `detail` says because of what


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known about where we run.

    `value` None = could not be found out; `source` is the file, call or variable.
    """

    name: str  # from facts.NAMES
    value: str | None
    source: str
    confidence: str = "certain"  # certain | likely | hint


@dataclass(frozen=True, slots=True)
class Route:
    """A candidate way to the gateway."""

    host: str  # a name or an address, as a user would write it
    port: int
    kind: str  # configured | name | address | gateway | bridge | loopback | host_address | sibling | behind
    why: str  # why it is a candidate, for people


@dataclass(frozen=True, slots=True)
class StageResult:
    """One step of one probe."""

    stage: ProbeStage
    outcome: Outcome
    seconds: float | None = None
    detail: str = ""  # for people; for SKIPPED: because of what
    error: str | None = None  # ECONNREFUSED, EAI_NONAME, ...: the errno's or gaierror's name


@dataclass(frozen=True, slots=True)
class KernelView:
    """What our kernel knows of a connection at the moment a step gave up on it (Linux; elsewhere all None)."""

    unacknowledged: int | None = None  # segments sent and not acknowledged (TCP_INFO tcpi_unacked)
    retransmits: int | None = None  # segments sent once more (tcpi_total_retrans)
    unsent: int | None = None  # bytes in the send queue (SIOCOUTQ)


@dataclass(frozen=True, slots=True)
class Probe:
    """One route, walked as far as it went: one result for every ProbeStage, in order."""

    route: Route
    stages: tuple[StageResult, ...]
    addresses: tuple[str, ...] = ()  # all that the name resolved to, in the resolver's order
    address: str | None = None  # the one the result is about
    source: str | None = None  # our own address of that connection
    # "host:port" of the earlier route with the same address; nothing of this one was dialled
    same_as: str | None = None
    kernel: KernelView | None = None
    first_bytes: str | None = None  # of a stranger: http, tls, ssh, vnc, text, garbage
    spoke_first: bool | None = None  # bytes came before we had said anything
    bytes_received: int = 0
    server_version: int | None = None
    redirect: str | None = None  # host[:port]
    accounts: tuple[str, ...] = ()  # masked, 16 at most
    codes: tuple[int, ...] = ()  # of ERR_MSG, in the order they came, 64 at most
    attempts: int = 1  # handshakes tried on this route
    farms: tuple[str, ...] = ()  # IB's data farms that the text of each code named, with blanks between; or unknown
    account_count: int | None = None  # all of them; None in files from before it was kept
    # A later address of the name that was heard, by yes or no, while clients wait at `address`, which is silent
    answering: str | None = None
    # Bytes of the gateway's hello as its first ones say, where it did not come whole; None: that is not known.
    hello_length: int | None = None

    @property
    def number_of_accounts(self) -> int | None:
        """All that the gateway named; None: more than are kept, and nobody counted them."""
        if self.account_count is not None or len(self.accounts) >= MAX_ACCOUNTS_SHOWN:
            return self.account_count
        return len(self.accounts)

    def result(self, stage: ProbeStage) -> StageResult:
        """How that stage went; one that is missing was skipped."""
        return next((result for result in self.stages if result.stage is stage), StageResult(stage, Outcome.SKIPPED))


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A listening socket of this network namespace on one of the ports asked about (/proc/net/tcp, tcp6)."""

    address: str
    port: int
    queue: int | None = None  # connections accepted by the kernel and not yet by the program
    backlog: int | None = None


@dataclass(frozen=True, slots=True)
class Forwarder:
    """A program of this machine that takes connections on a port asked about and passes them on."""

    program: str
    address: str  # it listens there; "" where that is not known
    port: int
    upstream: str | None = None  # "host:port" to which it passes them on; None where that is not known
    open: bool = True  # it looks at nobody's address
    assumed: bool = False  # port or upstream is its default: its command line names none, its configuration may

    @property
    def upstream_address(self) -> str | None:
        """The address of the upstream; None where a name is, or nothing is known."""
        try:
            return str(ip_address((self.upstream or "").rpartition(":")[0].removeprefix("[").removesuffix("]")))
        except ValueError:
            return None

    @property
    def upstream_port(self) -> int | None:
        """The port of the upstream; None where that is not known, or is no port."""
        port = (self.upstream or "").rpartition(":")[2]
        return int(port) if port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16 else None


@dataclass(frozen=True, slots=True)
class DialSeen:
    """A connection from this machine to one of the ports asked about, open or not answered yet."""

    address: str
    port: int
    source_port: int
    waiting: bool | None = None  # not answered yet (SYN_SENT); None in files from before it was kept


@dataclass(frozen=True, slots=True)
class HostView:
    """The gateway's side, where the run could see it: sockets of this host, None where it could not look."""

    listeners: tuple[ListeningSocket, ...] | None = None
    # Sockets on the ports asked about whose peer is gone and whose program has not noticed
    close_wait: int | None = None
    # Dials towards these ports that are not answered. Where we waited in vain: of `dials`, if that says it of each
    syn_sent: int | None = None
    established: int | None = None  # connections that are open on that of these ports which has most, ours among them
    forwarders: tuple[Forwarder, ...] = ()  # as far as command lines tell
    # Those that somebody else made after we had dialled; known only where we waited for an answer in vain
    dials: tuple[DialSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class LogView:
    """What the log of a gateway says beside its states (Evidence.log_states).

    Times are seconds of Unix time, or as if the log's own clock were UTC: then only their differences mean something.
    """

    lines: int = 0
    known_lines: int = 0  # lines that programs of a gateway write, in one of the ways we know
    service: str = ""  # whose lines these are, in a log of several services
    has_zone: bool = False  # times are Unix time
    state_times: tuple[float | None, ...] = ()  # when each of Evidence.log_states was last seen
    last_time: float | None = None  # of the last line that has one
    starts: int = 0  # in a row, none of which is known to have come to a login, the last one included
    first_start: float | None = None  # the first of them
    ended_by: str = ""  # of the states `ended` and `start_failed`: a key of log_words.ENDS or START_FAILURES
    exit_status: int | None = None
    api_port: int | None = None  # the gateway says that its API listens there
    dialogs: tuple[str, ...] = ()  # titles of open dialogs that have no state of their own; accounts are masked
    dialog_since: float | None = None  # when the first of them opened


@dataclass(frozen=True, slots=True)
class RepairedSetting:
    """A setting whose value was not what was meant, and what was read instead."""

    origin: str  # --target, IB_HOST, IB_PORT, ...
    value: str  # as it was given, on one line and quoted
    wrong: tuple[str, ...]  # for people
    repaired: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wanted to know."""

    session: bool = True  # go on to START_API and SYNC
    client_id: int | None = None  # None: one of our own, high and unique
    timeout: float = 5.0  # seconds for the server hello and for the session, each
    configured_from: str = ""  # --target, IB_HOST, or "" when nothing was configured
    repaired: tuple[RepairedSetting, ...] = ()
    # The server versions our hello asked for; a gateway answers with none above the last, whatever it speaks itself.
    min_version: int = OUR_VERSIONS[0]
    max_version: int = OUR_VERSIONS[1]

    @property
    def as_a_client(self) -> bool:
        """Was the range of a client in question asked for, instead of ours?"""
        return (self.min_version, self.max_version) != OUR_VERSIONS

    def server_version(self, number: int, explained: bool = False) -> str:
        """What an answer with this version shows, for people (relay.wire.versions)."""
        return version_said(number, self.max_version, explained)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run. `created` is Unix time; rules that need a clock use it and no other."""

    created: float
    tool_version: str
    asked: Asked
    facts: tuple[Fact, ...] = ()
    probes: tuple[Probe, ...] = ()  # in the order of the routes
    host: HostView | None = None
    # What the gateway's log says since its last start, from gateway_log.STATES, each where it was last seen.
    log_states: tuple[str, ...] = ()
    log_tail_at: float | None = None
    schema_version: int = SCHEMA_VERSION
    gateway_log: LogView | None = None  # None: no log was given

    def fact(self, name: str) -> str | None:
        """The value of a fact; None when it is not known."""
        return next((fact.value for fact in self.facts if fact.name == name), None)


ACCOUNT = re.compile(r"\b[A-Z]{1,3}\d{5,}\b")


def without_accounts(text: str) -> str:
    """The text with every account number in it masked."""
    return ACCOUNT.sub(lambda found: mask_accounts((found[0],))[0], text)
