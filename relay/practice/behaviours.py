"""The table of named behaviours: every way the practice gateway can treat a client, healthy or not.

A behaviour departs from a healthy gateway at one moment of a session's life and is healthy before it:

    LISTEN        the port itself
    ACCEPT        a client has connected, nothing was read
    FIRST_BYTES   the client has sent something, whatever it is
    HELLO         the client's hello is complete, the gateway's own is due
    START_API     START_API is in: accounts, next valid id and notices are due
    SESSION       ready, requests are being answered

The behaviour itself is code (faults.py, session.py, gateway.py). Its name and the meaning of its value are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Moment(Enum):
    """When a behaviour first differs from a healthy gateway."""

    NEVER = "never"
    LISTEN = "listen"
    ACCEPT = "accept"
    FIRST_BYTES = "first bytes"
    HELLO = "hello"
    START_API = "START_API"
    SESSION = "session"


class Parameter(Enum):
    """What the VALUE of `NAME=VALUE` means; the member's value is its name in help texts."""

    SECONDS = "SECONDS"
    PER_SECOND = "PER_SECOND"
    COUNT = "N"
    ADDRESS = "HOST:PORT"
    CODE = "CODE"
    LANGUAGE = "LANGUAGE"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One row of the table: `parameter` is None if the behaviour takes no value, `default` None if it must be given."""

    name: str
    moment: Moment
    summary: str
    parameter: Parameter | None = None
    default: float | str | None = None
    composable: bool = False  # may be played together with one other that is not, and with any that are

    @property
    def usage(self) -> str:
        """How it is typed: `slow-sync[=SECONDS]`."""
        if self.parameter is None:
            return self.name
        value = f"={self.parameter.value}"
        return self.name + (value if self.default is None else f"[{value}]")


_SECONDS, _COUNT = Parameter.SECONDS, Parameter.COUNT

_TABLE = (
    Behaviour("normal", Moment.NEVER, "healthy: answers everything it knows, four ticks a second per subscription"),
    Behaviour(
        "ticks", Moment.NEVER, "healthy, with this many ticks a second per subscription", Parameter.PER_SECOND, 1000.0
    ),
    Behaviour(
        "wedged",
        Moment.LISTEN,
        "listens and never accepts: connects succeed until the small backlog is full, then time out",
    ),
    Behaviour(
        "close", Moment.ACCEPT, "closes (FIN) every connection before a byte is said: an untrusted source address"
    ),
    Behaviour(
        "reset", Moment.ACCEPT, "resets (RST) every connection before a byte is said: a gateway that is initialising"
    ),
    Behaviour(
        "fail-first",
        Moment.ACCEPT,
        "closes the first N connections before the hello, then is healthy",
        Parameter.COUNT,
        1.0,
    ),
    Behaviour(
        "client-limit",
        Moment.ACCEPT,
        "closes every connection beyond N that are open at the same time",
        Parameter.COUNT,
        32.0,
    ),
    Behaviour("silent", Moment.ACCEPT, "accepts, reads, never says a word: an accept dialog nobody answers"),
    Behaviour("garbage", Moment.ACCEPT, "says random bytes that are no frame of any kind"),
    Behaviour("ssh", Moment.ACCEPT, "is an SSH server: banner at accept, closes at the first bytes"),
    Behaviour("http", Moment.FIRST_BYTES, "is an HTTP server: 400 Bad Request to the first bytes, then closes"),
    Behaviour("tls", Moment.FIRST_BYTES, "is a TLS server: a fatal alert to the first bytes, then closes"),
    Behaviour("close-after-hello", Moment.HELLO, "answers the hello, then closes (FIN)"),
    Behaviour("reset-after-hello", Moment.HELLO, "answers the hello, then resets (RST)"),
    Behaviour(
        "silent-after-hello", Moment.HELLO, "answers the hello, then never reads or writes again: hung, but connected"
    ),
    Behaviour(
        "hello-dribbled",
        Moment.HELLO,
        "its hello comes byte by byte, SECONDS apart (the official Python client hangs on it)",
        Parameter.SECONDS,
        0.005,
    ),
    Behaviour(
        "hello-glued",
        Moment.HELLO,
        "hello, accounts, next id and notices in one write (the official Python client loses all but the hello)",
    ),
    Behaviour("oversize-frame", Moment.HELLO, "answers the hello with a frame length of 0x7fffffff, then waits"),
    Behaviour("redirect", Moment.HELLO, "answers the hello with a redirect to another gateway", Parameter.ADDRESS),
    Behaviour("start-api-ignored", Moment.START_API, "reads START_API and everything after it, answers nothing"),
    Behaviour("close-on-start-api", Moment.START_API, "closes (FIN) on START_API without a word: the API is not ready"),
    Behaviour(
        "client-id-in-use",
        Moment.START_API,
        "error 326 to every client id, then closes (in every behaviour: to the second live user of an id)",
    ),
    Behaviour("no-accounts", Moment.START_API, "the account list never comes"),
    Behaviour("empty-accounts", Moment.START_API, "the account list comes and is empty"),
    Behaviour("no-next-id", Moment.START_API, "the next valid order id never comes"),
    Behaviour(
        "farms-broken",
        Moment.START_API,
        "ready, but every data farm is reported broken (2103, 2105, 2157); no market or historical data",
    ),
    Behaviour(
        "offline",
        Moment.START_API,
        "ready, but cut off from IB: 2110, all farms broken, 1100; no market or historical data",
    ),
    Behaviour(
        "outage",
        Moment.SESSION,
        "1100 (IB lost) 50 ms after a session became ready, 1102 (back, data kept) SECONDS later",
        Parameter.SECONDS,
        10.0,
    ),
    Behaviour(
        "slow-sync",
        Moment.SESSION,
        "positions, orders, account data and executions come SECONDS late",
        Parameter.SECONDS,
        5.0,
    ),
    Behaviour(
        "session-close", Moment.SESSION, "closes (FIN) SECONDS after a session became ready", Parameter.SECONDS, 1.0
    ),
    Behaviour(
        "session-reset",
        Moment.SESSION,
        "resets (RST) SECONDS after a session became ready: the nightly reset",
        Parameter.SECONDS,
        1.0,
    ),
    Behaviour(
        "session-stall",
        Moment.SESSION,
        "stops reading and writing SECONDS after a session became ready, stays connected",
        Parameter.SECONDS,
        1.0,
    ),
    Behaviour(
        "truncated-frame",
        Moment.SESSION,
        "sends half a frame SECONDS after a session became ready, then closes",
        Parameter.SECONDS,
        1.0,
    ),
    Behaviour(
        "pacing", Moment.SESSION, "more than N messages within a second: error 100, then closes", Parameter.COUNT, 50.0
    ),
    Behaviour(
        "restart",
        Moment.SESSION,
        "one second after the first session became ready: all cut, the port refuses for SECONDS, then healthy",
        Parameter.SECONDS,
        5.0,
    ),
    Behaviour(
        "slow-hello", Moment.HELLO, "its hello comes SECONDS late, whoever has left by then", _SECONDS, 5.0, True
    ),
    Behaviour("slow-start-api", Moment.START_API, "the answer to START_API comes SECONDS late", _SECONDS, 5.0, True),
    Behaviour("live-account", Moment.START_API, "the account is a live one, U1234567", composable=True),
    Behaviour(
        "fa-accounts", Moment.START_API, "an adviser's login: its account F1234567 and N others", _COUNT, 3.0, True
    ),
    Behaviour(
        "accounts-swapped",
        Moment.START_API,
        "every second session is given other accounts: live for paper, paper for live",
        composable=True,
    ),
    Behaviour(
        "order-ids-back",
        Moment.START_API,
        "each session's next valid order id is 100 below that of the session before, from 1001 down to 1",
        composable=True,
    ),
    Behaviour(
        "id-closing",
        Moment.START_API,
        "a client id stays taken (error 326) for SECONDS after the client that had it has left",
        _SECONDS,
        5.0,
        True,
    ),
    Behaviour(
        "outage-after",
        Moment.SESSION,
        "1100 (IB lost) SECONDS after a session became ready, 1102 (back, data kept) as long after that",
        _SECONDS,
        5.0,
        True,
    ),
    Behaviour(
        "not-entitled",
        Moment.SESSION,
        "a request for market data gets error CODE and no ticks: 354, 10089, 10090, 10091 or 10168",
        Parameter.CODE,
        "354",
        True,
    ),
    Behaviour(
        "localised",
        Moment.START_API,
        "error texts in LANGUAGE, es or zh, as far as there are words; at 153 and above as \\u escapes",
        Parameter.LANGUAGE,
        "es",
        True,
    ),
)

BEHAVIOURS: dict[str, Behaviour] = {behaviour.name: behaviour for behaviour in _TABLE}

# An upper bound for every number, so that a slip of the finger is an error and not a process that eats the machine: an
# hour for times, 32 times the real client limit for counts, and for ticks the most that a stream can send
# (subscriptions.MAX_BATCH).
_LARGEST = {Parameter.SECONDS: 3600.0, Parameter.COUNT: 1024.0, Parameter.PER_SECOND: 200_000.0}

_CHOICES = {Parameter.CODE: ("354", "10089", "10090", "10091", "10168"), Parameter.LANGUAGE: ("es", "zh")}


def parse_behaviour(text: str) -> tuple[str, float | str | None]:
    """`NAME` or `NAME=VALUE` as name and value, the default value where none was written.

    Raises ValueError with a text for the person who typed it.
    """
    name, equals, value = text.strip().partition("=")
    behaviour = BEHAVIOURS.get(name)
    if behaviour is None:
        raise ValueError(f"unknown behaviour {name!r}; known: {', '.join(BEHAVIOURS)}")
    if not equals:
        return name, check_value(behaviour, None)
    if behaviour.parameter is None:
        raise ValueError(f"behaviour {name} takes no value, {value!r} was given")
    return name, check_value(behaviour, value)


def parse_behaviours(text: str) -> tuple[tuple[str, float | str | None], ...]:
    """`NAME[=VALUE]+NAME[=VALUE]...` as names and values, what cannot be composed first; ValueError as above."""
    parsed = [parse_behaviour(part) for part in text.split("+")]
    names = [name for name, _ in parsed]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"behaviour {name} is given twice")
    alone = [name for name in names if not BEHAVIOURS[name].composable]
    if len(alone) > 1:
        raise ValueError(f"behaviours {' and '.join(alone)} cannot be played together")
    return tuple(sorted(parsed, key=lambda one: BEHAVIOURS[one[0]].composable))


def check_value(behaviour: Behaviour, value: float | str | None) -> float | str | None:
    """The value a behaviour will use, `value` or its default; ValueError if it cannot use that."""
    if value is None:
        value = behaviour.default
    parameter = behaviour.parameter
    if parameter is None:
        if value is not None:
            raise ValueError(f"behaviour {behaviour.name} takes no value, {value!r} was given")
        return None
    if value is None:
        raise ValueError(f"behaviour {behaviour.name} needs a value: {behaviour.usage}")
    if parameter is Parameter.ADDRESS:
        return _address(behaviour, str(value))
    if parameter in _CHOICES:
        return _choice(behaviour, _CHOICES[parameter], str(value))
    return _number(behaviour, parameter, value)


def _choice(behaviour: Behaviour, choices: tuple[str, ...], value: str) -> str:
    if value not in choices:
        raise ValueError(f"behaviour {behaviour.name}: {value!r} is none of {', '.join(choices)}")
    return value


def _address(behaviour: Behaviour, value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "\0" in host:
        raise ValueError(f"behaviour {behaviour.name}: {value!r} is not HOST:PORT")
    return value


def _number(behaviour: Behaviour, parameter: Parameter, value: float | str) -> float:
    largest = _LARGEST[parameter]
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"behaviour {behaviour.name}: {value!r} is not a number ({behaviour.usage})") from None
    if not 0 <= number <= largest:
        raise ValueError(f"behaviour {behaviour.name}: {value} is not between 0 and {largest:g} ({behaviour.usage})")
    if parameter is Parameter.COUNT and number != int(number):
        raise ValueError(f"behaviour {behaviour.name}: {value} is not a whole number ({behaviour.usage})")
    return number
