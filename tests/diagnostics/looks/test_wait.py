"""diagnostics/looks/wait.py: when the next look is due, what is told, and who comes after."""

import os
import signal
import subprocess
import sys

import pytest

from diagnostics.evidence import Outcome, Probe, ProbeStage, Route, StageResult
from diagnostics.looks.check import Goal, Look
from diagnostics.looks.wait import HEARD, UNHEARD, become, pause, wait

ROUTE = Route("gw", 4002, "configured", "a test")


def seen(stage=None, outcome=Outcome.OK):
    """A look that ended at this stage, or a good patience."""
    results, failed = [], False
    for step in ProbeStage:
        results.append(StageResult(step, Outcome.SKIPPED if failed else outcome if step is stage else Outcome.OK))
        failed = failed or step is stage
    return Look(Goal.HELLO, "gw:4002", Probe(ROUTE, tuple(results)))


GOOD, REFUSED = seen(), seen(ProbeStage.CONNECT, Outcome.REFUSED)
DIALLED_NOBODY, NO_NAME = seen(ProbeStage.CONNECT, Outcome.TIMED_OUT), seen(ProbeStage.RESOLVE, Outcome.TIMED_OUT)
SILENT, CLOSED = seen(ProbeStage.HELLO, Outcome.TIMED_OUT), seen(ProbeStage.QUIET, Outcome.CLOSED)


class Patience:
    """A clock that only sleeping and looking move; the looks come from a list, the last one for ever."""

    def __init__(self, *looks, took=0.0):
        self.looks, self.took, self.now, self.at, self.reported = list(looks), took, 100.0, [], []

    def look_once(self, limit):
        assert limit > 0
        self.at.append(round(self.now - 100.0, 3))
        self.now += min(self.took, limit)
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def wait(self, limit):
        return wait(self.look_once, limit, self.reported.append, lambda: self.now, self.sleep)


@pytest.mark.parametrize("look, bounds", [(REFUSED, UNHEARD), (SILENT, HEARD), (CLOSED, HEARD)])
def test_pauses_double_up_to_a_bound_that_depends_on_who_heard_of_us(look, bounds):
    assert [pause(look, n) for n in (1, 2, 3)] == [bounds[0], bounds[0] * 2, bounds[0] * 4]
    assert pause(look, 10) == pause(look, 10**9) == bounds[1]


def test_a_good_look_ends_it_at_once():
    patience = Patience(GOOD)
    assert (patience.wait(10), patience.at) == (GOOD, [0.0])


def test_looks_come_at_growing_intervals_and_start_anew_when_the_failure_is_another():
    patience = Patience(REFUSED, REFUSED, REFUSED, SILENT, SILENT, REFUSED, GOOD)
    assert patience.wait(0) is GOOD
    assert patience.at == [0.0, 0.25, 0.75, 1.75, 2.75, 4.75, 5.0]


def test_only_changes_are_told_with_the_time():
    patience = Patience(REFUSED, REFUSED, SILENT, SILENT, GOOD)
    patience.wait(0)
    assert [line.split(" s: ")[0] for line in patience.reported] == ["0.0", "0.8", "3.8"]
    assert [line.split(" s: ")[1] for line in patience.reported] == [REFUSED.line, SILENT.line, GOOD.line]


@pytest.mark.parametrize("limit", [0.01, 0.3, 1.0, 1.3, 7.0, 60.0])
@pytest.mark.parametrize("look, took", [(REFUSED, 0.0), (REFUSED, 3.5), (SILENT, 5.0)])
def test_the_limit_is_kept_and_used(look, took, limit):
    patience = Patience(look, took=took)
    assert patience.wait(limit) is look
    spent = patience.now - 100.0
    assert spent <= limit + 1e-6
    assert limit - spent <= max(0.06, 0.0)
    assert len(patience.at) <= 4 + limit * 2


def test_the_last_look_before_the_end_has_time_for_an_answer():
    patience = Patience(SILENT, took=0.001)
    patience.wait(12.0)
    assert any(9.5 <= at <= 11.0 for at in patience.at)


CUT_SHORT = (
    # (looks in order, seconds each takes, the limit, which of them is the result, how many lines)
    ("no time was left to dial", (CLOSED, DIALLED_NOBODY), 0.0, 0.9, CLOSED, 1),
    ("nor for the name", (CLOSED, NO_NAME), 0.0, 0.9, CLOSED, 1),
    ("the name takes all of the last second", (CLOSED, NO_NAME), 0.5, 3.0, CLOSED, 1),
    ("a hello that had no time for an answer", (REFUSED, REFUSED, SILENT), 0.0, 0.6, REFUSED, 1),
    ("a silence that had", (CLOSED, SILENT), 0.0, 2.5, SILENT, 2),
    ("a resolver that is dead", (CLOSED, NO_NAME), 3.0, 8.0, NO_NAME, 2),
    ("what was seen in time", (CLOSED, REFUSED), 0.0, 0.9, REFUSED, 2),
    ("good in the last moment", (CLOSED, GOOD), 0.0, 0.9, GOOD, 2),
    ("there is no other look", (DIALLED_NOBODY,), 0.0, 0.04, DIALLED_NOBODY, 1),
)


@pytest.mark.parametrize("looks, took, limit, result, lines", [c[1:] for c in CUT_SHORT], ids=[c[0] for c in CUT_SHORT])
def test_a_look_without_time_to_see_anything_does_not_replace_one_that_had_it(looks, took, limit, result, lines):
    patience = Patience(*looks, took=took)
    assert patience.wait(limit) is result
    assert len(patience.reported) == lines


# What comes after: the command itself, in the place of this process


def becoming(*command, code="pass"):
    program = (
        f"import sys; from diagnostics.looks.wait import become; {code}; print(become(sys.argv[1:])); sys.exit(99)"
    )
    return subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=20)


@pytest.mark.slow
def test_the_command_takes_over_with_the_signals_of_a_fresh_process():
    ask = "import signal; print(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))"
    inner = f"{ask}; print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    done = becoming(sys.executable, "-c", inner, code="import signal; signal.signal(signal.SIGTERM, lambda *a: None)")
    direct = subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True, timeout=20)
    # SIGTERM and SIGINT in words; and what is ignored: that of our own caller, as under nohup, and Python's own.
    assert done.stdout.split()[:-1] == ["0", "<built-in", "function", "default_int_handler>"]
    assert (done.returncode, done.stdout) == (0, direct.stdout)
    assert becoming("/bin/sh", "-c", "kill -PIPE $$; echo alive").returncode == -signal.SIGPIPE


def test_a_command_that_is_not_there_or_no_program_has_the_shells_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest's own handlers stay
    assert become(["no-such-program-at-all"]) == (127, "no-such-program-at-all: No such file or directory")
    assert become([f"{os.devnull}/x"])[0] == 127
    (tmp_path / "text").write_text("")
    assert become([str(tmp_path / "text")]) == (126, f"{tmp_path}/text: Permission denied")
