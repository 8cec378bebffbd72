"""A machine to look around on that is the same for everybody: what a test dials must not depend on where it runs."""

import functools

import pytest

from diagnostics.place import recognise
from diagnostics.place.facts import look_around
from diagnostics.probing import collect
from tests.diagnostics.commands import PLAIN_MACHINE


@pytest.fixture(scope="module")
def plain_machine():
    """For tests of whole runs in this process: `collect` sees a plain machine that has nothing but its loopback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "look_around", functools.partial(look_around, PLAIN_MACHINE / "root"))
        for name in (*recognise.VARIABLES, "TRADING_MODE"):
            patch.delenv(name, raising=False)
        yield
