"""The configuration keys: one table says what each takes, how a variable or a flag spells it, and how it is shown."""

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from relay.config.addresses import InvalidValue, build_allow, read_allow, read_listen, read_network, read_upstream

T = TypeVar("T")
Item = TypeVar("Item")
Value_co = TypeVar("Value_co", covariant=True)
NumberType = TypeVar("NumberType", int, float)
Choice = TypeVar("Choice", bound=enum.StrEnum)


class Protocol(enum.StrEnum):
    IB = "ib"
    RAW = "raw"


class LogFormat(enum.StrEnum):
    TEXT = "text"
    JSON = "json"


class Latency(enum.StrEnum):
    ADAPTIVE = "adaptive"
    OFF = "off"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Key(Generic[Value_co]):
    """`read` takes a TOML value and raises InvalidValue; `from_text` makes such a value of a variable or a flag.

    `allowed` and `meaning` are for people: what an error says, and what README's table says.
    """

    name: str
    allowed: str
    read: Callable[[object], Value_co]
    from_text: Callable[[str], object] = str
    show: Callable[[object], str] = str
    meaning: str = ""


def _choice(name: str, choices: type[Choice], *, meaning: str) -> Key[Choice]:
    def read(value: object) -> Choice:
        if not isinstance(value, str) or value not in list(choices):
            raise InvalidValue(value)
        return choices(value)

    return Key(name, " or ".join(f'"{choice}"' for choice in choices), read, meaning=meaning)


def _number(
    name: str, kind: type[NumberType], low: float, high: float, zero: str = "", unit: str = "", *, meaning: str
) -> Key[NumberType]:
    """A number in a range; `zero` says what 0 means if it is allowed besides."""

    def read(value: object) -> NumberType:
        if isinstance(value, bool) or not isinstance(value, (int, kind)):  # True is an int in Python, not in a file
            raise InvalidValue(value)
        if not (low <= value <= high or (zero and value == 0)):
            raise InvalidValue(value)
        return kind(value)

    def from_text(text: str) -> object:
        if re.fullmatch(r"[+-]?[0-9]{1,12}", text):
            return int(text)
        return float(text) if re.fullmatch(r"[+-]?[0-9]{1,12}\.[0-9]{1,12}", text) else text

    def show(value: object) -> str:
        return f"0 ({zero})" if zero and not value else f"{value:.12g}{unit}"

    whole = "a whole number" if kind is int else "a number"
    of_what = {"": "", " s": " of seconds"}.get(unit, f" of{unit}")
    or_zero = f", or 0 ({zero})" if zero else ""
    return Key(name, f"{whole}{of_what} from {low} to {high}{or_zero}", read, from_text, show, meaning)


def _seconds(name: str, low: float, high: float, zero: str = "", *, meaning: str) -> Key[float]:
    return _number(name, float, low, high, zero, unit=" s", meaning=meaning)


def _whole_seconds(name: str, low: int, high: int, zero: str = "", *, meaning: str) -> Key[int]:
    return _number(name, int, low, high, zero, unit=" s", meaning=meaning)


def _list_of(
    name: str,
    read_item: Callable[[object], Item],
    build: Callable[[tuple[Item, ...]], T],
    allowed: str,
    *,
    meaning: str,
) -> Key[T]:
    """One or several items: a string or a list in the file, separated by commas or blanks in a text."""

    def read(value: object) -> T:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise InvalidValue(value)
        return build(tuple(read_item(item) for item in items))

    def from_text(text: str) -> object:
        return [item for item in re.split(r"[,\s]+", text) if item] or text

    def show(value: object) -> str:
        return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return Key(name, f"{allowed}, or a list of these", read, from_text, show, meaning)


def _list_or_none(
    name: str, read_item: Callable[[object], Item], allowed: str, *, meaning: str
) -> Key[tuple[Item, ...]]:
    """As _list_of; "none" is the empty list."""
    some: Key[tuple[Item, ...]] = _list_of(name, read_item, tuple, allowed, meaning=meaning)

    def read(value: object) -> tuple[Item, ...]:
        return () if value in ("none", ["none"]) else some.read(value)

    def show(value: object) -> str:
        return some.show(value) or "none"

    return Key(name, f'"none", {some.allowed}', read, some.from_text, show, meaning)


def _read_map_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9_-]{1,32}", value):
        raise InvalidValue(value)
    return value


def _read_log_file(value: object) -> str:
    if value == "-":
        return "-"
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/") or "\0" in value:
        home = isinstance(value, str) and value.startswith("~")
        raise InvalidValue(value, "~ is not expanded, a service has no home to speak of" if home else "")
    return value


def _show_log_file(path: object) -> str:
    return "- (standard output)" if path == "-" else str(path)


def _switch(name: str, *, meaning: str) -> Key[bool]:
    spellings = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise InvalidValue(value)
        return value

    def from_text(text: str) -> object:
        return spellings.get(text.lower(), text)

    return Key(name, "true or false", read, from_text, lambda value: str(value).lower(), meaning)


ADDRESS = '"HOST:PORT" or "[IPv6]:PORT", PORT from 1 to 65535'

LOG_FORMAT = _choice("log_format", LogFormat, meaning="lines for people, or one JSON object a line")
LOG_FILE = Key(
    "log_file",
    '"-" (standard output) or an absolute path',
    _read_log_file,
    show=_show_log_file,
    meaning="where the log goes",
)
LOG_FILE_SIZE = _number(
    "log_file_size", int, 1, 1024, unit=" MiB", meaning="size of the log file; four older ones are kept"
)
LOG_INTERVAL = _seconds("log_interval", 0.1, 86400, zero="off", meaning="between the lines of a connection that lives")
MAX_CONNECTIONS = _number(
    "max_connections",
    int,
    1,
    1_000_000,
    zero="from ulimit -n",
    meaning="most connections of all maps at one time; 0 is at most 512 in a service",
)
LATENCY = _choice(
    "latency",
    Latency,
    meaning="adaptive looks for the next bytes without sleeping where they come soon; always costs a whole core",
)
SURVIVE = _switch("survive", meaning="sessions outlive the relay's process where a manager keeps their sockets")
FOLLOW_BRIDGES = _list_or_none(
    "follow_bridges",
    read_network,
    'a network like "172.16.0.0/12"',
    meaning="set by a service's unit: container bridges in these networks are listened on, too, whenever they come",
)
DRAIN_TIMEOUT = _seconds(
    "drain_timeout", 0.1, 3600, zero="at once", meaning="for the sessions to end by themselves at a stop"
)

NAME = Key(
    "name", "1 to 32 of a-z, 0-9, _ and -", _read_map_name, meaning="of the map, in the log; to be given in `[[map]]`"
)
LISTEN = _list_of(
    "listen",
    read_listen,
    tuple,
    f'"auto:PORT", {ADDRESS}, "systemd:NAME", "launchd:NAME"',
    meaning="where clients come in; auto is loopback and the container bridges",
)
UPSTREAM = Key("upstream", ADDRESS, read_upstream, meaning="the gateway")
PROTOCOL = _choice("protocol", Protocol, meaning="raw dials on accept and looks at nothing")
ALLOW = _list_of(
    "allow",
    read_allow,
    build_allow,
    '"auto", an address, a network like "192.168.1.0/24"',
    meaning="clients that are let in; auto is this machine and the subnets of the container bridges",
)
CONNECT_TIMEOUT = _seconds("connect_timeout", 0.1, 300, meaning="for the gateway to take the connection")
FIRST_BYTES_TIMEOUT = _seconds(
    "first_bytes_timeout", 0.1, 3600, meaning="for the client's hello to be complete (`ib` maps)"
)
HALF_CLOSE_TIMEOUT = _seconds(
    "half_close_timeout", 0.1, 86400, meaning="silence of one side after the other has finished"
)
IDLE_TIMEOUT = _seconds("idle_timeout", 0.1, 604800, zero="off", meaning="no byte moves either way, and none waits")
FLUSH_TIMEOUT = _seconds("flush_timeout", 0.1, 600, meaning="to deliver what was read before an abort is passed on")
MAX_PER_SOURCE = _number(
    "max_per_source", int, 1, 1_000_000, zero="off", meaning="most connections of one client address at one time"
)
KEEPALIVE_IDLE = _whole_seconds(
    "keepalive_idle", 1, 7200, zero="off", meaning="silence before the kernel asks whether a side still exists"
)
KEEPALIVE_INTERVAL = _whole_seconds("keepalive_interval", 1, 7200, meaning="between these questions")
# Linux' own limit (MAX_TCP_KEEPCNT)
KEEPALIVE_COUNT = _number(
    "keepalive_count", int, 1, 127, meaning="questions without an answer until a side counts as dead"
)
USER_TIMEOUT = _seconds(
    "user_timeout", 1, 3600, zero="off", meaning="data without an acknowledgement until a side counts as dead"
)


def _by_name(*keys: Key[object]) -> dict[str, Key[object]]:
    return {key.name: key for key in keys}


TOP_KEYS = _by_name(
    *(LOG_FORMAT, LOG_FILE, LOG_FILE_SIZE, LOG_INTERVAL),
    *(MAX_CONNECTIONS, LATENCY, SURVIVE, FOLLOW_BRIDGES, DRAIN_TIMEOUT),
)
MAP_KEYS = _by_name(
    *(NAME, LISTEN, UPSTREAM, PROTOCOL, ALLOW),
    *(CONNECT_TIMEOUT, FIRST_BYTES_TIMEOUT, HALF_CLOSE_TIMEOUT, IDLE_TIMEOUT, FLUSH_TIMEOUT),
    MAX_PER_SOURCE,
    *(KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT, USER_TIMEOUT),
)
