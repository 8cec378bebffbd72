"""File, environment and flags become one Config; everything wrong is one line that says where and what is allowed."""

import ipaddress
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from relay.config.addresses import Allow, Listen, Upstream
from relay.config.keys import MAP_KEYS, TOP_KEYS, Latency, LogFormat, Protocol
from relay.config.load import Config, ConfigError, PortMap, aligned, effective, load

DATA = Path(__file__).parents[2] / "data" / "config"
LISTEN = (
    '"auto:PORT", "HOST:PORT" or "[IPv6]:PORT", PORT from 1 to 65535, '
    '"systemd:NAME", "launchd:NAME", or a list of these'
)
UPSTREAM = '"HOST:PORT" or "[IPv6]:PORT", PORT from 1 to 65535'
ALLOW = '"auto", an address, a network like "192.168.1.0/24", or a list of these'
COUNT = "a whole number from 1 to 1000000, or 0 (from ulimit -n)"
GIVE_UPSTREAM = "give the gateway's address as upstream (--upstream HOST:PORT), or listen on another port"
ALONE = "a port alone does not say which addresses"

INVALID = {
    "absurd": "map default: connect_timeout: seen 86400; allowed: a number of seconds from 0.1 to 300",
    "bool-for-number": f"max_connections: seen true; allowed: {COUNT}",
    "cidr": f'map default: allow: seen "192.168.1.0/33"; allowed: {ALLOW}',
    "control-characters": 'log_format: seen "a? b"; allowed: "text" or "json"',
    "float-for-whole-number": f"max_connections: seen 10.0; allowed: {COUNT}",
    "host-bits": 'map default: allow: seen "192.168.1.5/24" (host bits are set; 192.168.1.0/24 is the network); '
    f"allowed: {ALLOW}",
    "key-twice": "line 2, column 18: Cannot overwrite a value; allowed: a TOML file",
    "listen-bare-port": f'map default: listen: seen "4003" ({ALONE}); allowed: {LISTEN}',
    "listen-covered": 'map live: listen: seen "0.0.0.0:4003", which "auto:4003" of map paper has already; '
    "allowed: each address and port once",
    "listen-empty": f"map default: listen: seen []; allowed: {LISTEN}",
    "listen-is-upstream": 'map default: listen: seen "auto:4002", and "127.0.0.1:4002" is the default upstream: '
    f"the relay would dial itself; {GIVE_UPSTREAM}",
    "listen-is-other-upstream": 'map live: listen: seen "127.0.0.1:4002", and "127.0.0.1:4002" is the default upstream '
    f"of map paper: the relay would dial itself; {GIVE_UPSTREAM}",
    "listen-no-brackets": 'map default: listen: seen "::1:4003" (an IPv6 address stands in brackets); '
    f"allowed: {LISTEN}",
    "listen-not-an-address": f'map default: listen: seen "127.0.0.256:4003" (not an IP address); allowed: {LISTEN}',
    "listen-number": f"map default: listen: seen 4003 ({ALONE}); allowed: {LISTEN}",
    "listen-star": 'map default: listen: seen "*:4003" (for all interfaces write 0.0.0.0:PORT or [::]:PORT); '
    f"allowed: {LISTEN}",
    "listen-twice": 'map live: listen: seen "127.0.0.1:4003", which "127.0.0.1:4003" of map paper has already; '
    "allowed: each address and port once",
    "log-format": 'log_format: seen "xml"; allowed: "text" or "json"',
    "map-key-at-top": "listen: unknown key; it belongs below a [[map]] line",
    "name": 'map Paper Trading: name: seen "Paper Trading"; allowed: 1 to 32 of a-z, 0-9, _ and -',
    "name-missing": "map 2: name: missing; allowed: 1 to 32 of a-z, 0-9, _ and -",
    "name-twice": 'map 2: name: seen "paper" again; allowed: a name of its own',
    "nan": "log_interval: seen nan; allowed: a number of seconds from 0.1 to 86400, or 0 (off)",
    "negative": "drain_timeout: seen -1; allowed: a number of seconds from 0.1 to 3600, or 0 (at once)",
    "not-utf8": "line 2: seen byte 0xe9, not UTF-8; allowed: a TOML file",
    "port-too-high": f'map default: upstream: seen "127.0.0.1:65536"; allowed: {UPSTREAM}',
    "port-zero": f'map default: listen: seen "auto:0"; allowed: {LISTEN}',
    "protocol": 'map vnc: protocol: seen "tcp"; allowed: "ib" or "raw"',
    "single-map-table": "map: seen {'name': 'paper'}; allowed: tables that start with [[map]]",
    "syntax": "line 2, column 14: Expected '=' after a key in a key/value pair; allowed: a TOML file",
    "text-for-number": 'log_interval: seen "often"; allowed: a number of seconds from 0.1 to 86400, or 0 (off)',
    "thousands-of-digits": "log_interval: seen a number of thousands of digits; "
    "allowed: a number of seconds from 0.1 to 86400, or 0 (off)",
    "too-deep": "too large or too deep: maximum recursion depth exceeded; allowed: a TOML file",
    "top-key-in-map": "map default: log_format: unknown key; it belongs above the first [[map]] line",
    "unknown-key": 'log_intervall: unknown key; did you mean "log_interval"?',
    "unknown-key-far": "colour: unknown key; "
    "allowed: log_format, log_file, log_file_size, log_interval, max_connections, latency, survive, "
    "follow_bridges, drain_timeout, map",
    "unknown-key-in-map": 'map paper: listen_address: unknown key; did you mean "listen"?',
    "upstream-is-listener": 'map paper: upstream: seen "localhost:4003" to dial, where map paper of this relay listens '
    '("auto:4003"); allowed: the gateway\'s address as upstream',
    "upstream-is-other-listener": 'map live: upstream: seen "127.0.0.1:4003" to dial, where map paper of this relay '
    'listens ("auto:4003"); allowed: the gateway\'s address as upstream',
    "upstream-name": f'map default: upstream: seen "my gateway:4002"; allowed: {UPSTREAM}',
    "upstream-wildcard": 'map default: upstream: seen "0.0.0.0:4002" (0.0.0.0 is for listen, it cannot be dialled); '
    f"allowed: {UPSTREAM}",
}


def refusal(*arguments) -> str:
    """The text of the ConfigError that `load` (or what is named first) raises."""
    call, arguments = (arguments[0], arguments[1:]) if callable(arguments[0]) else (load, arguments)
    with pytest.raises(ConfigError) as refused:
        call(*arguments)
    return str(refused.value)


def test_every_bad_file_is_in_the_table():
    assert {path.name for path in DATA.glob("*.toml")} == {f"invalid-{name}.toml" for name in INVALID} | {"full.toml"}


@pytest.mark.parametrize("name", INVALID)
def test_a_bad_file_is_one_line_naming_file_key_value_and_what_is_allowed(name):
    file_name = f"invalid-{name}.toml"
    assert refusal((DATA / file_name).read_bytes(), file_name, {}, {}) == f"{file_name}: {INVALID[name]}"


def test_without_anything_4003_leads_to_the_paper_gateway():
    loaded = load(None, "(no file)", {}, {})
    assert loaded.config == Config(
        log_format=LogFormat.TEXT,
        log_interval=60.0,
        max_connections=0,
        latency=Latency.ADAPTIVE,
        survive=True,
        drain_timeout=10.0,
        maps=(
            PortMap(
                name="default",
                listen=(Listen("auto", 4003),),
                upstream=Upstream("127.0.0.1", 4002),
                protocol=Protocol.IB,
                allow=Allow(auto=True, networks=()),
                connect_timeout=5.0,
                first_bytes_timeout=10.0,
                half_close_timeout=30.0,
                idle_timeout=0.0,
                flush_timeout=10.0,
                max_per_source=0,
                keepalive_idle=15,
                keepalive_interval=5,
                keepalive_count=4,
                user_timeout=30.0,
            ),
        ),
    )
    assert (set(loaded.origins.values()), loaded.file, loaded.warnings) == ({"default"}, None, ())


def test_the_default_keep_alive_notices_a_vanished_peer_within_45_seconds():
    entry = PortMap()
    assert entry.keepalive_idle + entry.keepalive_interval * entry.keepalive_count <= 45
    assert entry.user_timeout <= 45


def test_a_file_with_every_key_is_read_whole():
    loaded = load((DATA / "full.toml").read_bytes(), "full.toml", {}, {})
    paper = PortMap(
        name="paper",
        listen=(Listen("auto", 4003), Listen("fd00::1", 4003)),
        upstream=Upstream("localhost", 4002),
        protocol=Protocol.IB,
        allow=Allow(True, (ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00::/8"))),
        connect_timeout=2.5,
        first_bytes_timeout=4.0,
        half_close_timeout=60.0,
        idle_timeout=3600.0,
        flush_timeout=5.0,
        max_per_source=8,
        keepalive_idle=20,
        keepalive_interval=6,
        keepalive_count=3,
        user_timeout=25.0,
    )
    vnc = PortMap("vnc", (Listen("127.0.0.1", 5901),), Upstream("::1", 5900), Protocol.RAW)
    assert loaded.config == Config(
        LogFormat.JSON,
        "/var/log/ib-relay/relay.log",
        5,
        30.0,
        200,
        Latency.OFF,
        False,
        (ipaddress.ip_network("172.16.0.0/12"),),
        20.0,
        (paper, vnc),
    )
    default_keys = {f"vnc.{key}" for key in MAP_KEYS} - {"vnc.name", "vnc.listen", "vnc.upstream", "vnc.protocol"}
    assert {key for key, origin in loaded.origins.items() if origin == "default"} == default_keys
    assert {origin for key, origin in loaded.origins.items() if key not in default_keys} == {"file"}


def test_flags_win_over_environment_over_file_over_default():
    file = b'log_format = "text"\ndrain_timeout = 1\n[[map]]\nname = "paper"\nlisten = "auto:1"\nupstream = "a:1"\n'
    environ = {"IB_RELAY_LISTEN": "auto:2", "IB_RELAY_UPSTREAM": "b:2", "IB_RELAY_LOG_FORMAT": "json"}
    loaded = load(file, "c.toml", environ, {"upstream": "c:3", "protocol": None, "listen": ()})
    entry = PortMap("paper", (Listen("auto", 2),), Upstream("c", 3))
    assert loaded.config == Config(LogFormat.JSON, drain_timeout=1.0, maps=(entry,))
    assert {key: origin for key, origin in loaded.origins.items() if origin != "default"} == {
        "log_format": "IB_RELAY_LOG_FORMAT",
        "drain_timeout": "file",
        "paper.name": "file",
        "paper.listen": "IB_RELAY_LISTEN",
        "paper.upstream": "--upstream",
    }


def test_no_key_is_read_and_then_forgotten():
    """full.toml gives every key a value that is not its default: a default here was never taken over."""
    config = load((DATA / "full.toml").read_bytes(), "full.toml", {}, {}).config
    assert [key for key in TOP_KEYS if getattr(config, key) == getattr(Config(), key)] == []
    of_maps = {key for key in MAP_KEYS if any(getattr(each, key) != getattr(PortMap(), key) for each in config.maps)}
    assert set(MAP_KEYS) - of_maps == set()


def test_every_key_has_a_variable_and_a_flag():
    texts = {
        "log_format": "json",
        "log_file": "/x/y.log",
        "log_file_size": "2",
        "log_interval": "5",
        "max_connections": "7",
        "latency": "always",
        "survive": "false",
        "follow_bridges": "10.0.0.0/8,fd00::/8",
        "drain_timeout": "1.5",
        "name": "x",
        "listen": "127.0.0.1:1,[::1]:2",
        "upstream": "gateway:3",
        "protocol": "raw",
        "allow": "auto, 10.0.0.0/8",
        "connect_timeout": "1",
        "first_bytes_timeout": "2",
        "half_close_timeout": "3",
        "idle_timeout": "4",
        "flush_timeout": "5",
        "max_per_source": "6",
        "keepalive_idle": "7",
        "keepalive_interval": "8",
        "keepalive_count": "9",
        "user_timeout": "10",
    }
    assert set(texts) == {*TOP_KEYS, *MAP_KEYS}
    by_variable = load(None, "-", {f"IB_RELAY_{key.upper()}": text for key, text in texts.items()}, {})
    by_flag = load(None, "-", {}, texts)
    listen = (Listen("127.0.0.1", 1), Listen("::1", 2))
    allow = Allow(True, (ipaddress.ip_network("10.0.0.0/8"),))
    bounds = (1.0, 2.0, 3.0, 4.0, 5.0, 6, 7, 8, 9, 10.0)
    entry = PortMap("x", listen, Upstream("gateway", 3), Protocol.RAW, allow, *bounds)
    follow = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    expected = Config(LogFormat.JSON, "/x/y.log", 2, 5.0, 7, Latency.ALWAYS, False, follow, 1.5, (entry,))
    assert by_variable.config == by_flag.config == expected
    assert by_variable.origins["x.connect_timeout"] == "IB_RELAY_CONNECT_TIMEOUT"
    assert by_flag.origins["x.connect_timeout"] == "--connect-timeout"


def test_several_listen_flags_are_several_listeners():
    loaded = load(None, "-", {}, {"listen": ("127.0.0.1:1", "[::1]:2")})
    assert loaded.config.maps[0].listen == (Listen("127.0.0.1", 1), Listen("::1", 2))


TWO_MAPS = b'[[map]]\nname = "paper"\n[[map]]\nname = "live"\nlisten = "auto:4004"\nupstream = "127.0.0.1:4001"\n'


def test_one_value_cannot_be_for_several_maps():
    assert refusal(TWO_MAPS, "c.toml", {"IB_RELAY_UPSTREAM": "gateway:4002"}, {}) == (
        "IB_RELAY_UPSTREAM: seen with the maps paper, live; allowed: upstream in their tables in c.toml"
    )
    assert refusal(TWO_MAPS, "c.toml", {}, {"listen": "auto:1"}) == (
        "--listen: seen with the maps paper, live; allowed: listen in their tables in c.toml"
    )
    assert load(TWO_MAPS, "c.toml", {"IB_RELAY_LOG_FORMAT": "json"}, {}).config.log_format is LogFormat.JSON


BAD_ENVIRONMENT = [
    ({"IB_RELAY_LISTEN": "4003"}, f'IB_RELAY_LISTEN: seen "4003" ({ALONE}); allowed: {LISTEN}'),
    ({"IB_RELAY_MAX_CONNECTIONS": "many"}, f'IB_RELAY_MAX_CONNECTIONS: seen "many"; allowed: {COUNT}'),
    ({"IB_RELAY_MAX_CONNECTIONS": "1.5"}, f"IB_RELAY_MAX_CONNECTIONS: seen 1.5; allowed: {COUNT}"),
    ({"IB_RELAY_UPSTREAMS": "a:1"}, "IB_RELAY_UPSTREAMS: unknown variable; did you mean IB_RELAY_UPSTREAM?"),
    ({"IB_RELAY_listen": "a:1"}, "IB_RELAY_listen: unknown variable; did you mean IB_RELAY_LISTEN?"),
    (
        {"IB_RELAY_ZZ": "1"},
        "IB_RELAY_ZZ: unknown variable; allowed: "
        + ", ".join(f"IB_RELAY_{key.upper()}" for key in (*TOP_KEYS, *MAP_KEYS)),
    ),
    (
        {"IB_RELAY_LOG_FORMAT": "j" * 100},
        f'IB_RELAY_LOG_FORMAT: seen "{"j" * 39}...{"j" * 16}"; allowed: "text" or "json"',
    ),
    ({"IB_RELAY_LOG_FORMAT": "a\nb\udce9"}, 'IB_RELAY_LOG_FORMAT: seen "a b?"; allowed: "text" or "json"'),
    (
        {"IB_RELAY_UPSTREAM": "127.0.0.1:4003"},
        (
            'IB_RELAY_UPSTREAM: seen "127.0.0.1:4003" to dial, where map default of this relay listens ("auto:4003"); '
            "allowed: the gateway's address as upstream"
        ),
    ),
]

CR = "a CR at its end, as in a file with Windows line ends"
WRONG = [
    ('"127.0.0.1:4002"', '""127.0.0.1:4002""', "quotes around it"),
    ("127.0.0.1:4002\r", '"127.0.0.1:4002 "', CR),
    ("tcp://127.0.0.1:4002", '"tcp://127.0.0.1:4002"', "tcp:// before it"),
    ("127.0.0.1:4002 # paper", '"127.0.0.1:4002 # paper"', "a comment behind it"),
    (" 127.0.0.1:4002", '" 127.0.0.1:4002"', "blanks around it"),
    ("\ufeff127.0.0.1:4002", '"?127.0.0.1:4002"', "invisible characters around it"),
    ('"tcp://127.0.0.1:4002"', '""tcp://127.0.0.1:4002""', "quotes around it, tcp:// before it"),
]


@pytest.mark.parametrize(("value", "seen", "wrong"), WRONG, ids=[row[2] for row in WRONG])
def test_what_a_file_or_a_shell_has_left_around_a_value_is_named_and_not_repaired(value, seen, wrong):
    said = f"seen {seen} ({wrong}); allowed: {UPSTREAM}"
    assert refusal(None, "-", {}, {"upstream": value}) == f"--upstream: {said}"
    file = f"[[map]]\nupstream = {json.dumps(value)}".encode()
    assert refusal(file, "c.toml", {}, {}) == f"c.toml: map default: upstream: {said}"
    if value == value.strip():  # of a variable, blanks and a CR around it mean nothing
        assert refusal(None, "-", {"IB_RELAY_UPSTREAM": value}, {}) == f"IB_RELAY_UPSTREAM: {said}"


@pytest.mark.parametrize(("environ", "message"), BAD_ENVIRONMENT, ids=[min(row[0]) for row in BAD_ENVIRONMENT])
def test_a_bad_variable_is_named(environ, message):
    assert refusal(None, "(no file)", environ, {}) == message


def test_a_bad_flag_is_named():
    assert refusal(None, "-", {}, {"listen": "auto:4002"}) == (
        '--listen: seen "auto:4002", and "127.0.0.1:4002" is the default upstream: the relay would dial itself; '
        f"{GIVE_UPSTREAM}"
    )
    assert refusal(None, "-", {}, {"log_format": "xml"}) == '--log-format: seen "xml"; allowed: "text" or "json"'


def test_what_is_overridden_is_checked_all_the_same():
    assert refusal(b"log_interval = true", "c.toml", {"IB_RELAY_LOG_INTERVAL": "5"}, {}) == (
        "c.toml: log_interval: seen true; allowed: a number of seconds from 0.1 to 86400, or 0 (off)"
    )


NOT_OURS = {
    "IB_HOST": "host.docker.internal",
    "IB_PORT": "4003",
    "IB_CLIENT_ID": "7",
    "ib_relay_listen": "nonsense",
    "IB_RELAYX": "1",
    "IB_RELAY_CONFIG": "/somewhere.toml",
    "IB_RELAY_UPSTREAM": "",
    "IB_RELAY_LOG_FORMAT": "  ",
    "IB_RELAY_SERVICE_HOST": "10.0.0.7",
    "IB_RELAY_SERVICE_PORT": "4003",
    "IB_RELAY_SERVICE_PORT_API": "4003",
    "IB_RELAY_PORT": "tcp://10.0.0.7:4003",
    "IB_RELAY_PORT_4003_TCP": "tcp://10.0.0.7:4003",
    "IB_RELAY_PORT_4003_TCP_ADDR": "10.0.0.7",
}


@pytest.mark.parametrize("variable", NOT_OURS)
def test_variables_that_are_not_settings_change_nothing(variable):
    assert load(None, "-", {variable: NOT_OURS[variable]}, {}) == load(None, "-", {}, {})


def test_a_port_variable_typed_by_a_person_is_not_taken_for_an_injected_one():
    assert refusal(None, "-", {"IB_RELAY_PORT": "4003"}, {}).startswith("IB_RELAY_PORT: unknown variable; allowed: ")


def test_a_byte_order_mark_and_windows_line_ends_are_no_obstacle():
    loaded = load('\ufefflog_format = "json"\r\n[[map]]\r\nname = "é"\r\n'.replace("é", "e").encode(), "c", {}, {})
    assert (loaded.config.log_format, loaded.config.maps[0].name) == (LogFormat.JSON, "e")


def test_a_file_without_maps_keeps_the_default_map():
    assert load(b"log_interval = 5\n", "c", {}, {}).config == Config(log_interval=5.0)


WARNINGS = [
    (
        "0.0.0.0:4003",
        "auto",
        [
            (
                'listen "0.0.0.0:4003" takes connections from every network of this machine; '
                "only its access list (allow: auto) keeps strangers out"
            )
        ],
    ),
    (
        "[::]:4003",
        "auto, 10.0.0.0/8",
        [
            (
                'listen "[::]:4003" takes connections from every network of this machine; '
                "only its access list (allow: auto, 10.0.0.0/8) keeps strangers out"
            )
        ],
    ),
    ("auto:4003", "0.0.0.0/0", ['allow "0.0.0.0/0" lets everybody trade who can reach the port']),
    (
        "auto:4003",
        "0.0.0.0/1, 128.0.0.0/1",
        ['allow "0.0.0.0/1, 128.0.0.0/1" lets everybody trade who can reach the port'],
    ),
    (
        "auto:4003",
        "::/1, 10.0.0.0/8, c000::/2, 8000::/2",
        ['allow "::/1, c000::/2, 8000::/2" lets everybody trade who can reach the port'],
    ),
    ("auto:4003", "0.0.0.0/1, 128.0.0.0/2", []),
    ("192.168.1.5:4003", "192.168.1.0/24", []),
]


@pytest.mark.parametrize(("listen", "allow", "expected"), WARNINGS)
def test_what_opens_the_account_to_strangers_is_said(listen, allow, expected):
    loaded = load(None, "-", {}, {"listen": listen, "allow": allow})
    assert loaded.warnings == tuple(f"map default: {text}" for text in expected)


def test_effective_has_a_row_for_every_key_and_a_line_for_every_list_item():
    loaded = load((DATA / "full.toml").read_bytes(), "full.toml", {"IB_RELAY_LOG_INTERVAL": "5"}, {})
    rows = effective(replace(loaded, file_origin="--config"))
    assert [row[0] for row in rows if row[0]] == ["config", *loaded.origins]
    assert rows[:14] == [
        ("config", "full.toml", "--config"),
        ("log_format", "json", "file"),
        ("log_file", "/var/log/ib-relay/relay.log", "file"),
        ("log_file_size", "5 MiB", "file"),
        ("log_interval", "5 s", "IB_RELAY_LOG_INTERVAL"),
        ("max_connections", "200", "file"),
        ("latency", "off", "file"),
        ("survive", "false", "file"),
        ("follow_bridges", "172.16.0.0/12", "file"),
        ("drain_timeout", "20 s", "file"),
        ("paper.name", "paper", "file"),
        ("paper.listen", "auto:4003", "file"),
        ("", "[fd00::1]:4003", ""),
        ("paper.upstream", "localhost:4002", "file"),
    ]
    assert effective(load(None, "-", {}, {}))[0] == ("config", "(no file)", "default")


def test_aligned_rows_fit_a_terminal():
    lines = aligned(effective(load(None, "-", {"IB_RELAY_FIRST_BYTES_TIMEOUT": "5"}, {})))
    assert max(map(len, lines)) <= 80
    assert lines[1] == "log_format                   text                 default"
    assert not [line for line in lines if line != line.rstrip()]


def test_a_damaged_file_is_read_or_refused_in_one_line():
    whole, rng = (DATA / "full.toml").read_bytes(), random.Random(4003)
    refused = []
    for _ in range(300):
        text = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            start = rng.randrange(len(text))
            text[start : start + rng.randint(0, 5)] = rng.choice([b"", b"\xff", b'"', b"[", b"=", b"\0", b"9", b"\n"])
        try:
            load(bytes(text), "c.toml", {}, {})
        except ConfigError as error:
            refused.append(str(error))
    for said in refused:
        assert said.startswith("c.toml: ") and said.isprintable() and len(said) < 400
    assert len(refused) > 100
