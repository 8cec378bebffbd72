"""relay/service/drift.py: what is installed against what install would write now. Booted systemds: tests/systemd."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay.config.addresses import Upstream
from relay.config.load import Config, Loaded, PortMap
from relay.service.definition import files, layout, target
from relay.service.drift import drift, unit_forbids
from relay.service.program import Program
from relay.service.render import Manager, Scope
from relay.service.wanted import Wanted

PROGRAM = Program("/usr/bin/python3", Path("/root/ib-relay.pyz"), Path("/root/ib-relay.pyz/relay"), "/usr", "/usr")


@pytest.fixture
def plan(tmp_path):
    """What install would write for this upstream, below a folder of the test's; `write(plan)` writes it."""

    def make(host="127.0.0.1", scope=Scope.SYSTEM):
        where = replace(layout(Manager.SYSTEMD, scope, tmp_path), units=tmp_path, program=tmp_path / "ib-relay.pyz")
        config = Config(maps=(PortMap(upstream=Upstream(host, 4002)),))
        aim = target(where, PROGRAM, config, 252, ())
        return Wanted(where, PROGRAM, Loaded(config, {}), None, aim, files(aim))

    return make


def write(plan):
    for name, text in plan.files.items():
        (plan.where.units / name).write_text(text)


def test_what_install_has_just_written_has_not_drifted(plan):
    write(plan())
    assert list(drift(plan())) == []


def test_a_line_that_differs_is_told_from_both_sides_and_a_file_that_is_missing_is_named(plan):
    write(plan())
    (plan().where.units / "ib-relay.socket").unlink()
    unit = plan().where.units / "ib-relay.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=10", "WatchdogSec=20"))
    assert list(drift(plan())) == [
        f"{plan().where.units / 'ib-relay.socket'}: no such file or directory",
        "ib-relay.service: has now WatchdogSec=20",
        "ib-relay.service: install would write WatchdogSec=10",
    ]


def test_an_upgrade_that_was_cut_short_is_told(plan):
    write(plan())
    kept = plan().where.program.with_suffix(".pyz.old")
    kept.touch()
    assert [line.partition(":")[0] for line in drift(plan())] == [f"{kept} is the program of before"]


FORBIDDEN = [
    # installed for, configured now, whether the unit is in the way
    ("127.0.0.1", "127.0.0.1", False),
    ("127.0.0.1", "localhost", False),
    ("127.0.0.1", "::1", False),
    ("127.0.0.1", "203.0.113.7", True),
    ("127.0.0.1", "192.168.1.20", False),  # a network that could be a container engine's
    ("127.0.0.1", "gateway.lan", True),  # may be any address
    ("203.0.113.7", "203.0.113.7", False),
    ("203.0.113.7", "203.0.113.8", True),
    ("gateway.lan", "203.0.113.7", False),
    ("127.0.0.1", "2001:db8::1", True),
    ("127.0.0.1", "fe80::1%eth0", True),
]


@pytest.mark.parametrize("installed, configured, forbidden", FORBIDDEN)
def test_a_unit_that_forbids_the_configured_gateway_is_named(plan, installed, configured, forbidden):
    write(plan(installed))
    why = unit_forbids(plan(configured), Upstream(configured, 4002))
    assert bool(why) is forbidden
    if forbidden:
        assert why.startswith("the installed unit lets the relay dial only localhost, 10.0.0.0/8, ") or installed in why
        assert "ib-relay service install" in why


def test_where_there_is_no_unit_or_no_filter_nothing_is_in_the_way(plan):
    assert unit_forbids(plan(), Upstream("203.0.113.7", 4002)) == ""
    write(plan(scope=Scope.USER))
    assert unit_forbids(plan(scope=Scope.USER), Upstream("203.0.113.7", 4002)) == ""
