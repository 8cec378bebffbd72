"""From a configuration to what the service manager is told, and the rules for the configuration file itself."""

import ipaddress
from pathlib import Path

import pytest

from relay.config.addresses import Allow, Listen, Upstream
from relay.config.load import Config, PortMap
from relay.entry.bridges import Bridge
from relay.service.definition import Layout, Refusal, configuration, files, layout, target
from relay.service.program import Program
from relay.service.render import LABEL, Manager, Scope

PROGRAM = Program("/usr/bin/python3", Path("/root/ib-relay.pyz"), Path("/root/ib-relay.pyz/relay"), "/usr", "/usr")
VENV = Program("/opt/v/bin/python", None, Path("/opt/v/lib/python3.11/site-packages/relay"), "/opt/v", "/usr/local")
SYSTEM = layout(Manager.SYSTEMD, Scope.SYSTEM, Path("/home/me"))
DOCKER = Bridge("docker0", ipaddress.ip_interface("172.18.0.1/16"))
PODMAN = Bridge("podman0", ipaddress.ip_interface("10.88.0.1/16"))
V4, V6, GUESSED = ("127.0.0.1", 4003), ("::1", 4003), ("172.17.0.1", 4003)
POOLS = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")  # of container engines
OTHER_POOL = Bridge("br-0123456789ab", ipaddress.ip_interface("198.18.7.1/24"))  # as default-address-pools may say


def network(text: str):
    return ipaddress.ip_network(text)


DOORS = [
    # name, map, bridges, addresses, sources
    ("the default, before Docker is there", PortMap(), (), (V4, V6, GUESSED), ("localhost", *POOLS)),
    ("with Docker", PortMap(), (DOCKER,), (V4, V6, GUESSED), ("localhost", *POOLS)),
    ("with Podman", PortMap(), (PODMAN,), (V4, V6, GUESSED), ("localhost", *POOLS)),
    ("with a pool of its own", PortMap(), (OTHER_POOL,), (V4, V6, GUESSED), ("localhost", *POOLS, "198.18.7.0/24")),
    ("one address", PortMap(listen=(Listen("127.0.0.1", 4003),)), (DOCKER,), (V4,), ("localhost", *POOLS)),
    ("both loopbacks", PortMap(listen=(Listen("localhost", 4003),)), (), (V4, V6), ("localhost", *POOLS)),
    (
        "a list of its own",
        PortMap(
            listen=(Listen("192.0.2.1", 4003),), allow=Allow(False, (network("192.0.2.0/24"), network("192.0.2.7/32")))
        ),
        (DOCKER,),
        (("192.0.2.1", 4003),),
        ("localhost", "192.0.2.0/24"),
    ),
    ("everybody", PortMap(allow=Allow(True, (network("0.0.0.0/0"),))), (), (V4, V6, GUESSED), ("any",)),
]


@pytest.mark.parametrize("name, port_map, bridges, addresses, sources", DOORS, ids=[row[0] for row in DOORS])
def test_a_map_becomes_addresses_and_a_list_for_the_kernel(name, port_map, bridges, addresses, sources):
    (door,) = target(SYSTEM, PROGRAM, Config(maps=(port_map,)), 252, bridges).doors
    assert (door.addresses, door.sources) == (addresses, sources)


FOLLOWED = [
    ("auto", PortMap(), (), POOLS),
    ("auto, and bridges that are there", PortMap(), (DOCKER, PODMAN, OTHER_POOL), (*POOLS, "198.18.7.0/24")),
    ("addresses", PortMap(listen=(Listen("127.0.0.1", 4003), Listen("172.17.0.1", 4003))), (DOCKER,), ()),
]


@pytest.mark.parametrize("name, port_map, bridges, networks", FOLLOWED, ids=[row[0] for row in FOLLOWED])
def test_the_relay_follows_bridges_only_where_the_map_listens_on_them(name, port_map, bridges, networks):
    aim = target(SYSTEM, PROGRAM, Config(maps=(port_map,)), 252, bridges)
    assert aim.follow_bridges == networks
    unit = files(aim)["ib-relay.service"]
    told = [line for line in unit.splitlines() if line.startswith("Environment=IB_RELAY")]
    assert told == ([f"Environment=IB_RELAY_FOLLOW_BRIDGES={','.join(networks)}"] if networks else [])
    let_in = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("IPAddressAllow=")]
    assert let_in == ["localhost", *networks]


UPSTREAMS = [
    ("127.0.0.1", ("localhost",)),
    ("localhost", ("localhost",)),
    ("10.3.1.187", ("localhost", "10.3.1.187")),
    ("2001:db8::1", ("localhost", "2001:db8::1")),
    ("gateway.lan", ("any",)),  # tomorrow it may mean another address
]


@pytest.mark.parametrize("host, expected", UPSTREAMS)
def test_the_relay_may_dial_its_gateway_and_nobody_else(host, expected):
    port_map = PortMap(upstream=Upstream(host, 4002))
    assert target(SYSTEM, PROGRAM, Config(maps=(port_map,)), 252, ()).upstreams == expected


def test_a_stop_may_take_as_long_as_the_drain():
    assert target(SYSTEM, PROGRAM, Config(drain_timeout=60.2), 252, ()).stop_seconds == 66


def test_sockets_of_somebody_elses_making_are_refused_with_the_reason():
    port_map = PortMap(listen=(Listen("systemd:mine", 0),))
    with pytest.raises(Refusal, match="units of your own making"):
        target(SYSTEM, PROGRAM, Config(maps=(port_map,)), 252, ())


PROGRAMS = [
    (
        "zipapp",
        PROGRAM,
        ("/usr/bin/python3", "-I", "-S", "/usr/local/lib/ib-relay/ib-relay.pyz", "run"),
        ("/usr/bin/python3", "/usr/lib", "-/usr/lib64"),
    ),
    (
        "venv",
        VENV,
        ("/opt/v/bin/python", "-I", "-m", "relay", "run"),
        ("/opt/v/bin/python", "/usr/lib", "-/usr/lib64", "/usr/local/lib", "/opt/v"),
    ),
]


@pytest.mark.parametrize("name, program, command, paths", PROGRAMS, ids=[row[0] for row in PROGRAMS])
def test_the_command_and_what_may_be_executed(name, program, command, paths):
    found = target(SYSTEM, program, Config(), 252, ())
    assert (found.command, found.exec_paths) == (command, paths)


def test_launchd_listens_on_loopback_only_and_has_files_of_its_own():
    where = layout(Manager.LAUNCHD, Scope.USER, Path("/Users/me"))
    found = target(where, PROGRAM, Config(), 252, (DOCKER,))
    assert found.doors[0].addresses == (V4, V6)
    assert found.command[-4:] == (
        "--config",
        "/Users/me/.config/ib-relay/config.toml",
        "--log-file",
        "/Users/me/Library/Logs/ib-relay/ib-relay.log",
    )
    assert list(files(found)) == [f"{LABEL}.plist"]


OF_THE_SYSTEM = ("/usr/local/lib/ib-relay/ib-relay.pyz", "/etc/ib-relay/config.toml")
OF_A_USER = ("/h/.local/lib/ib-relay/ib-relay.pyz", "/h/.config/ib-relay/config.toml")
LAYOUTS = [
    (Manager.SYSTEMD, Scope.SYSTEM, "/etc/systemd/system", *OF_THE_SYSTEM),
    (Manager.SYSTEMD, Scope.USER, "/h/.config/systemd/user", *OF_A_USER),
    (Manager.LAUNCHD, Scope.SYSTEM, "/Library/LaunchDaemons", *OF_THE_SYSTEM),
    (Manager.LAUNCHD, Scope.USER, "/h/Library/LaunchAgents", *OF_A_USER),
]


@pytest.mark.parametrize("manager, scope, units, program, config", LAYOUTS)
def test_where_everything_lies(manager, scope, units, program, config):
    found = layout(manager, scope, Path("/h"))
    assert (str(found.units), str(found.program), str(found.config)) == (units, program, config)


# The configuration file


@pytest.fixture
def where(tmp_path) -> Layout:
    return Layout(Manager.SYSTEMD, Scope.USER, tmp_path, tmp_path / "x.pyz", tmp_path / "config.toml")


def test_without_a_file_a_commented_one_is_made(where):
    loaded, text = configuration(where, (), None)
    assert loaded.config == Config()
    assert '# listen = "auto:4003"\n# upstream = "127.0.0.1:4002"\n' in text


@pytest.mark.parametrize(
    "listen, line",
    [
        (("127.0.0.1:4003",), 'listen = "127.0.0.1:4003"'),
        (("127.0.0.1:1,[::1]:1",), 'listen = ["127.0.0.1:1", "[::1]:1"]'),
    ],
)
def test_what_was_given_is_in_the_new_file_and_means_the_same_there(where, listen, line):
    loaded, text = configuration(where, listen, "10.0.0.9:4001")
    assert f'{line}\nupstream = "10.0.0.9:4001"\n' in text
    where.config.write_text(text)
    again, none = configuration(where, (), None)
    assert (again.config, none) == (loaded.config, None)


def test_flags_that_say_the_same_as_the_file_change_nothing(where):
    where.config.write_text('[[map]]\nupstream = "10.0.0.9:4001"\n')
    loaded, text = configuration(where, (), "10.0.0.9:4001")
    assert (str(loaded.config.maps[0].upstream), text) == ("10.0.0.9:4001", None)


@pytest.mark.parametrize(
    "file, upstream, words, code",
    [
        ('[[map]]\nupstream = "10.0.0.9:4001"\n', "10.0.0.8:4001", "change it there", 78),
        ("nonsense = 1\n", None, "nonsense: unknown key", 78),
        (None, "nowhere", "upstream: seen", 78),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(where, file, upstream, words, code):
    if file is not None:
        where.config.write_text(file)
    with pytest.raises(Refusal, match=words) as refused:
        configuration(where, (), upstream)
    assert refused.value.code == code


def test_a_file_in_a_standard_place_has_no_say_before_ours_is_written(where, monkeypatch, tmp_path):
    (tmp_path / "ib-relay").mkdir()
    (tmp_path / "ib-relay/config.toml").write_text('[[map]]\nupstream = "10.0.0.9:4001"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert configuration(where, (), None)[0].config == Config()
