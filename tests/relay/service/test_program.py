"""Which program a service would run, and why it may not do."""

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from relay import __version__, pyz
from relay.service.program import Program, does_not_start, same_sources, this_program, unfit_for_system, version_of

GOOD = Program("/usr/bin/env", Path("/root/ib-relay.pyz"), Path("/root/ib-relay.pyz/relay"), "/usr", "/usr")


@pytest.mark.parametrize(
    "name, program, words",
    [
        ("a zipapp anywhere: it is copied", GOOD, ""),
        ("an interpreter of a user", replace(GOOD, python="/home/me/.pyenv/bin/python3"), "lies below /home"),
        (
            "a venv of root",
            replace(GOOD, archive=None, prefix="/root/v", package=Path("/root/v/relay")),
            "lies below /root",
        ),
        (
            "a venv in /tmp",
            replace(GOOD, archive=None, prefix="/tmp/v", package=Path("/tmp/v/relay")),
            "lies below /tmp",
        ),
        ("an interpreter that is gone", replace(GOOD, python="/nonexistent/python3"), "cannot be reached"),
    ],
)
def test_what_the_system_can_run(name, program, words):
    assert words in unfit_for_system(program) and bool(words) == bool(unfit_for_system(program))


def test_a_folder_closed_to_others_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("relay.service.program.HIDDEN", ())
    (tmp_path / "closed").mkdir(mode=0o700)
    assert "is closed to others" in unfit_for_system(replace(GOOD, python=str(tmp_path / "closed/python3")))


def test_this_is_a_checkout():
    program = this_program()
    assert (program.archive, program.python) == (None, sys.executable)


@pytest.mark.slow
def test_a_checkout_cannot_be_a_service_and_is_told_how_it_can(tmp_path):
    bare = replace(this_program(), python=sys._base_executable)  # without whatever is installed beside us
    assert "this is a checkout, not an installation: build the one-file program" in does_not_start(bare)


@pytest.mark.slow
def test_a_zipapp_starts_and_a_broken_one_is_told(tmp_path):
    archive = tmp_path / "ib-relay.pyz"
    pyz.build(archive)
    program = replace(this_program(), archive=archive)
    assert does_not_start(program) == ""
    assert (version_of(archive), version_of(tmp_path / "none")) == (__version__, "unknown")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("relay/extra.py", "")
    assert not same_sources(archive, tmp_path / "none")
    archive.write_bytes(b"")
    assert "no longer the file" in does_not_start(program)
