"""The configuration: TOML file, environment and flags in, one frozen Config out, with the origin of every value.

Flags win over IB_RELAY_* variables, these over the file, the file over the defaults below. Everything that is given is
checked, also what is overridden: a wrong line in the file is an error on the day it is written. IB_HOST and IB_PORT are
never looked at: they belong to the client and name this relay, which would dial itself. What each key takes: keys.py.
Pure; the file itself is read by files.py.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from relay.config.addresses import Allow, InvalidValue, Listen, Upstream, overlap, reaches
from relay.config.keys import MAP_KEYS, TOP_KEYS, Key, LogFormat, Protocol

PREFIX = "IB_RELAY_"
FILE_VARIABLE = "IB_RELAY_CONFIG"
MAX_FILE = 1 << 20  # bytes; a real file has a few hundred, anything like this is the wrong file
NO_FILE = "(no file)"
DEFAULT, FILE = "default", "file"  # the two origins that are not the name of a variable or a flag


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
    first_bytes_timeout: float = 10.0  # an IB client speaks at once; who does not is a port scan or a health check
    half_close_timeout: float = 30.0  # of silence; unbounded half-closed sessions pile up for ever
    idle_timeout: float = 0.0  # off: an API session may be silent all weekend
    flush_timeout: float = 10.0  # how long what was read is delivered before a reset is passed on
    max_per_source: int = 0  # off: all containers behind one bridge address may be one source
    keepalive_idle: int = 15  # 15 + 4 x 5 = 35 s until a vanished idle peer is noticed, below the 45 s promised
    keepalive_interval: int = 5
    keepalive_count: int = 4
    user_timeout: float = 30.0  # unacknowledged data: keep-alive never fires while some is in flight


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the relay can be told."""

    log_format: LogFormat = LogFormat.TEXT
    log_file: str = "-"
    log_file_size: int = 10  # MiB; four old ones are kept beside it, so 50 MiB in all
    log_interval: float = 60.0  # seconds between the progress records of a live connection
    max_connections: int = 0  # from the open-files limit
    survive: bool = True  # sessions outlive this process where the service manager can keep them
    drain_timeout: float = 10.0  # seconds live sessions get after SIGTERM
    maps: tuple[PortMap, ...] = (PortMap(),)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A Config and the story behind it: `origins` has one entry a key ("log_format", "paper.listen")."""

    config: Config
    origins: Mapping[str, str]
    file: str | None = None
    file_origin: str = DEFAULT  # how the file was found: --config, IB_RELAY_CONFIG, or default (a standard place)
    warnings: tuple[str, ...] = ()


def load(file_text: bytes | None, file_name: str, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """Check and join what file, environment and flags say; ConfigError names the first thing wrong.

    `flags` maps keys to what was typed ("listen": "127.0.0.1:4003"); None and () mean not given.
    """
    shown = clipped(file_name, 200)
    top, tables = _from_file(file_text, shown)
    for origin, key, value in _from_environment(environ) + _from_flags(flags):
        if key in MAP_KEYS and len(tables) > 1:
            names = ", ".join(table["name"][0] for table in tables)
            raise ConfigError(f"{origin}: seen with the maps {names}; allowed: {key} in their tables in {shown}")
        target, keys = (top, TOP_KEYS) if key in TOP_KEYS else (tables[0], MAP_KEYS)
        target[key] = (_checked(keys[key], value, origin), origin)
    maps = tuple(PortMap(**_values(table)) for table in tables)
    origins = {key: top[key][1] if key in top else DEFAULT for key in TOP_KEYS}
    for entry, table in zip(maps, tables, strict=True):
        origins |= {f"{entry.name}.{key}": table[key][1] if key in table else DEFAULT for key in MAP_KEYS}
    _check_together(maps, origins, shown)
    file = file_name if file_text is not None else None
    return Loaded(Config(**_values(top), maps=maps), origins, file, warnings=_warnings(maps))


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Rows (key, value, origin) of everything in force; the second and later values of a list have an empty key."""
    rows = [("config", loaded.file or NO_FILE, loaded.file_origin)]
    for name, key in TOP_KEYS.items():
        rows.append((name, key.show(getattr(loaded.config, name)), loaded.origins[name]))
    for entry in loaded.config.maps:
        for name, key in MAP_KEYS.items():
            full_name = f"{entry.name}.{name}"
            first, *others = key.show(getattr(entry, name)).split(", ")
            rows.append((full_name, first, loaded.origins[full_name]))
            rows += [("", other, "") for other in others]
    return rows


def aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    """The rows as lines, each column as wide as its widest entry."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}".rstrip() for key, value, origin in rows]


# The three sources. A table in the making maps key -> (value, origin).


def _from_file(text: bytes | None, name: str) -> tuple[dict, list[dict]]:
    document = _parsed(text, name) if text is not None else {}
    tables = document.pop("map", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{name}: map: seen {_seen(tables)}; allowed: tables that start with [[map]]")
    top = _table(document, TOP_KEYS, name)
    maps, names = [], set()
    for number, table in enumerate(tables, start=1):
        if "name" not in table and len(tables) > 1:
            raise ConfigError(f"{name}: map {number}: name: missing; allowed: {MAP_KEYS['name'].allowed}")
        label = table.get("name", PortMap().name)
        label = label if isinstance(label, str) else str(number)
        maps.append(_table(table, MAP_KEYS, f"{name}: map {clipped(label)}"))
        if label in names:
            raise ConfigError(f"{name}: map {number}: name: seen {_seen(label)} again; allowed: a name of its own")
        names.add(label)
    return top, maps or [{}]


def _parsed(text: bytes, name: str) -> dict:
    if len(text) > MAX_FILE:
        raise ConfigError(f"{name}: seen more than {MAX_FILE} bytes; allowed: a TOML file up to that size")
    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        seen = f"byte 0x{text[error.start]:02x}, not UTF-8"
        raise ConfigError(f"{name}: line {line}: seen {seen}; allowed: a TOML file") from error
    except (ValueError, RecursionError) as error:  # besides its own, tomllib lets through int()'s and deep nesting
        what, _, place = str(error).partition(" (at ")
        place = place.removesuffix(")") or "too large or too deep"
        raise ConfigError(f"{name}: {place}: {clipped(what)}; allowed: a TOML file") from error


def _table(table: dict, keys: Mapping[str, Key], where: str) -> dict:
    values = {}
    for name, value in table.items():
        if name not in keys:
            raise ConfigError(f"{where}: {clipped(name)}: unknown key; {_suggestion(name, keys)}")
        values[name] = (_checked(keys[name], value, f"{where}: {name}"), FILE)
    return values


def _suggestion(name: str, keys: Mapping[str, Key]) -> str:
    if keys is TOP_KEYS and name in MAP_KEYS:
        return "it belongs below a [[map]] line"
    if keys is MAP_KEYS and name in TOP_KEYS:
        return "it belongs above the first [[map]] line"
    known = [*keys, "map"] if keys is TOP_KEYS else list(keys)
    nearest = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{nearest[0]}"?' if nearest else f"allowed: {', '.join(known)}"


# A Kubernetes service or a Docker link called "ib-relay" puts these into every neighbour's environment.
INJECTED = re.compile(r"IB_RELAY_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP)(?:_\w+)?)", re.ASCII)


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, str, object]]:
    variables = {PREFIX + key.upper(): key for key in (*TOP_KEYS, *MAP_KEYS)}
    given = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        text = environ[variable].strip()
        injected = INJECTED.fullmatch(variable) or (variable == "IB_RELAY_PORT" and text.startswith("tcp://"))
        if variable == FILE_VARIABLE or injected or not text:  # empty is how compose files spell "not set"
            continue
        if variable not in variables:
            nearest = difflib.get_close_matches(variable[len(PREFIX) :].lower(), variables.values(), n=1)
            hint = f"did you mean {PREFIX}{nearest[0].upper()}?" if nearest else f"allowed: {', '.join(variables)}"
            raise ConfigError(f"{clipped(variable)}: unknown variable; {hint}")
        key = variables[variable]
        given.append((variable, key, _key(key).from_text(text)))
    return given


def _from_flags(flags: Mapping[str, object]) -> list[tuple[str, str, object]]:
    given = []
    for key, value in flags.items():
        if value is None or value == ():
            continue
        items = value if isinstance(value, (tuple, list)) else (value,)
        text = (
            " ".join(map(str, items)) if all(map(str, items)) else ""
        )  # one that is empty is not to be lost among others
        given.append((f"--{key.replace('_', '-')}", key, _key(key).from_text(text)))
    return given


def _key(name: str) -> Key:
    return TOP_KEYS[name] if name in TOP_KEYS else MAP_KEYS[name]


def _values(table: Mapping[str, tuple[object, str]]) -> dict[str, object]:
    return {key: value for key, (value, _) in table.items()}


def _checked(key: Key, value: object, where: str) -> object:
    try:
        return key.read(value)
    except InvalidValue as refused:
        hint = f" ({refused.hint})" if refused.hint else ""
        raise ConfigError(f"{where}: seen {_seen(refused.seen)}{hint}; allowed: {key.allowed}") from refused


def _seen(value: object) -> str:
    """A value the way a file spells it, on one line and never long."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return clipped(f'"{value}"' if isinstance(value, str) else repr(value))
    except ValueError:
        return "a number of thousands of digits"  # repr() refuses those, a hexadecimal one comes through the parser


def clipped(value: object, limit: int = 60) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."


# What no single key can see.


def _check_together(maps: tuple[PortMap, ...], origins: Mapping[str, str], file_name: str) -> None:
    """No two listeners on one address, and no upstream that is one of our own listeners."""

    def where(entry: PortMap, key: str) -> str:
        origin = origins[f"{entry.name}.{key}"]
        return f"{file_name}: map {entry.name}: {key}" if origin in (FILE, DEFAULT) else origin

    listeners: list[tuple[PortMap, Listen]] = []
    for entry in maps:
        for listen in entry.listen:
            for owner, other in listeners:
                if overlap(listen, other):
                    seen = f'"{listen}", which "{other}" of map {owner.name} has already'
                    raise ConfigError(f"{where(entry, 'listen')}: seen {seen}; allowed: each address and port once")
            listeners.append((entry, listen))
    for entry in maps:
        for owner, listen in listeners:
            if reaches(entry.upstream, listen):
                unset = origins[f"{entry.name}.upstream"] == DEFAULT
                blamed = where(owner, "listen") if unset else where(entry, "upstream")
                seen = f'"{entry.upstream}" to dial, where map {owner.name} of this relay listens ("{listen}")'
                raise ConfigError(f"{blamed}: seen {seen}; allowed: the gateway's address as upstream")


def _warnings(maps: tuple[PortMap, ...]) -> tuple[str, ...]:
    said = []
    for entry in maps:
        for listen in entry.listen:
            if listen.wildcard:
                open_to = f'map {entry.name}: listen "{listen}" takes connections from every network of this machine; '
                said.append(f"{open_to}only its access list (allow: {entry.allow}) keeps strangers out")
        everybody = [network for network in entry.allow.networks if network.prefixlen == 0]
        said += [
            f'map {entry.name}: allow "{network}" lets everybody trade who can reach the port' for network in everybody
        ]
    return tuple(said)
