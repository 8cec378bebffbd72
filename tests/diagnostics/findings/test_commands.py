"""Every command of ours that a finding suggests can be typed as it stands, and keeps the target the user typed."""

import re
import shlex

import click
import pytest

from diagnostics.cli.arguments import read_asked, read_targets
from diagnostics.cli.commands import parse, parser_of
from diagnostics.cli.diagnosing import ANSWER
from diagnostics.evidence import Asked, RepairedSetting
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.place.targets import ProbeTarget
from diagnostics.rules.advice import USUAL_TIMEOUT, command_of
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.run_view import look_at
from relay.cli.commands import commands as relay_commands
from tests.diagnostics.recorded import BRIDGE, CASES, POD, REFUSED, STRANGER, UNKNOWN_PLACE, probe, run

ELSEWHERE = {
    "IBD106",
    "IBD204",
    "IBD211",
    "IBD407",
}  # the target that was typed is the fault
HOSTS = ("ib-gateway", "172.18.0.3", "fd00::3")


def readable(command: str) -> bool:
    """Ours, and then: read by our own parser, with nothing run."""
    words = shlex.split(command)
    if words[0] == "ib-diagnose":
        parse(words[1:])
        return True
    if words[0] == "ib-relay":
        command, rest = relay_commands, words[1:]
        context = command.make_context("ib-relay", list(rest))
        while isinstance(command, click.Group):
            name, command, rest = command.resolve_command(context, rest)
            context = command.make_context(name, list(rest), parent=context)
        return True
    return False


@pytest.mark.parametrize("place", [BRIDGE, POD, UNKNOWN_PLACE], ids=["bridge", "pod", "unknown"])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("code", CATALOGUE)
def test_a_command_keeps_the_target_that_was_typed(code, host, place):
    seen = look_at(run(place, probe(host, "configured", REFUSED, "172.18.0.3", port=7497)))
    for probes in (seen.judged, ()):
        for command in CATALOGUE[code].commands:
            typed = command_of(command, seen, probes)
            if readable(typed) and typed.startswith("ib-diagnose ") and code not in ELSEWHERE:
                _, options = parse(shlex.split(typed)[1:])
                assert read_targets(options, {}) == ((ProbeTarget(host, 7497),), 7497), typed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_command_of_every_recorded_run_can_be_read(case):
    for finding in diagnose(case.evidence).findings:
        for command in finding.commands:
            assert readable(command) or not command.startswith(("ib-diagnose", "ib-relay")), command


TYPED = [
    # (command, what was asked for, what is suggested)
    ("ib-diagnose wait --for online", Asked(client_id=7), "ib-diagnose wait --target ib-gateway:7497 --for online"),
    (
        "ib-diagnose --target HOST:PORT --verbose",
        Asked(client_id=7, timeout=30),
        "ib-diagnose --client-id 7 --timeout 30 --target ib-gateway:7497 --verbose",
    ),
    ("ib-diagnose --client-id 7301", Asked(client_id=7), "ib-diagnose --target ib-gateway:7497 --client-id 7301"),
    ("ib-diagnose --client-id 7301", Asked(client_id=7301), "ib-diagnose --target ib-gateway:7497 --client-id 7302"),
    (
        "ib-diagnose wait --for online",
        Asked(min_version=157, max_version=178),
        "ib-diagnose wait --target ib-gateway:7497 --client-versions 157..178 --for online",
    ),
    ("ib-diagnose --timeout 20", Asked(False), "ib-diagnose --target ib-gateway:7497 --no-session --timeout 20"),
    (
        "ib-diagnose --client-id 7302",
        Asked(min_version=157, max_version=178),
        "ib-diagnose --target ib-gateway:7497 --client-versions 157..178 --client-id 7302",
    ),
    ("ib-relay run --upstream 127.0.0.1:4002", Asked(), "ib-relay run --upstream 127.0.0.1:7497"),
    ("ip neigh show ADDRESS", Asked(), "ip neigh show 172.18.0.3"),
    ("getent hosts HOST", Asked(), "getent hosts ib-gateway"),
]


@pytest.mark.parametrize(("command", "asked", "suggested"), TYPED, ids=[row[0] for row in TYPED])
def test_what_was_typed_and_matters_is_kept(command, asked, suggested):
    seen = look_at(run(BRIDGE, probe("ib-gateway", "configured", REFUSED, "172.18.0.3", port=7497), asked=asked))
    assert command_of(command, seen, seen.judged) == suggested


def test_several_targets_are_kept_where_several_can_be_given():
    two = (probe("a", "configured", REFUSED, "10.0.0.1"), probe("b", "configured", REFUSED, "10.0.0.2"))
    seen = look_at(run(BRIDGE, *two))
    assert command_of("ib-diagnose --timeout 20", seen, ()).count("--target") == 2
    assert command_of("ib-diagnose watch", seen, ()).count("--target") == 1


def test_a_port_without_a_target_is_kept():
    seen = look_at(run(BRIDGE, probe("172.17.0.1", "gateway", REFUSED, port=4001)))
    assert command_of("ib-diagnose wait", seen, ()) == "ib-diagnose wait --port 4001"
    assert command_of("ib-diagnose wait", seen, seen.judged) == "ib-diagnose wait --target 172.17.0.1:4001"


def test_a_host_from_a_file_that_is_no_plain_name_is_not_put_in():
    odd = probe("a;reboot", "configured", REFUSED, "10.0.0.1")
    for command in ("ib-diagnose wait", "getent hosts HOST", "ib-diagnose --target HOST:PORT"):
        assert command_of(command, look_at(run(BRIDGE, odd)), (odd,)) == "", "and a command with a blank is no command"


REDIRECTS = [
    # (as the gateway said it, the target to type)
    ("10.0.0.9:4001", "10.0.0.9:4001"),
    ("[::1]:4001", "[::1]:4001"),
    ("::1", "[::1]:7497"),
    ("[::1]", "[::1]:7497"),
    ("gate", "gate:7497"),
    ("[[::1]]:4001", ""),
    ("a;reboot:4001", ""),
    ("gate:99999", ""),
]


@pytest.mark.parametrize(("redirect", "target"), REDIRECTS, ids=[row[0] for row in REDIRECTS])
def test_a_redirect_leads_to_a_target_that_can_be_typed(redirect, target):
    one = probe("ib-gateway", "configured", STRANGER, "172.18.0.3", port=7497, redirect=redirect)
    wanted = (f"ib-diagnose --target {target}",) if target else ()
    assert diagnose(run(BRIDGE, one)).findings[0].commands == wanted


def test_a_link_local_target_is_kept_with_its_interface():
    one = probe("fe80::1%eth0", "configured", REFUSED, "fe80::1%eth0")
    suggested = command_of("ib-diagnose wait", look_at(run(BRIDGE, one)), (one,))
    assert suggested == "ib-diagnose wait --target [fe80::1%eth0]:4003"


def test_commands_that_look_for_variables_are_for_what_came_from_variables():
    one = probe("ib-gateway", "configured", REFUSED, "172.18.0.3")
    for origin, shown in (("--target", False), ("IB_HOST", True)):
        asked = Asked(repaired=(RepairedSetting(origin, "' ib-gateway'", ("blanks around it",), "ib-gateway"),))
        found = {finding.code: finding for finding in diagnose(run(BRIDGE, one, asked=asked)).findings}
        assert any("IB_" in command for command in found["IBD107"].commands) is shown


# What becomes of each option of a diagnosis in a command that is suggested: kept, or why not.
KEPT = {
    "--target": ["--target", "ib-gateway:7497"],
    "--port": ["--port", "7497"],
    "--client-versions": ["--client-versions", "157..178"],
    "--client-id": ["--client-id", "7"],
    "--no-session": ["--no-session"],
    "--timeout": ["--timeout", "30"],
}
NOT_KEPT = {
    "--help": "ends at once",
    "--session": "is the default",
    "--every-route": "the command names its route",
    "--format": "is about the report",
    "--output": "is about the report, and would overwrite it",
    "--save": "is about the report, and would overwrite it",
    "--from": "the command looks anew",
    "--gateway-log": "the log has grown meanwhile, and a pipe is gone",
    "--fail-on": "is about the exit code",
    "--verbose": "is about the report",
}


def test_every_option_of_a_diagnosis_is_kept_or_has_a_reason_not_to_be():
    options = {name for action in parser_of("diagnose")._actions for name in action.option_strings if name[1] == "-"}
    assert options == KEPT.keys() | NOT_KEPT.keys()


@pytest.mark.parametrize("option", KEPT)
@pytest.mark.parametrize("command", ["ib-diagnose --verbose", "ib-diagnose wait --for online", "ib-diagnose watch"])
def test_an_option_that_matters_is_kept(command, option):
    """By the way of a whole command line: read, looked with, suggested, and read again."""
    _, typed = parse(KEPT[option])
    targets, port = read_targets(typed, {})
    asked = read_asked(typed, targets, session=typed.session, timeout=typed.timeout, environ={})
    host, kind = ("ib-gateway", "configured") if targets else ("172.17.0.1", "gateway")
    seen = look_at(run(BRIDGE, probe(host, kind, REFUSED, "172.18.0.3", port=port), asked=asked))
    _, again = parse(shlex.split(command_of(command, seen, ()))[1:])
    assert read_targets(again, {})[1] == port
    assert not targets or again.target == ["ib-gateway:7497"]
    assert again.client_versions == typed.client_versions
    if command == "ib-diagnose --verbose":
        assert (again.client_id, again.session, again.timeout) == (typed.client_id, typed.session, typed.timeout)


@pytest.mark.parametrize("code", CATALOGUE)
def test_checks_and_commands_have_no_blank_for_what_is_known(code):
    entry, seen = CATALOGUE[code], look_at(run(BRIDGE, probe("ib-gateway", "configured", REFUSED, "172.18.0.3")))
    checks = [known.check + known.check_after_fin + known.check_from_loopback for known in entry.explanations]
    texts = [command_of(text, seen, seen.judged) for text in (*entry.commands, entry.check, *checks)]
    assert not re.search(r"(?<![\w-])(ADDRESS|HOST|PORT)\b", " ".join(texts))


def test_the_usual_time_is_that_of_the_command():
    assert USUAL_TIMEOUT == ANSWER
