"""The table of behaviours and what people type on the command line."""

import re

import pytest

from relay.practice import BEHAVIOURS, Moment, Parameter, parse_behaviour
from relay.practice.behaviours import parse_behaviours
from relay.practice.variants import ENTITLEMENT


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("normal", ("normal", None)),
        (" normal ", ("normal", None)),
        ("ticks", ("ticks", 1000.0)),
        ("ticks=20000", ("ticks", 20000.0)),
        ("slow-sync=0.5", ("slow-sync", 0.5)),
        ("session-reset", ("session-reset", 1.0)),
        ("fail-first=3", ("fail-first", 3.0)),
        ("client-limit", ("client-limit", 32.0)),
        ("pacing=50", ("pacing", 50.0)),
        ("redirect=gateway.example:4001", ("redirect", "gateway.example:4001")),
        ("redirect=::1:4001", ("redirect", "::1:4001")),
    ],
)
def test_what_is_typed_becomes_name_and_value(typed, expected):
    assert parse_behaviour(typed) == expected


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "unknown behaviour ''"),
        ("norml", "known: normal, ticks, wedged"),
        ("Normal", "unknown behaviour 'Normal'"),
        ("normal=1", "takes no value, '1' was given"),
        ("ticks=", "'' is not a number (ticks[=PER_SECOND])"),
        ("ticks=many", "'many' is not a number"),
        ("ticks=nan", "nan is not between 0 and 200000"),
        ("ticks=1e9", "1e9 is not between 0 and 200000"),
        ("slow-sync=-1", "-1 is not between 0 and 3600"),
        ("fail-first=1.5", "1.5 is not a whole number"),
        ("redirect", "needs a value: redirect=HOST:PORT"),
        ("redirect=4001", "'4001' is not HOST:PORT"),
        ("redirect=host:0", "'host:0' is not HOST:PORT"),
        ("redirect=host:70000", "'host:70000' is not HOST:PORT"),
        ("redirect=host:\N{SUPERSCRIPT TWO}", "is not HOST:PORT"),
    ],
)
def test_a_typing_error_is_answered_with_what_is_allowed(typed, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_behaviour(typed)


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_every_row_can_be_shown_and_typed(behaviour):
    assert behaviour.name == behaviour.name.lower() and " " not in behaviour.name and "=" not in behaviour.name
    assert behaviour.summary and behaviour.summary[-1] != "."
    assert behaviour.usage.startswith(behaviour.name)
    if behaviour.parameter is None:
        assert behaviour.default is None
    elif behaviour.parameter is not Parameter.ADDRESS:
        assert parse_behaviour(behaviour.name) == (behaviour.name, behaviour.default)
        assert parse_behaviour(f"{behaviour.name}={behaviour.default}") == (behaviour.name, behaviour.default)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("normal", (("normal", None),)),
        ("localised=zh", (("localised", "zh"),)),
        ("live-account+outage=3", (("outage", 3.0), ("live-account", None))),
        ("slow-hello + not-entitled=10090", (("slow-hello", 5.0), ("not-entitled", "10090"))),
    ],
)
def test_several_behaviours_may_be_typed(typed, expected):
    assert parse_behaviours(typed) == expected


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("close+reset", "behaviours close and reset cannot be played together"),
        ("localised+localised=zh", "behaviour localised is given twice"),
        ("outage+", "unknown behaviour ''"),
        ("not-entitled=162", "'162' is none of 354, 10089, 10090, 10091, 10168"),
        ("localised=fr", "'fr' is none of es, zh"),
    ],
)
def test_what_cannot_be_composed_is_said(typed, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_behaviours(typed)


def test_every_code_of_not_entitled_has_a_text_and_is_in_its_summary():
    for code, text in ENTITLEMENT.items():
        assert str(code) in BEHAVIOURS["not-entitled"].summary and text
        assert parse_behaviour(f"not-entitled={code}") == ("not-entitled", str(code))


def test_every_moment_of_a_session_has_a_behaviour():
    assert {behaviour.moment for behaviour in BEHAVIOURS.values()} == set(Moment)
