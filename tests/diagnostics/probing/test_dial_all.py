"""All routes dialled together over loopback: every address once, within a budget, and no thread is waited for."""

import subprocess
import sys
import threading
from time import monotonic

import pytest

from diagnostics.evidence import Outcome, ProbeStage, Route
from diagnostics.probing import dial_all as module
from diagnostics.probing import probe, resolve
from diagnostics.probing.dial import DialResult
from diagnostics.probing.dial_all import dial_all
from diagnostics.probing.resolve import Resolution
from tests.diagnostics.peers import LINUX_ONLY, LOOPBACK, black_hole, practice, silent
from tests.relay.kit.scripted import PATIENCE, wait_until

OK, SKIPPED, TIMED_OUT, CLOSED = Outcome.OK, Outcome.SKIPPED, Outcome.TIMED_OUT, Outcome.CLOSED


def routes(*hosts, port):
    return [Route(one, port, "configured", "a test") for one in hosts]


def outcomes(found):
    return [one.outcome for one in found.stages]


def walked(*done):
    return [*done, *[SKIPPED] * (len(ProbeStage) - len(done))]


def test_a_name_and_its_address_are_dialled_once():
    with practice() as gateway:
        found = routes("gate", LOOPBACK, "again", port=gateway.port)
        known = Resolution((LOOPBACK,), 0.001)
        probes = dial_all(found, [known] * 3, 4.6)
        assert gateway.accepted == 1
    assert [one.same_as for one in probes] == [None, f"gate:{gateway.port}", f"gate:{gateway.port}"]
    assert outcomes(probes[1]) == walked(OK)


def test_a_slow_name_comes_last_and_still_counts(monkeypatch):
    def slow(name, port):
        wait_until(lambda: gateway.accepted, "the other one is dialled")
        return Resolution((LOOPBACK,), 0.4)

    monkeypatch.setattr(resolve, "look_up", slow)
    monkeypatch.setattr(module, "GRACE", 0.05)
    with practice() as gateway:
        probes = dial_all(routes("slow", LOOPBACK, port=gateway.port), [None, Resolution((LOOPBACK,), 0.0)], 4.6)
    assert (probes[0].same_as, probes[1].same_as) == (f"{LOOPBACK}:{gateway.port}", None)


@pytest.mark.slow
@LINUX_ONLY
def test_a_name_that_resolves_late_has_less_time_to_connect(monkeypatch):
    def late(name, port):
        threading.Event().wait(0.4)
        return Resolution((LOOPBACK,), 0.4)

    monkeypatch.setattr(resolve, "look_up", late)
    with black_hole() as port:
        started = monotonic()
        (found,) = dial_all(routes("late.example", port=port), [None], 0.6)
    assert monotonic() - started < 1.0
    assert outcomes(found) == walked(OK, TIMED_OUT)


def test_thirty_two_routes_are_dialled_at_once(monkeypatch):
    """No dial begins before all of them are there to begin."""
    opened, together = probe.opened, threading.Barrier(32)

    def meeting(*given):
        together.wait(PATIENCE)
        return opened(*given)

    monkeypatch.setattr(probe, "opened", meeting)
    with silent(backlog=64) as port:
        found = routes(*(f"gate{at}" for at in range(32)), port=port)
        known = [Resolution((LOOPBACK, f"127.0.1.{at}"), 0.0) for at in range(32)]
        probes = dial_all(found, known, PATIENCE)
    assert all(outcomes(one) == walked(OK, OK, OK) for one in probes)


def test_where_no_thread_can_be_started_it_goes_one_by_one(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with practice() as gateway:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        probes = dial_all(
            routes(LOOPBACK, "gate.example", port=gateway.port), [Resolution((LOOPBACK,), 0.0), None], 4.6
        )
        monkeypatch.undo()
    assert outcomes(probes[0]) == walked(OK, OK, OK)
    assert (outcomes(probes[1]), probes[1].stages[0].error) == (walked(Outcome.UNREACHABLE), "EAGAIN")


def test_a_fault_of_ours_in_a_thread_is_not_swallowed(monkeypatch):
    monkeypatch.setattr(module.probe, "opened", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dial_all(routes(LOOPBACK, port=4003), [Resolution((LOOPBACK,), 0.0)], 4.6)


def test_a_thread_that_does_not_come_back_is_not_waited_for(monkeypatch):
    release = threading.Event()
    late = None, DialResult(TIMED_OUT, 20.0)
    monkeypatch.setattr(module.probe, "opened", lambda *args: release.wait(20) and late)
    monkeypatch.setattr(module, "SLACK", 0.0)
    monkeypatch.setattr(module.probe, "QUIET", 0.0)
    (found,) = dial_all(routes(LOOPBACK, port=4003), [Resolution((LOOPBACK,), 0.0)], 0.05)
    release.set()
    assert (outcomes(found), found.stages[1].detail) == (walked(OK, TIMED_OUT), "this machine was too busy to dial")


HANGING = """
import socket, sys, time
from diagnostics.evidence import Route
from diagnostics.probing import dial_all
dial_all.RESOLVE_TIMEOUT = 0.05
socket.getaddrinfo = lambda *args, **more: time.sleep(60)
found = dial_all.dial_all([Route("gate.example", 4003, "name", "")], [None], 0.1)
print(found[0].stages[0].outcome.value)
"""


@pytest.mark.slow  # a process of its own
def test_a_look_up_that_hangs_does_not_keep_the_process_alive():
    started = monotonic()
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr, done.returncode) == ("TIMED_OUT\n", "", 0)
    assert monotonic() - started < 5.0
