"""Every command of ours that a finding suggests can be typed as it stands, and keeps the target the user typed."""

import re
import shlex

import click
import pytest

from diagnostics.cli.arguments import read_targets
from diagnostics.cli.commands import parse
from diagnostics.cli.diagnosing import ANSWER
from diagnostics.evidence import Asked
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.place.targets import ProbeTarget
from diagnostics.rules.advice import USUAL_TIMEOUT, command_of
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.run_view import look_at
from relay.cli.commands import commands as relay_commands
from tests.diagnostics.recorded import BRIDGE, CASES, POD, REFUSED, UNKNOWN_PLACE, probe, run

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
    assert command_of("ib-diagnose wait", look_at(run(BRIDGE, odd)), (odd,)) == "ib-diagnose wait --target HOST:4003"


@pytest.mark.parametrize("code", CATALOGUE)
def test_checks_and_commands_have_no_blank_for_what_is_known(code):
    entry, seen = CATALOGUE[code], look_at(run(BRIDGE, probe("ib-gateway", "configured", REFUSED, "172.18.0.3")))
    checks = [known.check + known.check_after_fin for known in entry.explanations]
    texts = [command_of(text, seen, seen.judged) for text in (*entry.commands, entry.check, *checks)]
    assert not re.search(r"(?<![\w-])(ADDRESS|HOST|PORT)\b", " ".join(texts))


def test_the_usual_time_is_that_of_the_command():
    assert USUAL_TIMEOUT == ANSWER
