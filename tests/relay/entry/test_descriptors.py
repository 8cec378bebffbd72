"""relay/entry/descriptors.py: what the next start may have open is what this one was started with, raised or not."""

import resource

import pytest

from relay.config.limits import USUAL_OPEN_FILES
from relay.entry.descriptors import AT_START, open_files_at_start, raised_open_files


@pytest.fixture
def limit():
    """Of this process; put back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
    yield 600
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_it_was_at_the_start_is_known_after_it_was_raised_and_to_the_next_program(limit):
    environ = {AT_START: "77"}  # of a process before this one
    assert open_files_at_start(False, environ) == limit
    raised_open_files()
    assert open_files_at_start(True, environ) == limit


@pytest.mark.parametrize("noted", [None, "", "nonsense", "-3"])
def test_after_a_program_that_did_not_note_it_a_unit_without_a_limit_is_assumed(limit, noted):
    raised_open_files()
    assert open_files_at_start(True, {} if noted is None else {AT_START: noted}) == USUAL_OPEN_FILES
