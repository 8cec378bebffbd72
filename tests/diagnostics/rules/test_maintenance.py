"""IB's windows: inside, outside, on the edge, over midnight, over the change of clocks, without a zone database."""

import sys
from datetime import UTC, datetime, time, timedelta

import pytest

from diagnostics.rules import maintenance
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.diagnosis import Level
from diagnostics.rules.maintenance import MONDAY, WINDOWS, Window, inside, is_weekly_login
from tests.diagnostics.recorded import CASES


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# 18 November 2026 is a Wednesday; New York is at UTC-5 then and at UTC-4 in summer.
MOMENTS = [
    ("a quiet afternoon", "2026-11-18T15:20", []),
    ("a minute before the reset", "2026-11-18T05:14:59", []),
    ("its first minute", "2026-11-18T05:15", ["daily reset, North America"]),
    ("its last minute", "2026-11-18T06:44:59", ["daily reset, Europe", "daily reset, North America"]),
    ("the minute after it", "2026-11-18T06:45", []),
    ("the same in summer, an hour earlier", "2026-07-15T04:20", ["daily reset, North America"]),
    ("Friday night", "2026-11-21T04:20", ["weekend maintenance"]),
    ("after its midnight", "2026-11-21T07:59", ["weekend maintenance"]),
    ("its end", "2026-11-21T08:00", []),
    ("no reset on Saturday", "2026-11-21T12:30", []),
    ("the evening in Asia", "2026-11-18T12:30", ["second daily reset, Asia"]),
]


@pytest.mark.parametrize(("name", "moment", "names"), MOMENTS, ids=[row[0] for row in MOMENTS])
def test_a_moment_is_inside_its_windows(name, moment, names):
    assert sorted(one.name for one in inside(at(moment))) == names


@pytest.mark.parametrize("moment", [-1e11, 1e11, 0.0])
def test_any_time_of_an_evidence_has_an_answer(moment):
    assert inside(moment) in (None, ())
    assert is_weekly_login(moment) in (None, False, True)


def test_another_table_can_be_given():
    mine = (Window("ours", "UTC", (MONDAY,), time(23, 30), timedelta(hours=1)),)
    assert inside(at("2026-11-17T00:15"), mine) == mine
    assert inside(at("2026-11-18T00:15"), mine) == ()
    case = next(one for one in CASES if one.name == "upstream-lost")
    always = tuple(Window("all day", "UTC", tuple(range(7)), time(0, 0), timedelta(days=1)) for _ in "a")
    assert [one.code for one in diagnose(case.evidence, always).findings] == ["IBD701", "IBD703"]


def test_without_the_time_zone_database_it_is_not_known(monkeypatch):
    class Missing:
        def ZoneInfo(self, name):  # noqa: N802
            raise KeyError(name)

    monkeypatch.setitem(sys.modules, "zoneinfo", Missing())
    assert inside(at("2026-11-18T05:20")) is None
    assert is_weekly_login(at("2026-11-22T08:00")) is None
    case = next(one for one in CASES if one.name == "maintenance")
    diagnosis = diagnose(case.evidence)
    assert ([one.code for one in diagnosis.findings], diagnosis.verdict.level) == (["IBD701"], Level.USABLE)


WEEKLY = [
    ("before it", "2026-11-22T05:59", False),
    ("after it", "2026-11-22T06:00", True),
    ("a day later", "2026-11-23T06:00", False),
]


@pytest.mark.parametrize(("name", "moment", "due"), WEEKLY, ids=[row[0] for row in WEEKLY])
def test_the_weekly_login_is_due_from_sunday_one_o_clock_in_new_york(name, moment, due):
    assert is_weekly_login(at(moment)) is due


def test_the_table_says_when_it_is_of():
    assert maintenance.AS_OF.startswith("2026-")
    assert [one.sentence for one in WINDOWS][:2] == [
        "weekend maintenance, 23:00 to 03:00 America/New_York",
        "daily reset, North America, 00:15 to 01:45 America/New_York",
    ]
