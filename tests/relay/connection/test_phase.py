"""relay/connection/phase.py: which phase may follow which, and that one place changes it."""

import ast
from pathlib import Path

import pytest

import relay.connection
from relay.connection.ending import Flushing, Stalled
from relay.connection.flow import Owner
from relay.connection.handshake import Handshake, PeekHandshake
from relay.connection.open_phase import Open
from relay.connection.opening import Opening
from relay.connection.phase import CLOSED, MAY_FOLLOW, Closed, Phase
from relay.logs.record import Cause, Reason
from tests.relay.kit.loopback import Rig

PHASES = (Opening, Handshake, PeekHandshake, Open, Stalled, Flushing, Closed)
FOLDER = Path(relay.connection.__file__).parent


def test_every_phase_is_in_the_table_and_the_table_has_no_other():
    assert (
        {phase.name for phase in PHASES}
        == set(MAY_FOLLOW)
        == {name for row in MAY_FOLLOW.values() for name in row} | {"Opening"}
    )


def test_everything_ends_and_nothing_comes_after_the_end():
    assert MAY_FOLLOW["Closed"] == ()
    assert [name for name, row in MAY_FOLLOW.items() if "Closed" not in row] == ["Closed"]


def test_the_phase_is_changed_in_one_place():
    changing = []
    for path in sorted(FOLDER.parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            if any(isinstance(target, ast.Attribute) and target.attr == "phase" for target in targets):
                changing.append(path.name)
    assert changing == ["connection.py"] * 2  # as it is made, and `enter`


def test_bytes_are_shown_to_an_observer_in_one_place():
    """So that no chunk is shown twice, or not at all: whoever moves bytes goes by flow.show."""
    shown = []
    for path in sorted(FOLDER.parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("observe", "client_to_gateway", "gateway_to_client"):
                    shown.append(path.name)
    assert shown == ["flow.py"]


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
def test_what_a_phase_does_not_expect_is_a_fault_that_names_it(phase):
    """A phase answers each report of a flow in its own way, or says that it cannot be."""
    reports = [name for name in vars(Owner) if name.startswith(("source_", "sink_"))]
    assert len(reports) == 4
    bare = [name for name in reports if getattr(phase, name) is getattr(Phase, name)]
    assert bare == (reports if phase in (Opening, Closed) else [])
    for name in bare:
        arguments = (None,) if name in ("source_ended", "source_broke") else (None, OSError("x"))
        with pytest.raises(NotImplementedError, match=f"in phase {phase.name}$"):
            getattr(phase, name)(phase.__new__(phase), *arguments)


async def test_an_order_of_phases_that_cannot_be_is_a_fault():
    async with Rig() as rig:
        _, _, connection = await rig.session()
        with pytest.raises(AssertionError, match="Opening after Open"):
            connection.enter(Opening(connection))
        assert type(connection.phase) is Open


async def test_what_has_ended_has_no_deadline_no_flows_and_the_one_last_phase():
    async with Rig(idle_timeout=60) as rig:
        _, _, connection = await rig.session()
        assert connection in rig.services.deadlines._due
        connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        assert connection.phase is CLOSED and connection.closed
        assert (connection.up, connection.down, rig.services.deadlines._due) == (None, None, {})
