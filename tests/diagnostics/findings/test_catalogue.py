"""The catalogue: every entry whole, every reference there, no circle, and commands one can type."""

import re

import pytest

from diagnostics.findings.catalogue import CATALOGUE, ELSEWHERE
from diagnostics.findings.entry import LOGIN_FAULTS, NAME_FAULTS, Side, Sign

ENTRIES = tuple(CATALOGUE.values())
EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)

# Programs somebody has on the gateway's host or in a container, or gets with one package.
PROGRAMS = {"cat", "curl", "docker", "getent", "grep", "ib-diagnose", "ib-relay"}
PROGRAMS |= {"ip", "iptables", "nft", "openssl", "ps", "ss", "ufw"}
PLACEHOLDERS = {"ADDRESS", "APIPORT", "UPSTREAM", "HOST", "HOSTIP", "PORT", "GATEWAY", "CLIENT", "NETWORK", "SUBNET"}


@EVERY
def test_an_entry_is_whole(entry):
    assert re.fullmatch(r"IBD[1-9]\d\d", entry.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.slug)
    assert entry.severity in ("error", "warning", "info")
    assert isinstance(entry.side, Side) and entry.side is not Side.NONE
    assert entry.causes and entry.commands and entry.fix and entry.check and entry.docs
    assert all(isinstance(sign, Sign) for sign in (*entry.excluded_by, *entry.supported_by, *entry.doubted_by))


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
    texts = [entry.title, *entry.causes, entry.fix, *entry.commands, entry.check, entry.docs]
    texts += [entry.does, entry.where_to_look, entry.fix_if_newer]
    for known in entry.explanations:
        texts += [known.check, known.check_after_fin, known.meaning, known.after_reset]
    for text in texts:
        assert text.isascii() and text.isprintable() and text == text.strip() and "  " not in text


@EVERY
def test_clauses_for_the_verdict_begin_small_and_have_no_full_stop(entry):
    """They stand in the middle of its line; one for a whole sentence gets its capital there."""
    clauses = [entry.does, entry.where_to_look, *(known.after_reset for known in entry.explanations)]
    for clause in filter(None, clauses):
        assert clause[0].islower() and clause[-1] != "." and set(re.findall(r"{(\w*)}", clause)) <= {"network"}


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
    assert set(entry.silenced_by) <= set(CATALOGUE) - {entry.code}
    assert len(set(entry.silenced_by)) == len(entry.silenced_by)


@EVERY
def test_explanations_are_in_the_catalogue_and_more_than_one(entry):
    codes = [known.code for known in entry.explanations]
    assert set(codes) <= set(CATALOGUE) and len(set(codes)) == len(codes) != 1


@EVERY
def test_what_is_said_after_a_fin_or_a_reset_has_its_ordinary_words_too(entry):
    for known in entry.explanations:
        assert known.check or not (known.check_after_fin or known.after_reset)


@EVERY
def test_every_code_a_text_mentions_is_in_the_catalogue(entry):
    checks = [known.check + known.check_after_fin for known in entry.explanations]
    mentioned = re.findall(r"IBD\d+", " ".join((*entry.causes, entry.fix, entry.check, entry.docs, *checks)))
    assert set(mentioned) <= set(CATALOGUE)


def test_signs_are_for_codes_that_explain_something():
    explaining = {known.code for entry in ENTRIES for known in entry.explanations}
    marked = {entry.code for entry in ENTRIES if entry.excluded_by or entry.supported_by or entry.doubted_by}
    assert marked <= explaining


def test_every_sign_is_used():
    used = {sign for entry in ENTRIES for sign in (*entry.excluded_by, *entry.supported_by, *entry.doubted_by)}
    first = {sign for entry in ENTRIES for explanation in entry.explanations for sign in explanation.first_with}
    assert used | first == set(Sign)


def test_no_code_depends_on_itself_by_way_of_others():
    left = {entry.code: set(entry.silenced_by) for entry in ENTRIES}
    while free := {code for code, causes in left.items() if not causes & set(left)}:
        left = {code: causes for code, causes in left.items() if code not in free}
    assert left == {}


def test_codes_and_slugs_are_unique_and_in_order():
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert len({entry.slug for entry in ENTRIES}) == len(ENTRIES)


def test_a_login_fault_is_an_error_of_the_six_hundreds():
    sixes = [entry for entry in ENTRIES if entry.code.startswith("IBD6")]
    assert set(LOGIN_FAULTS) == {entry.code for entry in sixes if entry.severity == "error"}
    assert set(NAME_FAULTS) <= {code for code in CATALOGUE if code.startswith("IBD1")}


# The pairs that a container cannot tell apart, both ways round: whichever is found offers the other.
PAIRS = [
    ("IBD303", {"IBD304", "IBD305", "IBD306", "IBD307"}),
    ("IBD301", {"IBD302"}),
    ("IBD201", {"IBD202", "IBD208"}),
    ("IBD205", {"IBD207"}),
    ("IBD503", {"IBD602", "IBD605", "IBD607"}),
]


@pytest.mark.parametrize(("code", "others"), PAIRS, ids=[code for code, _ in PAIRS])
def test_what_looks_the_same_is_offered(code, others):
    assert others <= {known.code for known in CATALOGUE[code].explanations}


# Permanent: a code that was given out keeps its meaning. Add new ones at the end of their block; take none away.
CODES = {
    1: range(101, 111),
    2: range(201, 212),
    3: range(301, 312),
    4: range(401, 409),
    5: range(501, 508),
    6: range(601, 618),
    7: range(701, 705),
    8: range(801, 805),
    9: range(901, 902),
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


def test_no_fix_names_a_gateways_port_that_may_be_the_one_that_was_tried_nor_how_it_was_given():
    """The inner ports of an image are a forwarder's; a target may be typed, or come from a variable."""
    fixes = [(code, one.fix) for code, entry in CATALOGUE.items() for one in (entry, *ELSEWHERE.get(code, ()))]
    assert [code for code, fix in fixes if re.search(r"\b(4001|4002|7496|7497)\b|\bIB_[A-Z]", fix)] == []
