"""Exit code and tone of a diagnosis."""

import pytest

from diagnostics.findings.entry import Side
from diagnostics.rules.diagnosis import EXIT, Diagnosis, Finding, Level, Verdict, exit_code, tone

WARNING, ERROR, INFO = Finding("IBD702", ""), Finding("IBD203", ""), Finding("IBD703", "")
EXITS = [
    ("usable", Level.USABLE, (), 0, 0),
    ("a handshake, and no more was wanted", Level.ANSWERS, (), 0, 0),
    ("no TCP", Level.NO_TCP, (ERROR,), 2, 2),
    ("no handshake", Level.NO_HANDSHAKE, (ERROR, WARNING), 3, 3),
    ("no session", Level.NO_SESSION, (ERROR,), 4, 4),
    ("usable with a warning", Level.USABLE, (WARNING,), 0, 5),
    ("usable, with an error on another route", Level.USABLE, (ERROR,), 0, 5),
    ("usable with a remark", Level.USABLE, (INFO,), 0, 0),
]


@pytest.mark.parametrize(("name", "level", "findings", "code", "strict"), EXITS, ids=[row[0] for row in EXITS])
def test_the_exit_code(name, level, findings, code, strict):
    diagnosis = Diagnosis(Verdict(level, "", None, Side.NONE), findings)
    assert (exit_code(diagnosis), exit_code(diagnosis, fail_on_warning=True)) == (code, strict)


def test_the_exit_code_is_that_of_the_configured_target():
    diagnosis = Diagnosis(Verdict(Level.USABLE, "", "gw:4003", Side.ROUTING, Level.NO_TCP), (ERROR,))
    assert (exit_code(diagnosis), exit_code(diagnosis, fail_on_warning=True)) == (2, 2)
    assert tone(diagnosis).value == "bad"


def test_every_level_has_an_exit_code():
    assert set(EXIT) == set(Level)


@pytest.mark.parametrize(
    "level, codes, expected",
    [
        (Level.USABLE, (), "good"),
        (Level.ANSWERS, (), "good"),
        (Level.USABLE, ("IBD703",), "good"),
        (Level.USABLE, ("IBD701", "IBD703"), "warning"),
        (Level.USABLE, ("IBD101",), "warning"),
        (Level.NO_SESSION, ("IBD503",), "bad"),
        (Level.NO_HANDSHAKE, (), "bad"),
        (Level.NO_TCP, ("IBD201",), "bad"),
    ],
)
def test_the_tone_is_that_of_the_worst_that_matters(level, codes, expected):
    findings = tuple(Finding(code, "") for code in codes)
    assert tone(Diagnosis(Verdict(level, "", None, Side.NONE), findings)).value == expected
