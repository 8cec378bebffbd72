"""A machine to look around on that is the same for everybody: what a test dials must not depend on where it runs."""

import pytest

from diagnostics.place import facts
from diagnostics.place.surroundings import VARIABLES
from tests.diagnostics.commands import PLAIN_MACHINE


@pytest.fixture(scope="module")
def plain_machine():
    """For tests of whole runs in this process: they see a plain machine that has nothing but its loopback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "ROOT", str(PLAIN_MACHINE / "root"))
        for name in (*VARIABLES, "TRADING_MODE"):
            patch.delenv(name, raising=False)
        yield
