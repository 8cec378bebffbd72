"""The catalogue: every entry whole, every reference there, no circle, and commands one can type."""

import re

import pytest

from diagnostics.findings.catalogue import CATALOGUE, LOGIN

ENTRIES = tuple(CATALOGUE.values())
EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)

# Programs somebody has on the gateway's host or in a container, or gets with one package.
PROGRAMS = {"cat", "curl", "docker", "getent", "grep", "ib-diagnose", "ib-relay"}
PROGRAMS |= {"ip", "iptables", "nft", "openssl", "ps", "ss", "ufw"}
PLACEHOLDERS = {"HOST", "PORT", "GATEWAY", "CLIENT", "NETWORK"}


@EVERY
def test_an_entry_is_whole(entry):
    assert re.fullmatch(r"IBD[1-8]\d\d", entry.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.slug)
    assert entry.severity in ("error", "warning", "info")
    assert entry.covered in ("real", "recorded")
    assert entry.causes and entry.commands and entry.fix and entry.check


@EVERY
def test_texts_are_of_a_length_one_reads(entry):
    assert 10 <= len(entry.title) <= 90 and not entry.title.endswith(".")
    assert all(10 <= len(cause) <= 140 and not cause.endswith(".") for cause in entry.causes) and len(entry.causes) <= 5
    assert 4 <= len(entry.fix) <= 260 and entry.fix.endswith(".")
    assert 10 <= len(entry.check) <= 160 and entry.check[-1] in ".?"
    assert 100 <= len(entry.docs) <= 600 and entry.docs.endswith(".")
    assert 2 <= len(re.findall(r"\.(?: |$)", entry.docs)) <= 6


@EVERY
def test_texts_are_plain(entry):
    for words in (entry.title, *entry.causes, entry.fix, *entry.commands, entry.check, entry.docs):
        assert words.isascii() and words.isprintable() and words == words.strip() and "  " not in words


@EVERY
def test_commands_are_things_one_can_type(entry):
    for command in entry.commands:
        assert command.split()[0] in PROGRAMS
        assert command.count("'") % 2 == 0 and command.count('"') % 2 == 0 and len(command) <= 100
        assert set(re.findall(r"(?<![\w.-])[A-Z]{4,}(?![\w-])", command)) <= PLACEHOLDERS


@EVERY
def test_commands_look_or_start_and_change_no_firewall_but_on_purpose(entry):
    """A command may be pasted by somebody in a hurry: nothing here deletes, flushes or opens more than it says."""
    for command in entry.commands:
        assert not re.search(r"\brm\b|prune|flush|delete|--privileged|0\.0\.0\.0", command)


def test_of_our_own_program_only_known_words_are_used():
    words = {
        command.split()[1] for entry in ENTRIES for command in entry.commands if command.startswith("ib-diagnose ")
    }
    assert words <= {"wait", "watch", "--target", "--port", "--client-id", "--timeout"}


@EVERY
def test_causes_that_silence_it_are_in_the_catalogue(entry):
    assert set(entry.depends_on) <= set(CATALOGUE) - {entry.code}
    assert len(set(entry.depends_on)) == len(entry.depends_on)


def test_no_code_depends_on_itself_by_way_of_others():
    left = {entry.code: set(entry.depends_on) for entry in ENTRIES}
    while free := {code for code, causes in left.items() if not causes & set(left)}:
        left = {code: causes for code, causes in left.items() if code not in free}
    assert left == {}


def test_codes_and_slugs_are_unique_and_in_order():
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert len({entry.slug for entry in ENTRIES}) == len(ENTRIES)


def test_a_login_code_is_one_of_the_six_hundreds():
    assert set(LOGIN) == {code for code in CATALOGUE if code.startswith("IBD6")}


# Permanent: a code that was given out keeps its meaning. Add new ones at the end of their block; take none away.
CODES = {
    1: range(101, 107),
    2: range(201, 211),
    3: range(301, 311),
    4: range(401, 408),
    5: range(501, 507),
    6: range(601, 612),
    7: range(701, 705),
    8: range(801, 805),
}


def test_no_code_is_lost_and_none_is_used_that_is_not_written_down():
    assert set(CATALOGUE) == {f"IBD{number}" for numbers in CODES.values() for number in numbers}


def test_what_is_fine_is_called_fine():
    for code in ("IBD504", "IBD701", "IBD702", "IBD802", "IBD803"):
        entry = CATALOGUE[code]
        assert entry.severity == "warning"
        assert "onnecti" in entry.fix + entry.title + entry.docs and ("fine" in entry.title + entry.fix)


def test_silence_is_never_blamed_on_docker():
    entry = CATALOGUE["IBD303"]
    assert "not at Docker" in entry.fix
    assert not [command for command in entry.commands if "network" in command or "--add-host" in command]
