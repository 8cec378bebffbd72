"""diagnostics/cli/arguments.py: which of flag, target, environment and default wins, and what is refused."""

from argparse import ArgumentTypeError
from types import SimpleNamespace

import pytest

from diagnostics.cli import arguments, diagnosing, looking
from diagnostics.cli.arguments import Parser, read_asked, read_targets
from diagnostics.cli.output import CommandError
from diagnostics.evidence import Asked
from diagnostics.place.addresses import DEFAULT_PORT
from diagnostics.place.targets import ProbeTarget
from relay.config.load import PortMap


def given(*target, port=None, client_id=None, client_versions=None):
    return SimpleNamespace(target=list(target), port=port, client_id=client_id, client_versions=client_versions)


PLACES = [
    ("nothing at all", given(), {}, [], DEFAULT_PORT),
    ("a target", given("gw"), {}, [ProbeTarget("gw")], DEFAULT_PORT),
    (
        "a target's port is everybody's",
        given("gw:7497", "gw2"),
        {},
        [ProbeTarget("gw", 7497), ProbeTarget("gw2")],
        7497,
    ),
    ("--port beats a target's for the others", given("gw:7497", port="4002"), {}, [ProbeTarget("gw", 7497)], 4002),
    ("the environment", given(), {"IB_HOST": "gw", "IB_PORT": "4001"}, [ProbeTarget("gw", None, "IB_HOST")], 4001),
    ("a port in IB_HOST", given(), {"IB_HOST": "gw:4002"}, [ProbeTarget("gw", 4002, "IB_HOST")], 4002),
    (
        "IB_PORT beats the one in IB_HOST for the others",
        given(),
        {"IB_HOST": "gw:4002", "IB_PORT": "1"},
        [ProbeTarget("gw", 4002, "IB_HOST")],
        1,
    ),
    ("a flag beats the environment", given("gw", port="5"), {"IB_HOST": "no", "IB_PORT": "6"}, [ProbeTarget("gw")], 5),
    ("a target without a port takes IB_PORT", given("gw"), {"IB_PORT": "6"}, [ProbeTarget("gw")], 6),
    ("empty variables are unset ones", given(), {"IB_HOST": "", "IB_PORT": " "}, [], DEFAULT_PORT),
    (
        "a variable that does not count is not read",
        given("gw:1"),
        {"IB_HOST": "::bad::", "IB_PORT": "bad"},
        [ProbeTarget("gw", 1)],
        1,
    ),
]


@pytest.mark.parametrize("options, environ, targets, port", [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
def test_where_to_look(options, environ, targets, port):
    assert read_targets(options, environ) == (tuple(targets), port)


REFUSED = [
    ("port 0", given(port="0"), {}, "--port '0'"),
    ("port 70000", given(port="70000"), {}, "--port '70000'"),
    ("a word as port", given(port="paper"), {}, "--port 'paper'"),
    ("a target's port", given("gw:70000"), {}, "--target 'gw:70000'"),
    ("a user", given("tcp://me@gw:1"), {}, "--target '***@gw:1'"),
    ("IB_PORT", given(), {"IB_PORT": "4002x"}, "IB_PORT '4002x'"),
    ("IB_HOST", given(), {"IB_HOST": "a b"}, "IB_HOST 'a b'"),
]


@pytest.mark.parametrize("options, environ, said", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_no_place_is_refused_by_name(options, environ, said):
    with pytest.raises(CommandError) as refused:
        read_targets(options, environ)
    assert said in str(refused.value) and "\n" not in str(refused.value)


REPAIRED = [
    ("a CR", given(), {"IB_HOST": "gw\r"}, ("gw", DEFAULT_PORT), [("IB_HOST", "gw")]),
    ("quotes", given('"gw:1"'), {}, ("gw", 1), [("--target", "gw:1")]),
    ("Kubernetes", given("gw"), {"IB_PORT": "tcp://10.96.0.12:4002"}, ("gw", 4002), [("IB_PORT", "4002")]),
    ("a comment", given("gw"), {"IB_PORT": "4002 # paper"}, ("gw", 4002), [("IB_PORT", "4002")]),
    ("nothing", given("gw"), {"IB_PORT": "4002"}, ("gw", 4002), []),
]


@pytest.mark.parametrize(
    "options, environ, place, said", [row[1:] for row in REPAIRED], ids=[row[0] for row in REPAIRED]
)
def test_a_value_that_can_be_repaired_is_read_and_told(options, environ, place, said):
    repairs = []
    targets, port = read_targets(options, environ, repairs)
    assert (targets[0].host, targets[0].port or port) == place
    assert [(one.origin, one.repaired) for one in repairs] == said and all(one.wrong for one in repairs)


def test_a_client_id_is_repaired_too():
    asked = read_asked(given(), (), session=True, timeout=2.0, environ={"IB_CLIENT_ID": "7 # the bot"})
    assert (asked.client_id, asked.repaired[0].repaired) == (7, "7")


def test_the_client_id_is_read_where_a_session_is_wanted():
    target = (ProbeTarget("gw", 1, "IB_HOST"),)
    environ = {"IB_CLIENT_ID": "7"}
    assert read_asked(given(), target, session=True, timeout=2.0, environ=environ) == Asked(True, 7, 2.0, "IB_HOST")
    assert read_asked(given(client_id="0"), (), session=True, timeout=5.0, environ=environ) == Asked(True, 0, 5.0, "")
    assert read_asked(given(), (), session=False, timeout=5.0, environ={"IB_CLIENT_ID": "x"}) == Asked(
        False, None, 5.0, ""
    )


@pytest.mark.parametrize("text, expected", [("203..223", (203, 223)), ("100..100", (100, 100))])
def test_client_versions_are_what_the_hello_asks_for(text, expected):
    versions = arguments.client_versions(text)
    asked = read_asked(given(client_versions=versions), (), session=True, timeout=5.0, environ={})
    assert (asked.min_version, asked.max_version) == versions == expected


@pytest.mark.parametrize("text", ["", "203", "223..203", "99..176", "100..9999", "a..b", "100..", "1e2..176"])
def test_what_is_no_range_of_versions_is_refused(text):
    with pytest.raises(ArgumentTypeError, match=r"MIN\.\.MAX from 100 to \d+ was expected"):
        arguments.client_versions(text)


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "2147483648", "9" * 5000, "٣"])
def test_what_is_no_client_id_is_refused(text):
    with pytest.raises(CommandError, match="--client-id"):
        read_asked(given(client_id=text), (), session=True, timeout=5.0, environ={})


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", "601"])
def test_what_is_no_time_is_refused_by_the_parser(text):
    parser = Parser(prog="ib-diagnose x")
    parser.add_argument("--timeout", type=arguments.seconds(0.1, 600))
    with pytest.raises(
        CommandError, match=r"--timeout: .* 0\.1 to 600 seconds were expected \(see ib-diagnose x --help\)"
    ):
        parser.parse_args([f"--timeout={text}"])


@pytest.mark.parametrize("add_options", [diagnosing.add_options, looking.check_options])
def test_whoever_waits_for_an_answer_waits_longer_than_our_relay_dials(add_options):
    """Else both give up at the same time, and the one cannot say what the other has met."""
    parser = Parser(prog="x")
    add_options(parser)
    assert parser.parse_args([]).timeout >= PortMap().connect_timeout + 1.0
