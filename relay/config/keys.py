"""The configuration keys: one table says what each takes, how a variable or a flag spells it, and how it is shown."""

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass

from relay.config.addresses import InvalidValue, build_allow, read_allow, read_listen, read_upstream


class Protocol(enum.StrEnum):
    IB = "ib"
    RAW = "raw"


class LogFormat(enum.StrEnum):
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Key:
    """`read` takes a TOML value and raises InvalidValue; `from_text` makes one of a variable or a flag."""

    allowed: str
    read: Callable[[object], object]
    from_text: Callable[[str], object] = str
    show: Callable[[object], str] = str


def _choice(values: type[enum.StrEnum]) -> Key:
    def read(value):
        if value not in list(values):
            raise InvalidValue(value)
        return values(value)

    return Key(" or ".join(f'"{value}"' for value in values), read)


def _number(kind: type, low: float, high: float, zero: str = "", unit: str = "") -> Key:
    """A number in a range; `zero` says what 0 means where it is allowed besides."""

    def read(value):
        if type(value) not in (int, kind) or not (low <= value <= high or (zero and value == 0)):
            raise InvalidValue(value)  # type() and not isinstance: True is an int in Python, not in a file
        return kind(value)

    def from_text(text):
        if re.fullmatch(r"[+-]?[0-9]{1,12}", text):
            return int(text)
        return float(text) if re.fullmatch(r"[+-]?[0-9]{1,12}\.[0-9]{1,12}", text) else text

    def show(value):
        return f"0 ({zero})" if zero and not value else f"{value:.12g}{unit}"

    what = {int: "a whole number", float: "a number"}[kind] + {"": "", " s": " of seconds"}.get(unit, f" of{unit}")
    return Key(f"{what} from {low} to {high}{f', or 0 ({zero})' if zero else ''}", read, from_text, show)


def _seconds(low: float, high: float, zero: str = "", kind: type = float) -> Key:
    return _number(kind, low, high, zero, unit=" s")


def _list_of(read_one: Callable[[object], object], build: Callable, allowed: str) -> Key:
    """One or several of something: a string or a list in the file, separated by commas or blanks in a text."""

    def read(value):
        items = value if isinstance(value, list) else [value]
        if not items:
            raise InvalidValue(value)
        return build(tuple(read_one(item) for item in items))

    def from_text(text):
        return [item for item in re.split(r"[,\s]+", text) if item] or text

    def show(value):
        return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return Key(f"{allowed}, or a list of these", read, from_text, show)


def _map_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9_-]{1,32}", value):
        raise InvalidValue(value)
    return value


def _log_file(value: object) -> str:
    if value == "-":
        return value
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/") or "\0" in value:
        home = isinstance(value, str) and value.startswith("~")
        raise InvalidValue(value, "~ is not expanded, a service has no home to speak of" if home else "")
    return value


def _shown_log_file(path: object) -> str:
    return "- (standard output)" if path == "-" else str(path)


def _switch() -> Key:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

    def read(value):
        if not isinstance(value, bool):
            raise InvalidValue(value)
        return value

    return Key("true or false", read, lambda text: words.get(text.lower(), text), lambda value: str(value).lower())


PORT = "PORT from 1 to 65535"
TOP_KEYS: dict[str, Key] = {
    "log_format": _choice(LogFormat),
    "log_file": Key('"-" (standard output) or an absolute path', _log_file, show=_shown_log_file),
    "log_file_size": _number(int, 1, 1024, unit=" MiB"),
    "log_interval": _seconds(0.1, 86400, zero="off"),
    "max_connections": _number(int, 1, 1_000_000, zero="from ulimit -n"),
    "survive": _switch(),
    "drain_timeout": _seconds(0.1, 3600, zero="at once"),
}
MAP_KEYS: dict[str, Key] = {
    "name": Key("1 to 32 of a-z, 0-9, _ and -", _map_name),
    "listen": _list_of(
        read_listen, tuple, f'"auto:PORT", "HOST:PORT" or "[IPv6]:PORT", {PORT}, "systemd:NAME", "launchd:NAME"'
    ),
    "upstream": Key(f'"HOST:PORT" or "[IPv6]:PORT", {PORT}', read_upstream),
    "protocol": _choice(Protocol),
    "allow": _list_of(read_allow, build_allow, '"auto", an address, a network like "192.168.1.0/24"'),
    "connect_timeout": _seconds(0.1, 300),
    "first_bytes_timeout": _seconds(0.1, 3600),
    "half_close_timeout": _seconds(0.1, 86400),
    "idle_timeout": _seconds(0.1, 604800, zero="off"),
    "flush_timeout": _seconds(0.1, 600),
    "max_per_source": _number(int, 1, 1_000_000, zero="off"),
    "keepalive_idle": _seconds(1, 7200, zero="off", kind=int),
    "keepalive_interval": _seconds(1, 7200, kind=int),
    "keepalive_count": _number(int, 1, 127),  # Linux' own limit (MAX_TCP_KEEPCNT)
    "user_timeout": _seconds(1, 3600, zero="off"),
}
