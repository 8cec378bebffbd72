"""The configuration: TOML file, environment and flags in, one frozen Config out, with the origin of every value.

Flags override IB_RELAY_* variables, variables override the file, and the file overrides the defaults below. Every value
is checked, even if another value overrides it: a wrong line in the file is an error on the day it is written. IB_HOST
and IB_PORT are never read: they belong to the client and name this relay, which would then dial itself. keys.py has the
values that each key takes. Pure; files.py reads the file.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from relay.config import keys
from relay.config.addresses import Allow, InvalidValue, Listen, Network, Upstream, collapsed, overlap, reaches
from relay.config.keys import MAP_KEYS, TOP_KEYS, Key, Latency, LogFormat, Protocol
from relay.printable import printable

PREFIX = "IB_RELAY_"
FILE_VARIABLE = "IB_RELAY_CONFIG"
MAX_FILE = 1 << 20  # bytes; a real file has a few hundred, anything like this is the wrong file
NO_FILE = "(no file)"
DEFAULT, FILE = "default", "file"  # origins; all others are the name of a variable or a flag

T = TypeVar("T")


class ConfigError(Exception):
    """One line: the file, variable or flag, the key, the value seen, and what is allowed."""


@dataclass(frozen=True, slots=True)
class PortMap:
    """One `listen -> upstream` pair; times are seconds."""

    name: str = "default"
    listen: tuple[Listen, ...] = (Listen("auto", 4003),)  # the port the IB container images show to the outside
    upstream: Upstream = Upstream("127.0.0.1", 4002)  # IB Gateway's paper port; trading live takes a decision
    protocol: Protocol = Protocol.IB
    allow: Allow = Allow()
    connect_timeout: float = 5.0  # a wedged gateway lets SYNs drop; the kernel alone would try for two minutes
    first_bytes_timeout: float = 10.0  # an IB client speaks at once; a port scan or a health check does not
    half_close_timeout: float = 30.0  # of silence; without a bound half-closed sessions pile up for ever
    idle_timeout: float = 0.0  # off: an API session may be silent all weekend
    flush_timeout: float = 10.0  # for the delivery of bytes that were read, before a reset is passed on
    max_per_source: int = 0  # off: all containers behind one bridge address may be one source
    keepalive_idle: int = 15  # 15 + 4 x 5 = 35 s until a vanished idle peer is noticed; we promise 45 s
    keepalive_interval: int = 5
    keepalive_count: int = 4
    user_timeout: float = 30.0  # unacknowledged data: keep-alive never fires while data is in flight


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of a relay."""

    log_format: LogFormat = LogFormat.TEXT
    log_file: str = "-"
    log_file_size: int = 10  # MiB; four old files are kept beside it, so 50 MiB in all
    log_interval: float = 60.0  # seconds between the progress records of a live connection
    max_connections: int = 0  # as the open-files limit allows
    latency: Latency = Latency.ADAPTIVE
    survive: bool = True  # sessions outlive this process where the service manager can keep them
    follow_bridges: tuple[Network, ...] = ()  # where a service manager's sockets stand instead of `listen`
    drain_timeout: float = 10.0  # seconds live sessions get after SIGTERM
    maps: tuple[PortMap, ...] = (PortMap(),)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A Config and its sources: `origins` has an entry for each key ("log_format", "paper.listen")."""

    config: Config
    origins: Mapping[str, str]
    file: str | None = None
    file_origin: str = DEFAULT  # how the file was found: --config, IB_RELAY_CONFIG, or default (a standard place)
    warnings: tuple[str, ...] = ()


def load(file_text: bytes | None, file_name: str, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """Check and join the values of file, environment and flags; ConfigError names the first mistake.

    `flags` maps keys to the typed text ("listen": "127.0.0.1:4003"); None and () mean not given.
    """
    shown = clipped(file_name, 200)
    top, tables = _from_file(file_text, shown)
    for origin, name, value in _from_environment(environ) + _from_flags(flags):
        if name in MAP_KEYS and len(tables) > 1:
            maps = ", ".join(_value(table, keys.NAME, "") for table in tables)
            raise ConfigError(f"{origin}: seen with the maps {maps}; allowed: {name} in their tables in {shown}")
        target = top if name in TOP_KEYS else tables[0]
        target[name] = _checked(_key(name), value, origin, origin)
    port_maps = tuple(_port_map(table) for table in tables)
    origins = {name: top[name].origin if name in top else DEFAULT for name in TOP_KEYS}
    for port_map, table in zip(port_maps, tables, strict=True):
        for name in MAP_KEYS:
            origins[f"{port_map.name}.{name}"] = table[name].origin if name in table else DEFAULT
    _check_together(port_maps, origins, shown)
    file = file_name if file_text is not None else None
    return Loaded(_config(top, port_maps), origins, file, warnings=_warnings(port_maps))


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Rows (key, value, origin) of all values in force; the second and later items of a list have an empty key."""
    rows = [("config", loaded.file or NO_FILE, loaded.file_origin)]
    shown = [(name, key.show(getattr(loaded.config, name))) for name, key in TOP_KEYS.items()]
    for port_map in loaded.config.maps:
        shown += [(f"{port_map.name}.{name}", key.show(getattr(port_map, name))) for name, key in MAP_KEYS.items()]
    for full_name, value in shown:
        first, *others = value.split(", ")
        rows.append((full_name, first, loaded.origins[full_name]))
        rows += [("", other, "") for other in others]
    return rows


def aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    """The rows as lines, each column as wide as its widest entry."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}".rstrip() for key, value, origin in rows]


# The three sources.


@dataclass(frozen=True, slots=True)
class _ConfiguredValue:
    """A value as it was written, already checked, and its origin."""

    value: object
    origin: str


_Table = dict[str, _ConfiguredValue]  # by name of the key


def _value(table: _Table, key: Key[T], default: T) -> T:
    return key.read(table[key.name].value) if key.name in table else default


def _config(table: _Table, maps: tuple[PortMap, ...]) -> Config:
    default = Config()
    return Config(
        log_format=_value(table, keys.LOG_FORMAT, default.log_format),
        log_file=_value(table, keys.LOG_FILE, default.log_file),
        log_file_size=_value(table, keys.LOG_FILE_SIZE, default.log_file_size),
        log_interval=_value(table, keys.LOG_INTERVAL, default.log_interval),
        max_connections=_value(table, keys.MAX_CONNECTIONS, default.max_connections),
        latency=_value(table, keys.LATENCY, default.latency),
        survive=_value(table, keys.SURVIVE, default.survive),
        follow_bridges=_value(table, keys.FOLLOW_BRIDGES, default.follow_bridges),
        drain_timeout=_value(table, keys.DRAIN_TIMEOUT, default.drain_timeout),
        maps=maps,
    )


def _port_map(table: _Table) -> PortMap:
    default = PortMap()
    return PortMap(
        name=_value(table, keys.NAME, default.name),
        listen=_value(table, keys.LISTEN, default.listen),
        upstream=_value(table, keys.UPSTREAM, default.upstream),
        protocol=_value(table, keys.PROTOCOL, default.protocol),
        allow=_value(table, keys.ALLOW, default.allow),
        connect_timeout=_value(table, keys.CONNECT_TIMEOUT, default.connect_timeout),
        first_bytes_timeout=_value(table, keys.FIRST_BYTES_TIMEOUT, default.first_bytes_timeout),
        half_close_timeout=_value(table, keys.HALF_CLOSE_TIMEOUT, default.half_close_timeout),
        idle_timeout=_value(table, keys.IDLE_TIMEOUT, default.idle_timeout),
        flush_timeout=_value(table, keys.FLUSH_TIMEOUT, default.flush_timeout),
        max_per_source=_value(table, keys.MAX_PER_SOURCE, default.max_per_source),
        keepalive_idle=_value(table, keys.KEEPALIVE_IDLE, default.keepalive_idle),
        keepalive_interval=_value(table, keys.KEEPALIVE_INTERVAL, default.keepalive_interval),
        keepalive_count=_value(table, keys.KEEPALIVE_COUNT, default.keepalive_count),
        user_timeout=_value(table, keys.USER_TIMEOUT, default.user_timeout),
    )


def _from_file(text: bytes | None, name: str) -> tuple[_Table, list[_Table]]:
    document = _parsed(text, name) if text is not None else {}
    tables = _map_tables(document.pop("map", []), name)
    top = _table(document, TOP_KEYS, name)
    maps: list[_Table] = []
    labels: set[str] = set()
    for number, table in enumerate(tables, start=1):
        if "name" not in table and len(tables) > 1:
            raise ConfigError(f"{name}: map {number}: name: missing; allowed: {keys.NAME.allowed}")
        label = table.get("name", PortMap().name)
        label = label if isinstance(label, str) else str(number)
        maps.append(_table(table, MAP_KEYS, f"{name}: map {clipped(label)}"))
        if label in labels:
            raise ConfigError(f"{name}: map {number}: name: seen {_seen(label)} again; allowed: a name of its own")
        labels.add(label)
    return top, maps or [{}]


def _map_tables(value: object, name: str) -> list[dict[str, object]]:
    if isinstance(value, list):
        tables = [table for table in value if isinstance(table, dict)]
        if len(tables) == len(value):
            return tables
    raise ConfigError(f"{name}: map: seen {_seen(value)}; allowed: tables that start with [[map]]")


def _parsed(text: bytes, name: str) -> dict[str, object]:
    if len(text) > MAX_FILE:
        raise ConfigError(f"{name}: seen more than {MAX_FILE} bytes; allowed: a TOML file up to that size")
    import tomllib  # only where there is a file; see nearest

    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        seen = f"byte 0x{text[error.start]:02x}, not UTF-8"
        raise ConfigError(f"{name}: line {line}: seen {seen}; allowed: a TOML file") from error
    except (ValueError, RecursionError) as error:  # tomllib also lets through errors of int() and deep nesting
        what, _, place = str(error).partition(" (at ")
        place = place.removesuffix(")") or "too large or too deep"
        raise ConfigError(f"{name}: {place}: {clipped(what)}; allowed: a TOML file") from error


def _table(values: Mapping[str, object], known_keys: Mapping[str, Key[object]], where: str) -> _Table:
    table: _Table = {}
    for name, value in values.items():
        if name not in known_keys:
            raise ConfigError(f"{where}: {clipped(name)}: unknown key; {_suggestion(name, known_keys)}")
        table[name] = _checked(known_keys[name], value, f"{where}: {name}", FILE)
    return table


def _suggestion(name: str, known_keys: Mapping[str, Key[object]]) -> str:
    if known_keys is TOP_KEYS and name in MAP_KEYS:
        return "it belongs below a [[map]] line"
    if known_keys is MAP_KEYS and name in TOP_KEYS:
        return "it belongs above the first [[map]] line"
    known = [*known_keys, "map"] if known_keys is TOP_KEYS else list(known_keys)
    meant = nearest(name, known)
    return f'did you mean "{meant}"?' if meant else f"allowed: {', '.join(known)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of them that was probably meant; "" if none."""
    from difflib import get_close_matches  # for mistakes only: an upgrade's pause is the start of an interpreter

    return next(iter(get_close_matches(word, list(known), n=1)), "")


# A Kubernetes service or a Docker link called "ib-relay" puts these into every neighbour's environment.
INJECTED = re.compile(r"IB_RELAY_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP)(?:_\w+)?)", re.ASCII)


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, str, object]]:
    variables = {PREFIX + key.upper(): key for key in (*TOP_KEYS, *MAP_KEYS)}
    given: list[tuple[str, str, object]] = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        text = environ[variable].strip()
        injected = INJECTED.fullmatch(variable) or (variable == "IB_RELAY_PORT" and text.startswith("tcp://"))
        if variable == FILE_VARIABLE or injected or not text:  # empty is how compose files spell "not set"
            continue
        if variable not in variables:
            meant = nearest(variable[len(PREFIX) :].lower(), variables.values())
            hint = f"did you mean {PREFIX}{meant.upper()}?" if meant else f"allowed: {', '.join(variables)}"
            raise ConfigError(f"{clipped(variable)}: unknown variable; {hint}")
        key = variables[variable]
        given.append((variable, key, _key(key).from_text(text)))
    return given


def _from_flags(flags: Mapping[str, object]) -> list[tuple[str, str, object]]:
    given: list[tuple[str, str, object]] = []
    for name, value in flags.items():
        if value is None or value == ():
            continue
        items = [str(item) for item in value] if isinstance(value, (tuple, list)) else [str(value)]
        text = " ".join(items) if all(items) else ""  # an empty item must not vanish in the join
        given.append((f"--{name.replace('_', '-')}", name, _key(name).from_text(text)))
    return given


def _key(name: str) -> Key[object]:
    return TOP_KEYS[name] if name in TOP_KEYS else MAP_KEYS[name]


def _checked(key: Key[object], value: object, where: str, origin: str) -> _ConfiguredValue:
    try:
        key.read(value)
        return _ConfiguredValue(value, origin)
    except InvalidValue as refused:
        hint = f" ({refused.hint})" if refused.hint else ""
        raise ConfigError(f"{where}: seen {_seen(refused.seen)}{hint}; allowed: {key.allowed}") from refused


def _seen(value: object) -> str:
    """A value as a file spells it, on one line and never long."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return clipped(f'"{value}"' if isinstance(value, str) else repr(value))
    except ValueError:
        return "a number of thousands of digits"  # the parser takes it in hexadecimal form, but repr() refuses it


def clipped(value: object, limit: int = 60) -> str:
    return printable(str(value), limit)


# Checks across keys and maps.


def _check_together(maps: tuple[PortMap, ...], origins: Mapping[str, str], file_name: str) -> None:
    """No two listeners on one address, and no upstream that is one of our own listeners."""

    def where(port_map: PortMap, key: str) -> str:
        origin = origins[f"{port_map.name}.{key}"]
        return f"{file_name}: map {port_map.name}: {key}" if origin in (FILE, DEFAULT) else origin

    listeners: list[tuple[PortMap, Listen]] = []
    for port_map in maps:
        for listen in port_map.listen:
            for owner, other in listeners:
                if overlap(listen, other):
                    seen = f'"{listen}", which "{other}" of map {owner.name} has already'
                    raise ConfigError(f"{where(port_map, 'listen')}: seen {seen}; allowed: each address and port once")
            listeners.append((port_map, listen))
    for port_map in maps:
        for owner, listen in listeners:
            if reaches(port_map.upstream, listen):
                unset = origins[f"{port_map.name}.upstream"] == DEFAULT
                if unset:
                    raise ConfigError(f"{where(owner, 'listen')}: {_default_dialled(port_map, owner, listen)}")
                seen = f'"{port_map.upstream}" to dial, where map {owner.name} of this relay listens ("{listen}")'
                raise ConfigError(
                    f"{where(port_map, 'upstream')}: seen {seen}; allowed: the gateway's address as upstream"
                )


def _default_dialled(port_map: PortMap, owner: PortMap, listen: Listen) -> str:
    """What to say where a map without an upstream meets a listener."""
    of_map = "" if owner is port_map else f" of map {port_map.name}"
    seen = f'"{listen}", and "{port_map.upstream}" is the default upstream{of_map}: the relay would dial itself'
    return f"seen {seen}; give the gateway's address as upstream (--upstream HOST:PORT), or listen on another port"


def _warnings(maps: tuple[PortMap, ...]) -> tuple[str, ...]:
    warnings: list[str] = []
    for port_map in maps:
        where = f"map {port_map.name}"
        for listen in port_map.listen:
            if listen.wildcard:
                open_to = f'{where}: listen "{listen}" takes connections from every network of this machine; '
                warnings.append(f"{open_to}only its access list (allow: {port_map.allow}) keeps strangers out")
        everybody = [network for network in collapsed(port_map.allow.networks) if network.prefixlen == 0]
        written = {
            whole: [one for one in port_map.allow.networks if one.version == whole.version] for whole in everybody
        }
        warnings += [
            f'{where}: allow "{whole if whole in parts else ", ".join(map(str, parts))}" '
            "lets everybody trade who can reach the port"
            for whole, parts in written.items()
        ]
    return tuple(warnings)
