"""What is played and what must come of it: one Play for each behaviour of the practice gateway.

Each row says where a client fails when nothing stands between it and the gateway (None: it does not fail), and
how the relay's close record must describe the very same session. Sources of the expectations: the libraries' code,
confirmed by running all seven; where families of clients differ for a reason of their own, the row names the family.
"""

import dataclasses
import enum
from collections.abc import Mapping

from tests.peers.clients import Kind

IB_ASYNC, IBAPI, STOQEY = Kind.IB_ASYNC, Kind.IBAPI, Kind.STOQEY
STEP_TIMEOUT = 1.5  # seconds a client waits for each step; a healthy step takes 0.05
DEADLINE = 12.0  # seconds for a whole session; slow-sync, the longest, takes 5
TICK_RATE = 20.0  # a second; the default of 4 would make every run wait for its ticks


class Occupant(enum.Enum):
    """Who else is connected to the gateway before the client comes."""

    SAME_ID = "same id"
    OTHER_ID = "other id"


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """What the close record says; two stages where the last message and the end can overtake each other."""

    stages: frozenset[str]
    by: str
    how: str
    phase: str
    reason: str
    last_error_code: int | None = None


def end(stages, by, how, phase, reason, last_error_code=None):
    """An End; several stages are separated by blanks."""
    return End(frozenset(stages.split()), by, how, phase, reason, last_error_code)


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """One session of the client. `fails` and `ends` give one value for all, or a mapping with the family as key."""

    fails: object = None
    ends: object = None
    errors: frozenset[int] = frozenset()  # codes the client must have been given
    told: bool = False  # the client must have been told that the connection ended
    repaired: frozenset[Kind] = frozenset()  # fails without the relay, is healthy with it
    either: frozenset[str] = frozenset()  # fields of Got that a race may decide either way, relay or not
    watch: float = 0.0  # seconds the client stays after its last step, to see the gateway leave
    wait_for_gateway: bool = False  # start it when the gateway listens again
    accounts: tuple[str, ...] = ("DU1234567",)  # what a healthy client is given, and its next valid order id
    order_id: int = 1

    def fails_at(self, client):
        """The stages of which the client must miss one, empty for none."""
        stages = _for(client, self.fails)
        return frozenset(stages.split()) if stages else frozenset()

    def end_for(self, client):
        return _for(client, self.ends)


def _for(client, value):
    """A value for all, or by family, or (stronger) by client name; the key None is for the rest."""
    if not isinstance(value, Mapping):
        return value
    for key in (client.name, client.kind, None):
        if key in value:
            return value[key]
    raise KeyError(client.name)


@dataclasses.dataclass(frozen=True, slots=True)
class Play:
    """A behaviour, how the clients are sent at it, and what must come of each session in turn."""

    behaviour: str
    sessions: tuple[Session, ...]
    value: object = None  # of the behaviour; None is its default
    label: str = ""
    task: Mapping = dataclasses.field(default_factory=dict)
    occupant: Occupant | None = None
    ticks_per_second: float = TICK_RATE
    relay_environment: Mapping = dataclasses.field(default_factory=dict)

    @property
    def name(self):
        return self.label or self.behaviour


# How sessions end, as the relay must tell it.

LEFT = end("ready", "client", "fin", "data", "client_closed")
GAVE_UP_ON_HELLO = end("client_hello", "client", "fin", "handshake", "client_left_in_handshake")
GAVE_UP_ON_READY = end("start_api", "client", "fin", "handshake", "client_left_in_handshake")
GAVE_UP_ON_NOISE = end("opaque", "client", "fin", "handshake", "client_closed")
NOT_A_GATEWAY = end("opaque", "upstream", "fin", "handshake", "upstream_closed")
SHUT_AT_HELLO = end("client_hello", "upstream", "fin", "handshake", "upstream_closed")
SHUT_AT_START_API = end("start_api", "upstream", "fin", "handshake", "upstream_closed")
ID_IN_USE = end("start_api", "upstream", "fin", "handshake", "upstream_closed", 326)
SHUT_IN_SESSION = end("ready", "upstream", "fin", "data", "upstream_closed")
# The client's START_API may or may not have passed when the gateway's end is read.
SHUT_AFTER_HELLO = end("server_hello start_api", "upstream", "fin", "handshake", "upstream_closed")
RESET_AFTER_HELLO = end("server_hello start_api", "upstream", "rst", "handshake", "upstream_reset")
RESET_AT_HELLO = end("client_hello", "upstream", "rst", "handshake", "upstream_reset")
RESET_IN_SESSION = end("ready", "upstream", "rst", "data", "upstream_reset")
STALLED = end("ready", "relay", "timeout", "half_closed", "half_close_timeout")
PACED = end("ready", "upstream", "fin", "data", "upstream_closed", 100)
# The hello of the client had nobody to go to.
REFUSED = end("client_hello", "upstream", "rst", "connect", "connection_refused")

ERRORS_MAY_DIFFER = frozenset({"errors"})  # 502 or 504 when the library was about to write as the end came
FAILURES_MAY_DIFFER = frozenset({"failed_at", "failed_how", "errors", "told_disconnected"})
SHUT = Session("hello", SHUT_AT_HELLO, either=frozenset({"errors", "failed_how"}))
HEALTHY = Session(ends=LEFT)
NO_HELLO = Session(fails="hello", ends=GAVE_UP_ON_HELLO)
NOT_READY = Session(fails="ready", ends=GAVE_UP_ON_READY)
ID_TAKEN = Session("ready", ID_IN_USE, errors=frozenset({326}))
PACING = Session("burst", PACED, errors=frozenset({100}), told=True, watch=2.0, either=ERRORS_MAY_DIFFER)
STALL_SOON = {"IB_RELAY_HALF_CLOSE_TIMEOUT": "1"}
# Cut one second after ready; refused while it is down, which only a client without a relay is told at once
# (it has connected to the relay); healthy again when it is back.
RESTART = (
    Session(None, SHUT_IN_SESSION, told=True, watch=4.0),
    Session("connect hello", REFUSED, either=FAILURES_MAY_DIFFER),
    dataclasses.replace(HEALTHY, wait_for_gateway=True),
)

PLAYS = (
    Play("normal", (HEALTHY,)),
    Play("ticks", (HEALTHY,), value=500.0, task={"ticks": 400}),
    Play("silent", (NO_HELLO,)),
    Play("wedged", (NO_HELLO,)),
    Play("close", (SHUT,)),
    # A reset can beat the client's own connect call (ib_*), or its hello.
    Play("reset", (Session("connect hello", RESET_AT_HELLO, either=FAILURES_MAY_DIFFER),)),
    Play("fail-first", (SHUT, HEALTHY)),
    Play("client-limit", (SHUT,), value=1, occupant=Occupant.OTHER_ID),
    Play("garbage", (Session("hello", GAVE_UP_ON_NOISE),)),
    Play("http", (Session("hello", NOT_A_GATEWAY),)),
    Play("tls", (Session("hello", NOT_A_GATEWAY),)),
    Play("ssh", (Session("hello", NOT_A_GATEWAY),)),
    Play("close-after-hello", (Session("ready", SHUT_AFTER_HELLO, either=ERRORS_MAY_DIFFER),)),
    Play("reset-after-hello", (Session("ready", RESET_AFTER_HELLO, either=ERRORS_MAY_DIFFER),)),
    Play("silent-after-hello", (NOT_READY,)),
    Play("hello-dribbled", (Session({IBAPI: "hello", None: None}, LEFT, repaired=frozenset({IBAPI})),)),
    Play("hello-glued", (Session({IBAPI: "ready", None: None}, LEFT, repaired=frozenset({IBAPI})),)),
    Play("oversize-frame", (Session("hello", GAVE_UP_ON_NOISE),)),
    # No library follows a redirect; the official one takes "-1" for the server version and waits.
    Play("redirect", (Session({IBAPI: "ready", None: "hello"}, GAVE_UP_ON_HELLO),), value="127.0.0.1:4999"),
    Play("start-api-ignored", (NOT_READY,)),
    Play("close-on-start-api", (Session("ready", SHUT_AT_START_API),)),
    Play("client-id-in-use", (ID_TAKEN,)),
    Play("normal", (ID_TAKEN,), label="second-user-of-id", occupant=Occupant.SAME_ID),
    Play("no-accounts", (NOT_READY,)),
    Play("empty-accounts", (NOT_READY,)),
    Play("no-next-id", (NOT_READY,)),
    Play("farms-broken", (Session("bars", LEFT, errors=frozenset({2103, 2105, 2157})),)),
    Play("offline", (Session("bars", LEFT, errors=frozenset({1100, 2110})),)),
    Play("outage", (Session(ends=LEFT, errors=frozenset({1100})),)),
    # Longer than both time-outs of the ib_* libraries: ib_insync gives up, ib_async carries on without.
    Play("slow-sync", (Session({"ib_insync": "sync", None: None}, LEFT),), value=4.0),
    Play("session-close", (Session(None, SHUT_IN_SESSION, told=True, watch=4.0),), value=2.0),
    Play("session-reset", (Session(None, RESET_IN_SESSION, told=True, watch=4.0),), value=2.0),
    Play("session-stall", (Session(None, STALLED, watch=3.0),), value=2.0, relay_environment=STALL_SOON),
    Play("truncated-frame", (Session(None, SHUT_IN_SESSION, told=True, watch=4.0),), value=2.0),
    Play("pacing", (PACING,), task={"burst": 80}),
    Play("restart", RESTART, value=2.0),
    # Shorter than the time a client waits for a step.
    Play("slow-hello", (HEALTHY,), value=0.7),
    Play("slow-start-api", (HEALTHY,), value=0.7),
    Play("live-account", (dataclasses.replace(HEALTHY, accounts=("U1234567",)),)),
    Play("fa-accounts", (dataclasses.replace(HEALTHY, accounts=("F1234567", "U1234568", "U1234569")),), value=2),
    Play("accounts-swapped", (HEALTHY, dataclasses.replace(HEALTHY, accounts=("U7654321",)))),
    Play("order-ids-back", tuple(dataclasses.replace(HEALTHY, order_id=order_id) for order_id in (1001, 901))),
    Play("id-closing", (HEALTHY, ID_TAKEN), value=60.0),
    Play("outage-after", (Session(ends=LEFT, errors=frozenset({1100}), watch=1.0),), value=1.0),
    Play("not-entitled", (Session("ticks", LEFT, errors=frozenset({354})),)),
    Play("localised", (HEALTHY,)),
)
