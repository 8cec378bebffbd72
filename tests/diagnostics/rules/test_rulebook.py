"""The words and selections rules are written with."""

from diagnostics.evidence import Outcome, ProbeStage
from diagnostics.rules.rulebook import Match, counted, error_of, failing_at, match, milliseconds_after, names, time_at
from diagnostics.rules.run_view import look_at
from tests.diagnostics.recorded import BRIDGE, NOBODY, PROHIBITED, REFUSED, SILENT, probe, run


def test_routes_are_named_as_far_as_one_wants_to_read():
    routes = tuple(probe(f"10.0.0.{number}", "configured", REFUSED) for number in range(6))
    assert names(routes[:2]) == "10.0.0.0:4003, 10.0.0.1:4003"
    assert names(routes) == "10.0.0.0:4003, 10.0.0.1:4003, 10.0.0.2:4003, 10.0.0.3:4003 and 2 more"
    assert names((probe("fd00::1", "configured"),)) == "[fd00::1]:4003"


def test_probes_are_chosen_by_stage_outcome_and_error():
    a, b, c = (probe(host, "configured", end) for host, end in (("a", REFUSED), ("b", NOBODY), ("c", SILENT)))
    view = look_at(run(BRIDGE, a, b, c))
    assert failing_at(ProbeStage.CONNECT, Outcome.REFUSED, Outcome.UNREACHABLE)(view) == (a, b)
    assert failing_at(ProbeStage.CONNECT, Outcome.UNREACHABLE, errors=("EHOSTUNREACH",))(view) == (b,)
    assert failing_at(ProbeStage.CONNECT, Outcome.UNREACHABLE, errors=("EACCES",))(view) == ()


def test_a_match_begins_with_its_routes_and_without_routes_there_is_none():
    one = probe("a", "configured", REFUSED)
    assert match((one,), "refused") == Match("a:4003: refused", (one,))
    assert match((), "refused") is None
    assert (time_at((), ProbeStage.HELLO), error_of(())) == ("", "")


def test_words_for_numbers():
    assert [counted(number, "socket") for number in (0, 1, 2)] == ["0 sockets", "1 socket", "2 sockets"]
    assert time_at((probe("a", "configured", PROHIBITED),), ProbeStage.CONNECT) == " in 0.0 s"
    assert [milliseconds_after(seconds, "it") for seconds in (None, 0.0012)] == ["", " 1 ms after it"]
