"""What comparing routes tells: the same failure everywhere, or different ones."""

import pytest

from diagnostics.evidence import Outcome, ProbeStage
from diagnostics.rules.run_view import look_at
from diagnostics.rules.side import distinct, same_everywhere, ways
from tests.diagnostics.recorded import BRIDGE, LISTENS, REFUSED, SILENT, probe, run

A, B, C = (probe(host, "configured", end) for host, end in (("a", REFUSED), ("b", SILENT), ("c", REFUSED)))
THROUGH = probe("d", "configured", LISTENS)
SAME = [
    ("one route", (A,), True),
    ("two that fail alike", (A, C), True),
    ("two that fail differently", (A, B), False),
    ("silent on one, the handshake was not tried on the other", (B, THROUGH), True),
    ("refused here, connects there", (A, THROUGH), False),
    ("nothing failed", (THROUGH,), False),
]


@pytest.mark.parametrize(("name", "probes", "same"), SAME, ids=[row[0] for row in SAME])
def test_a_failure_is_the_same_everywhere(name, probes, same):
    assert same_everywhere(look_at(run(BRIDGE, *probes))) is same


def test_every_way_to_fail_is_told_once():
    assert ways((A, B, C, THROUGH)) == {(ProbeStage.CONNECT, Outcome.REFUSED), (ProbeStage.HELLO, Outcome.TIMED_OUT)}
    assert distinct((A, B, C, THROUGH)) == (A, B)
    assert distinct((A, B), most=1) == (A,)
