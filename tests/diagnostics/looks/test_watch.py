"""diagnostics/looks/watch.py: changes of state, each with its time, and nothing else."""

import pytest

from diagnostics.looks.watch import duration, watch
from tests.diagnostics.looks.test_wait import GOOD, REFUSED, SILENT


class Enough(Exception):
    pass


def watched(*looks):
    reported, clock, rest = [], [1700000000.0], list(looks)

    def sleep(seconds):
        clock[0] += seconds

    def look_once():
        if not rest:
            raise Enough
        return rest.pop(0)

    with pytest.raises(Enough):
        watch(look_once, 30.0, reported.append, lambda: clock[0], sleep)
    return reported


def test_the_first_state_and_every_change_is_told_with_the_time_it_lasted():
    assert watched(GOOD, GOOD, REFUSED, REFUSED, REFUSED, REFUSED, SILENT, GOOD, GOOD) == [
        f"2023-11-14T22:13:20Z  {GOOD.line}",
        f"2023-11-14T22:14:20Z  {REFUSED.line} (after 60 s)",
        f"2023-11-14T22:16:20Z  {SILENT.line} (after 2 min)",
        f"2023-11-14T22:16:50Z  {GOOD.line} (after 2 min)",
    ]


def test_an_outage_counts_from_its_first_phase():
    assert watched(GOOD, REFUSED, SILENT, REFUSED, GOOD)[-1] == f"2023-11-14T22:15:20Z  {GOOD.line} (after 90 s)"


DURATIONS = [(-5.0, "0 s"), (0.4, "0 s"), (119.4, "119 s"), (120, "2 min"), (3599, "59 min"), (3600, "1 h 00 min")]


@pytest.mark.parametrize("seconds, said", [*DURATIONS, (90061, "25 h 01 min")])
def test_times_are_told_as_coarsely_as_they_matter(seconds, said):
    assert duration(seconds) == said
