"""What is shown of the probes."""

import pytest

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, ProbeStage, Route, StageResult
from diagnostics.report.table import MAX_ROWS, NOTHING, Cell, RouteRow, cells, duration, overview, several

OK, REFUSED, TIMED_OUT, SKIPPED = Outcome.OK, Outcome.REFUSED, Outcome.TIMED_OUT, Outcome.SKIPPED
UNREACHABLE = Outcome.UNREACHABLE


def probe(host, *results, port=4003, kind="name", **known):
    """A probe; `results` are (outcome, seconds[, detail]) from RESOLVE on, SKIPPED after them."""
    results += ((SKIPPED, None),) * (len(ProbeStage) - len(results))
    stages = tuple(StageResult(stage, *result) for stage, result in zip(ProbeStage, results, strict=True))
    return Probe(Route(host, port, kind, "why"), stages, **known)


def seen(*probes, chosen=None, verbose=False):
    return overview(Evidence(0.0, "0", Asked(), probes=probes), chosen, verbose)


HEALTHY = ((OK, 0.0012), (OK, 0.0004), (OK, 0.15), (OK, 0.012), (OK, 0.03), (OK, 0.004))


@pytest.mark.parametrize(
    "seconds, told",
    [
        (0.0, "1 ms"),
        (0.0004, "1 ms"),
        (0.012, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (3.5, "3.5 s"),
        (59.6, "60 s"),
    ],
)
def test_durations_have_two_or_three_digits(seconds, told):
    assert duration(seconds) == told


def test_long_lists_end_with_how_many_more():
    assert several("abc") == "a, b, c"
    assert several("abcdefghijkl", 3) == "a, b, c and 9 more"


def test_a_cell_is_the_outcome_with_its_time():
    failed = probe("gw", (OK, 0.0012), (TIMED_OUT, 3.5), address="10.0.0.1")
    assert cells(failed) == (Cell(OK, "OK 1 ms"), Cell(TIMED_OUT, "TIMED_OUT 3.5 s"), *(NOTHING,) * 4)
    assert [cell.text for cell in cells(probe("gw", *HEALTHY))] == [
        "OK 1 ms",
        "OK 1 ms",
        "OK",
        "OK 12 ms",
        "OK 30 ms",
        "OK 4 ms",
    ]


def test_an_address_was_not_looked_up():
    assert cells(probe("10.0.0.1", (OK, 0.0), (REFUSED, None), address="10.0.0.1"))[:2] == (
        NOTHING,
        Cell(REFUSED, "REFUSED"),
    )


def test_stages_that_are_missing_doubled_or_out_of_order_do_no_harm():
    odd = Probe(
        Route("gw", 1, "x", ""), (StageResult(ProbeStage.SYNC, OK, 1.0), StageResult(ProbeStage.SYNC, REFUSED, 2.0))
    )
    assert cells(odd) == (*(NOTHING,) * 5, Cell(OK, "OK 1.0 s"))
    assert cells(Probe(Route("gw", 1, "x", ""), ())) == (NOTHING,) * 6


def test_the_common_port_leaves_the_names():
    both = seen(probe("a", *HEALTHY), probe("fd00::1", (OK, 0.0), (REFUSED, 0.001)), chosen="a:4003")
    assert (both.port, [(row.name, row.chosen) for row in both.rows]) == (4003, [("a", True), ("fd00::1", False)])
    other = seen(probe("a", *HEALTHY), probe("fd00::1", (OK, 0.0), (REFUSED, 0.001), port=4001))
    assert (other.port, [row.name for row in other.rows]) == (None, ["a:4003", "[fd00::1]:4001"])


def test_routes_that_tell_nothing_new_are_one_line_each_kind():
    table = seen(
        probe("typed.example", (UNREACHABLE, 0.002), kind="configured"),
        probe("host.docker.internal", *HEALTHY[:2], (OK, 0.15), address="172.17.0.1"),
        probe("172.17.0.1", same_as="host.docker.internal:4003", kind="bridge"),
        probe("host.lima.internal", (UNREACHABLE, 0.002)),
        probe("host.orb.internal", (UNREACHABLE, 0.002)),
    )
    assert [row.name for row in table.rows] == ["typed.example", "host.docker.internal"]
    assert table.notes == (
        "host.docker.internal is 172.17.0.1",
        "same address as host.docker.internal: 172.17.0.1",
        "names that do not resolve here: host.lima.internal, host.orb.internal",
    )


def test_verbose_has_a_row_for_everything_that_was_tried():
    table = seen(probe("host.lima.internal", (UNREACHABLE, 0.002)), probe("b", same_as="a:4003"), verbose=True)
    assert [row.name for row in table.rows] == ["host.lima.internal"]
    assert table.notes == ("same address as a: b",)


def test_other_ports_where_nothing_is_are_one_line_for_all_hosts():
    def other(host, port):
        return probe(host, (OK, 0.0), (REFUSED, 0.001), port=port, kind="sibling", address="10.0.0.1")

    siblings = [other(host, port) for host in ("gw", "b") for port in (4001, 7496)]
    answering = probe("gw", *HEALTHY[:3], port=4002, kind="sibling")
    table = seen(probe("gw", (OK, 0.0), (REFUSED, 0.001)), *siblings, other("c", 4001), answering)
    assert [row.name for row in table.rows] == ["gw:4003", "gw:4002"]
    assert table.notes == (
        "REFUSED on the other usual ports too (4001, 7496): gw, b",
        "REFUSED on the other usual ports too (4001): c",
    )


def test_why_a_good_route_got_no_handshake_is_told_once():
    skipped = (SKIPPED, None, "one handshake per run")
    table = seen(*(probe(host, (OK, 0.0), (OK, 0.001), (OK, 0.15), skipped, skipped, skipped) for host in "ab"))
    assert table.notes == ("HELLO: one handshake per run",)
    after_a_failure = seen(probe("a", (OK, 0.0), (REFUSED, 0.1), (SKIPPED, None, "because of CONNECT")))
    assert after_a_failure.notes == ()


def test_what_the_gateway_says_of_itself_is_told():
    table = seen(probe("a", *HEALTHY, server_version=178, accounts=("DU***67",)))
    assert table.notes == ("a:4003 speaks server version 178, accounts DU***67",)
    shown = tuple(f"DU***{number}" for number in range(100, 116))
    for count, left in ((40, "32 more"), (16, "8 more"), (None, "perhaps more")):
        (note,) = seen(probe("a", *HEALTHY, server_version=178, accounts=shown, account_count=count)).notes
        assert note.endswith(f", accounts {', '.join(shown[:8])} and {left}")


def test_a_thousand_routes_with_endless_names_stay_readable():
    table = seen(*(probe(f"{number}{'x' * 3000}", *HEALTHY, address="\x1b[2J") for number in range(1000)))
    assert len(table.rows) == MAX_ROWS
    assert table.notes[0] == "and 960 more routes"
    assert max(map(len, [*table.notes, *(row.name for row in table.rows)])) < 2000
    assert "\x1b" not in repr(table).encode().decode("unicode_escape")


def test_no_probe_no_table():
    assert (seen().rows, seen().notes) == ((), ())
    assert RouteRow("a", ()).chosen is False
