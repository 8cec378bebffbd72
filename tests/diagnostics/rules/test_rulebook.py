"""The words and selections rules are written with."""

from diagnostics.evidence import Outcome, Stage
from diagnostics.rules.rulebook import at, counted, names, seconds, told
from diagnostics.rules.seen import look_at
from tests.diagnostics.recorded import BRIDGE, NOBODY, PROHIBITED, REFUSED, SILENT, probe, run


def test_routes_are_named_as_far_as_one_wants_to_read():
    routes = tuple(probe(f"10.0.0.{at}", "configured", REFUSED) for at in range(6))
    assert names(routes[:2]) == "10.0.0.0:4003, 10.0.0.1:4003"
    assert names(routes) == "10.0.0.0:4003, 10.0.0.1:4003, 10.0.0.2:4003, 10.0.0.3:4003 and 2 more"
    assert names((probe("fd00::1", "configured"),)) == "[fd00::1]:4003"


def test_probes_are_chosen_by_stage_outcome_and_error():
    a, b, c = (probe(host, "configured", end) for host, end in (("a", REFUSED), ("b", NOBODY), ("c", SILENT)))
    seen = look_at(run(BRIDGE, a, b, c))
    assert at(Stage.CONNECT, Outcome.REFUSED, Outcome.UNREACHABLE)(seen) == (a, b)
    assert at(Stage.CONNECT, Outcome.UNREACHABLE, errors=("EHOSTUNREACH",))(seen) == (b,)
    assert at(Stage.CONNECT, Outcome.UNREACHABLE, errors=("EACCES",))(seen) == ()


def test_nothing_found_is_nothing_said():
    assert told((), "words") is None
    assert seconds((), Stage.HELLO) == ""


def test_words_for_numbers():
    assert [counted(number, "socket") for number in (0, 1, 2)] == ["0 sockets", "1 socket", "2 sockets"]
    assert seconds((probe("a", "configured", PROHIBITED),), Stage.CONNECT) == " in 0.0 s"
