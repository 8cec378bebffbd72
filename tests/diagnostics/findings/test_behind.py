"""The words where a forwarder stands between: about what is behind it, for every program, in every kind of place."""

import re
from dataclasses import replace

import pytest

from diagnostics.evidence import Fact, Forwarder
from diagnostics.findings.behind import (
    BEHIND,
    OURS,
    PROGRAMS,
    behind_words,
    commands_behind,
    commands_for_both,
    is_about_what_answers,
)
from diagnostics.findings.behind import said_behind as filled
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.rules.advice import advice
from diagnostics.rules.run_view import look_at
from tests.diagnostics.findings.test_commands import readable
from tests.diagnostics.findings.test_wording import FOREIGN, ONLY_IN
from tests.diagnostics.place.test_setting import PLACES
from tests.diagnostics.recorded import OPEN, PLAIN, SILENT, probe, run, view

ANOTHER = "a forwarder"
UP = "127.0.0.1:4002"
ABOUT = [code for code, entry in CATALOGUE.items() if is_about_what_answers(code, entry.commands)]


def words_of(code, program, upstream=UP):
    """What is said on this machine, behind this program."""
    forwarder = Forwarder(program, "", 4003, upstream)
    host = replace(view(OPEN), forwarders=(forwarder,))
    here = probe("127.0.0.1", "configured", SILENT, source="127.0.0.1")
    seen = look_at(run(PLAIN, here, host=host))
    return advice(seen, code, seen.judged)


@pytest.mark.parametrize("program", [*PROGRAMS, ANOTHER])
@pytest.mark.parametrize("code", ABOUT)
def test_nothing_is_looked_for_at_the_port_that_the_client_dials(code, program):
    said = words_of(code, program)
    assert said.between == f"{program} has port 4003 and leads to {UP}, as seen here."
    for command in said.commands:
        if not command.startswith("ib-diagnose "):  # which keeps the target that was typed
            assert "4003" not in command or "4002" in command, "both, where the clients are looked for, too"
        assert readable(command) or not command.startswith("ib-")
    assert not re.search(r"\b(HOST|PORT|APIPORT|UPSTREAM)\b|{\w+}", " ".join((said.check, said.fix, *said.commands)))


@pytest.mark.parametrize("code", CATALOGUE)
def test_nobody_with_the_relay_is_told_to_put_it_there(code):
    if code in ABOUT:
        said = words_of(code, OURS)
        assert not re.search(r"[Pp]ut the relay|ib-relay run --upstream", " ".join((said.fix, *said.commands)))


@pytest.mark.parametrize("code", CATALOGUE)
def test_what_is_about_the_way_there_is_said_as_without_a_forwarder(code):
    if code not in ABOUT:
        assert words_of(code, OURS).between == ""


@pytest.mark.parametrize(("known", "setting"), PLACES, ids=[f"{at}-{one.name}" for at, (_, one) in enumerate(PLACES)])
def test_no_word_is_foreign_to_the_place_where_the_default_port_was_dialled(known, setting):
    facts = tuple(Fact(name, value, "a test") for name, value in known.items())
    seen = look_at(run(facts, probe("172.17.0.1", "gateway", SILENT)))
    for code in ABOUT:
        said = advice(seen, code, seen.judged)
        assert setting not in ONLY_IN.get(code, {setting}) or said.between.startswith("4003 is ib-relay's default port")
        for text in (said.fix, said.check, *said.commands):
            found = [
                (match[0], text)
                for where, pattern in FOREIGN
                if setting in where
                for match in re.finditer(pattern, text)
            ]
            assert found == [], code


@pytest.mark.parametrize("code", BEHIND)
def test_the_words_are_as_short_and_plain_as_the_others(code):
    for row in BEHIND[code]:
        assert row.fix or row.check or row.commands is not None
        for program in PROGRAMS:
            fix, check, where = (filled(text, program, 4003, UP) for text in (row.fix, row.check, row.where_to_look))
            assert len(fix) <= 260 and len(check) <= 160 and all(len(line) <= 76 for line in row.commands or ())
            for text in filter(None, (fix, check)):
                assert text.isascii() and text[-1] in ".?" and "  " not in text
            assert not where or (where[0].islower() and where[-1] != ".")


@pytest.mark.parametrize("code", BEHIND)
def test_every_row_is_reached(code):
    assert {id(behind_words(code, program)) for program in (*PROGRAMS, ANOTHER)} >= set(map(id, BEHIND[code]))


def test_a_verdict_about_what_was_asked_for_has_words_for_behind_it():
    of_another_service = [code for code in ABOUT if "another service" in CATALOGUE[code].where_to_look]
    assert of_another_service == ["IBD401", "IBD402", "IBD403"]
    assert all(behind_words(code, ANOTHER).where_to_look for code in of_another_service)


def test_behind_docker_proxy_only_what_is_about_its_upstream_is_asked_inside():
    asked = ("ss -tn state syn-sent", "ss -ltn 'sport = :APIPORT'", "curl -sI http://UPSTREAM/")
    inside = ("ss -tn state syn-sent", "docker exec GATEWAY ss -ltn 'sport = :APIPORT'", "curl -sI http://UPSTREAM/")
    assert (commands_behind("docker-proxy", asked), commands_behind(OURS, asked)) == (inside, asked)


def test_where_it_is_not_sure_both_places_are_looked_at():
    asked = {
        "ss -tn state close-wait '( sport = :APIPORT )'": (
            "ss -tn state close-wait '( sport = :PORT or sport = :APIPORT )'",
        ),
        "ss -ltnp 'sport = :PORT or sport = :APIPORT'": ("ss -ltnp 'sport = :PORT or sport = :APIPORT'",),
        "lsof -nP -iTCP:APIPORT -sTCP:LISTEN": ("lsof -nP -iTCP:PORT,APIPORT -sTCP:LISTEN",),
        "curl -sI http://UPSTREAM/": ("curl -sI http://HOST:PORT/", "curl -sI http://UPSTREAM/"),
        "ib-diagnose --target UPSTREAM --verbose": ("ib-diagnose --target HOST:PORT --verbose",),
        "docker port GATEWAY": ("docker port GATEWAY",),
    }
    assert {command: commands_for_both((command,)) for command in asked} == asked


def test_a_place_from_a_command_line_that_is_no_plain_one_is_not_put_into_a_command():
    assert "curl -sI http://UPSTREAM/" in words_of("IBD402", "socat", "$(reboot):4002").commands
    assert "curl -sI http://[fd00::2]:4004/" in words_of("IBD402", "socat", "[fd00::2]:4004").commands
