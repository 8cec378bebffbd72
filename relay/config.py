"""The configuration: TOML file, environment and flags in, one frozen Config out, with the origin of every value.

Flags win over IB_RELAY_* variables, these over the file, the file over the defaults below. Everything that is given is
checked, also what is overridden: a wrong line in the file is an error on the day it is written. `load` is pure;
`read_config` at the end is the edge, the only place that opens a file. IB_HOST and IB_PORT are never looked at: they
belong to the client and name this relay, which would dial itself.
"""

import difflib
import enum
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from relay.addresses import Allow, Listen, Refused, Upstream, overlap, reaches
from relay.addresses import build_allow, read_allow, read_listen, read_upstream

PREFIX = "IB_RELAY_"
FILE_VARIABLE = "IB_RELAY_CONFIG"
MAX_FILE = 1 << 20  # bytes; a real file has a few hundred, anything like this is the wrong file
DEFAULT, FILE = "default", "file"  # the two origins that are not the name of a variable or a flag


class ConfigError(Exception):
    """One line: the file, variable or flag, the key, the value seen, and what is allowed."""


class Protocol(enum.StrEnum):
    IB = "ib"
    RAW = "raw"


class LogFormat(enum.StrEnum):
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class PortMap:
    """One `listen -> upstream` pair; times are seconds."""

    name: str = "default"
    listen: tuple[Listen, ...] = (Listen("auto", 4003),)  # the port the IB container images lead to the outside
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
    log_interval: float = 60.0  # seconds between the progress records of a live connection
    max_connections: int = 0  # from the open-files limit
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
    top, tables = _from_file(file_text, file_name)
    given = _from_environment(environ) + _from_flags(flags)
    for origin, key, text in given:
        if key in MAP_RULES and len(tables) > 1:
            names = ", ".join(table["name"][0] for table in tables)
            raise ConfigError(f"{origin}: {file_name} has {len(tables)} maps ({names}); set {key} there, in its [[map]]")
        target, rules = (top, TOP_RULES) if key in TOP_RULES else (tables[0], MAP_RULES)
        target[key] = (_checked(rules[key], text, origin), origin)
    maps = tuple(PortMap(**{key: value for key, (value, _) in table.items()}) for table in tables)
    origins = {key: top[key][1] if key in top else DEFAULT for key in TOP_RULES}
    for entry, table in zip(maps, tables, strict=True):
        origins |= {f"{entry.name}.{key}": table[key][1] if key in table else DEFAULT for key in MAP_RULES}
    _check_together(maps, origins, file_name)
    config = Config(**{key: value for key, (value, _) in top.items()}, maps=maps)
    return Loaded(config, origins, file_name if file_text is not None else None, warnings=_warnings(maps))


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Rows (key, value, origin) of everything in force; the second and later values of a list have an empty key."""
    rows = [("config", loaded.file or "(no file)", loaded.file_origin)]
    for key, rule in TOP_RULES.items():
        rows.append((key, rule.show(getattr(loaded.config, key)), loaded.origins[key]))
    for entry in loaded.config.maps:
        for key, rule in MAP_RULES.items():
            value, full_key = getattr(entry, key), f"{entry.name}.{key}"
            for number, text in enumerate(rule.show(value).split(", ")):
                rows.append(("" if number else full_key, text, "" if number else loaded.origins[full_key]))
    return rows


def aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    """The rows as lines with their columns below each other."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}".rstrip() for key, value, origin in rows]


# The rules: what each key takes. They are handed TOML values; `from_text` turns a variable or a flag into one.


@dataclass(frozen=True, slots=True)
class Rule:
    allowed: str
    read: Callable[[object], object]  # raises Refused
    from_text: Callable[[str], object] = str
    show: Callable[[object], str] = str


def _choice(values: type[enum.StrEnum]) -> Rule:
    def read(value):
        if value not in list(values):
            raise Refused(value)
        return values(value)

    return Rule(" or ".join(f'"{value}"' for value in values), read)


def _number(kind: type, low: float, high: float, zero: str = "", unit: str = "") -> Rule:
    """A number in a range; `zero` says what 0 means where it is allowed besides."""

    def read(value):
        if type(value) not in (int, kind) or not (low <= value <= high or (zero and value == 0)):
            raise Refused(value)  # type() and not isinstance: True is an int in Python, not in a file
        return kind(value)

    def from_text(text):
        if re.fullmatch(r"[+-]?[0-9]{1,12}", text):
            return int(text)
        return float(text) if re.fullmatch(r"[+-]?[0-9]{1,12}\.[0-9]{1,12}", text) else text

    what = "a whole number" if kind is int else "a number"
    allowed = f"{what}{' of' + unit if unit else ''} from {low:g} to {high:g}" + (f", or 0 ({zero})" if zero else "")
    return Rule(allowed, read, from_text, lambda value: f"0 ({zero})" if zero and not value else f"{value:g}{unit[:2]}")


def _seconds(low: float, high: float, zero: str = "", kind: type = float) -> Rule:
    return _number(kind, low, high, zero, unit=" seconds")


def _list_of(read_one: Callable[[object], object], allowed: str, build: Callable, show: Callable[[object], str]) -> Rule:
    """One or several of something: a string or a list in the file, separated by commas or blanks in a text."""

    def read(value):
        items = value if isinstance(value, list) else [value]
        if not items:
            raise Refused(value)
        return build(tuple(read_one(item) for item in items))

    return Rule(allowed, read, lambda text: [item for item in re.split(r"[,\s]+", text) if item] or text, show)


def _map_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9_-]{1,32}", value):
        raise Refused(value)
    return value


PORT = "PORT from 1 to 65535"
TOP_RULES: dict[str, Rule] = {
    "log_format": _choice(LogFormat),
    "log_interval": _seconds(0.1, 86400, zero="off"),
    "max_connections": _number(int, 1, 1_000_000, zero="from the open-files limit"),
    "drain_timeout": _seconds(0.1, 3600, zero="at once"),
}
MAP_RULES: dict[str, Rule] = {
    "name": Rule("1 to 32 of a-z, 0-9, _ and -", _map_name),
    "listen": _list_of(read_listen, f'"auto:PORT", "HOST:PORT" or "[IPv6]:PORT", {PORT}, or a list of these', tuple, lambda listen: ", ".join(map(str, listen))),
    "upstream": Rule(f'"HOST:PORT" or "[IPv6]:PORT", {PORT}', read_upstream),
    "protocol": _choice(Protocol),
    "allow": _list_of(read_allow, '"auto", an address, a network like "192.168.1.0/24", or a list of these', build_allow, str),
    "connect_timeout": _seconds(0.1, 300),
    "first_bytes_timeout": _seconds(0.1, 3600),
    "half_close_timeout": _seconds(0.1, 86400),
    "idle_timeout": _seconds(0.1, 604800, zero="off"),
    "flush_timeout": _seconds(0.1, 600),
    "max_per_source": _number(int, 1, 1_000_000, zero="off"),
    "keepalive_idle": _seconds(1, 7200, zero="off", kind=int),
    "keepalive_interval": _seconds(1, 7200, kind=int),
    "keepalive_count": _number(int, 1, 127),  # 127 is Linux' own limit (MAX_TCP_KEEPCNT)
    "user_timeout": _seconds(1, 3600, zero="off"),
}


# The three sources, each to the same shape: key -> (value, origin).


def _from_file(text: bytes | None, name: str) -> tuple[dict, list[dict]]:
    document = _parsed(text, name) if text is not None else {}
    tables = document.pop("map", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{name}: map: seen {_seen(tables)}; allowed: tables that start with [[map]]")
    top = _table(document, TOP_RULES, name)
    maps, names = [], set()
    for number, table in enumerate(tables, start=1):
        if "name" not in table and len(tables) > 1:
            raise ConfigError(f"{name}: map {number}: name: missing; allowed: {MAP_RULES['name'].allowed}")
        label = table["name"] if isinstance(table.get("name"), str) else number
        maps.append(_table(table, MAP_RULES, f"{name}: map {_clipped(label)}"))
        if label in names:
            raise ConfigError(f"{name}: map {number}: name: seen {_seen(label)} a second time; allowed: a name of its own")
        names.add(label)
    return top, maps or [{}]


def _parsed(text: bytes, name: str) -> dict:
    if len(text) > MAX_FILE:
        raise ConfigError(f"{name}: more than {MAX_FILE} bytes; allowed: a TOML file up to that size")
    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}: line {line}: byte 0x{text[error.start]:02x} is not UTF-8; allowed: TOML") from error
    except (ValueError, RecursionError) as error:  # besides its own, tomllib lets through int()'s and deep nesting
        what, _, where = str(error).partition(" (at ")
        place = where.removesuffix(")") or "too large or too deep"
        raise ConfigError(f"{name}: {place}: {_clipped(what)}; allowed: TOML") from error


def _table(table: dict, rules: Mapping[str, Rule], where: str) -> dict:
    values = {}
    for key, value in table.items():
        if key not in rules:
            raise ConfigError(f"{where}: {_clipped(key)}: unknown key; {_suggestion(key, rules)}")
        values[key] = (_checked(rules[key], value, f"{where}: {key}"), FILE)
    return values


def _suggestion(key: str, rules: Mapping[str, Rule]) -> str:
    if rules is TOP_RULES and key in MAP_RULES:
        return "it belongs below a [[map]] line"
    if rules is MAP_RULES and key in TOP_RULES:
        return "it belongs above the first [[map]] line"
    nearest = difflib.get_close_matches(key, rules, n=1)
    return f'did you mean "{nearest[0]}"?' if nearest else f"allowed: {', '.join(rules)}"


# A Kubernetes service or a Docker link called "ib-relay" puts these into every neighbour's environment.
INJECTED = re.compile(r"IB_RELAY_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP)(?:_\w+)?)")


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, str, object]]:
    given, keys = [], TOP_RULES | MAP_RULES
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        key, text = variable.removeprefix(PREFIX).lower(), environ[variable].strip()
        injected = INJECTED.fullmatch(variable) or (variable == "IB_RELAY_PORT" and text.startswith("tcp://"))
        if variable == FILE_VARIABLE or injected or not text:  # empty is how compose files spell "not set"
            continue
        if key not in keys or variable != PREFIX + key.upper():
            nearest = difflib.get_close_matches(key, keys, n=1)
            names = [PREFIX + name.upper() for name in nearest or keys]
            hint = f"did you mean {names[0]}?" if nearest else f"allowed: {', '.join(names)}"
            raise ConfigError(f"{_clipped(variable)}: unknown variable; {hint}")
        given.append((variable, key, keys[key].from_text(text)))
    return given


def _from_flags(flags: Mapping[str, object]) -> list[tuple[str, str, object]]:
    given, keys = [], TOP_RULES | MAP_RULES
    for key, value in flags.items():
        if value is None or value == ():
            continue
        text = " ".join(value) if isinstance(value, (tuple, list)) else str(value)
        given.append((f"--{key.replace('_', '-')}", key, keys[key].from_text(text)))
    return given


def _checked(rule: Rule, value: object, where: str) -> object:
    try:
        return rule.read(value)
    except Refused as refused:
        hint = f" ({refused.hint})" if refused.hint else ""
        raise ConfigError(f"{where}: seen {_seen(refused.seen)}{hint}; allowed: {rule.allowed}") from refused


def _seen(value: object) -> str:
    """A value the way a file spells it, on one line and never long."""
    if isinstance(value, bool):
        return str(value).lower()
    return _clipped(f'"{value}"' if isinstance(value, str) else repr(value))


def _clipped(value: object, limit: int = 60) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."


# What no single key can see.


def _check_together(maps: tuple[PortMap, ...], origins: Mapping[str, str], file_name: str) -> None:
    """No two listeners on one address, and no upstream that is one of our own listeners."""

    def where(entry: PortMap, key: str) -> str:
        origin = origins[f"{entry.name}.{key}"]
        return f"{file_name}: map {entry.name}: {key}" if origin in (FILE, DEFAULT) else origin

    earlier: list[tuple[PortMap, Listen]] = []
    for entry in maps:
        for listen in entry.listen:
            for other_entry, other in earlier:
                if overlap(listen, other):
                    raise ConfigError(
                        f'{where(entry, "listen")}: seen "{listen}", which map {other_entry.name} listens on as "{other}"; '
                        "allowed: every address and port once"
                    )
            earlier.append((entry, listen))
    for entry in maps:
        for owner, listen in earlier:
            if reaches(entry.upstream, listen):
                blamed = "listen" if origins[f"{entry.name}.upstream"] == DEFAULT else "upstream"
                raise ConfigError(
                    f"{where(entry, blamed)}: upstream {entry.upstream} is this relay itself (map {owner.name} listens on "
                    f"{listen}); allowed: the address of the gateway"
                )


def _warnings(maps: tuple[PortMap, ...]) -> tuple[str, ...]:
    said = []
    for entry in maps:
        said += [
            f"map {entry.name}: {listen} listens on every network of this machine; only allow = {entry.allow} keeps others out"
            for listen in entry.listen
            if listen.wildcard
        ]
        said += [
            f"map {entry.name}: allow = {network} lets anyone trade who can reach the port"
            for network in entry.allow.networks
            if network.prefixlen == 0
        ]
    return tuple(said)


# The edge: the file system.

SYSTEM_FOLDER = "/etc/ib-relay"


def places(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where a file is looked for when none is named, nearest first: the service's folder, the user's, the system's."""
    folders = [folder for folder in environ.get("CONFIGURATION_DIRECTORY", "").split(":") if folder]  # systemd.exec(5)
    home, xdg = environ.get("HOME", ""), environ.get("XDG_CONFIG_HOME", "")
    if xdg.startswith("/"):  # a relative one is to be ignored (XDG base directory specification)
        folders.append(f"{xdg}/ib-relay")
    elif home.startswith("/"):
        folders.append(f"{home.rstrip('/')}/.config/ib-relay")
    return tuple(f"{folder}/config.toml" for folder in dict.fromkeys([*folders, SYSTEM_FOLDER]))


def read_config(path: str | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """`load` with the file that `path` (the --config flag), IB_RELAY_CONFIG or a standard place names."""
    for named, origin in ((path, "--config"), (environ.get(FILE_VARIABLE), FILE_VARIABLE)):
        if named:
            return replace(load(_read(named, f"{origin}: "), named, environ, flags), file_origin=origin)
    for place in places(environ):
        text = _read(place, "", missing_is_fine=True)
        if text is not None:
            return load(text, place, environ, flags)
    return load(None, "(no file)", environ, flags)


def _read(path: str, prefix: str, missing_is_fine: bool = False) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        if missing_is_fine and isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return None
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{prefix}{_clipped(path, 200)}: {why}; allowed: a readable TOML file") from error
