"""tests/conftest.py: a test that hangs is ended, wherever it does, says its name, and the run goes on."""

import re
import subprocess
import sys

import pytest

from tests import conftest
from tests.diagnostics.commands import PATIENCE, ROOT

SOON = """
import signal
from tests import conftest

conftest.deadline_of = lambda item: 0.5 if "hangs" in item.name else 60.0
conftest.GRACE, conftest.LEAVING = 0.2, 1.0

def pytest_sessionfinish():
    print("left behind:", signal.getsignal(signal.SIGALRM).name, *signal.getitimer(signal.ITIMER_REAL))
"""

HANGING = """
import asyncio
import contextlib
import threading
import time

import pytest

def wait_in_a_thread():
    threading.Event().wait()

def test_that_hangs():
    threading.Thread(target=wait_in_a_thread, daemon=True).start()
    threading.Event().wait()

def test_that_hangs_and_forgives_all_that_comes():
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)

def test_that_hangs_at_its_end_again():
    try:
        threading.Event().wait()
    finally:
        threading.Event().wait()

async def test_that_hangs_and_its_loop_turns():
    await asyncio.Event().wait()

async def test_that_hangs_and_its_loop_with_it():
    threading.Event().wait()

@pytest.fixture
def never_ready():
    threading.Event().wait()

@pytest.fixture
def never_gone():
    yield
    threading.Event().wait()

def test_that_hangs_before_it_begins(never_ready):
    pass

def test_that_hangs_when_it_is_over(never_gone):
    pass

def test_with_another_signal_module(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("signal.setitimer", lambda *_: None)

def test_after_them():
    threading.Thread(target=wait_in_a_thread, name="left behind").start()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What pytest says of all these; that it comes to an end is told by the bound of this."""
    folder = tmp_path_factory.mktemp("hanging")
    (folder / "conftest.py").write_text(SOON)
    (folder / "test_it.py").write_text(HANGING)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rfEp", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout


def told(run):
    """What pytest counted, by test."""
    found = {}
    for word, name in re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", run, re.MULTILINE):
        found.setdefault(name, []).append(word)
    return found


ENDED = [
    # the test, as what it counts, what is said of it
    ("test_that_hangs", ["FAILED"], "it was not over after 0.5 s"),
    ("test_that_hangs_and_forgives_all_that_comes", ["FAILED"], "it was not over after 0.5 s"),
    ("test_that_hangs_at_its_end_again", ["FAILED"], "it was not over after 0.5 s"),
    ("test_that_hangs_and_its_loop_with_it", ["FAILED"], "it was not over after 0.7 s"),
    ("test_that_hangs_before_it_begins", ["ERROR"], "its fixtures were not there after 0.5 s"),
    ("test_that_hangs_when_it_is_over", ["PASSED", "ERROR"], "its fixtures were not cleared away after 0.5 s"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, counts, said", ENDED, ids=[one[0] for one in ENDED])
def test_a_test_that_hangs_is_ended_and_named(run, name, counts, said):
    assert sorted(told(run)[name]) == sorted(counts)
    assert f"test_it.py::{name}: {said}; " in run


@pytest.mark.slow
def test_a_coroutine_whose_loop_turns_is_ended_by_the_loop(run):
    name = "test_that_hangs_and_its_loop_turns"
    assert told(run)[name] == ["FAILED"] and f"test_it.py::{name}: " not in run


@pytest.mark.slow
def test_the_run_goes_on_and_no_timer_is_left_behind(run):
    assert told(run)["test_with_another_signal_module"] == told(run)["test_after_them"] == ["PASSED"]
    assert "left behind: SIG_DFL 0.0 0.0" in run


@pytest.mark.slow
def test_where_every_thread_was_is_shown(run):
    assert "in wait_in_a_thread" in run and "in test_that_hangs\n" in run


BOUNDS = [
    ("an ordinary one", "relay", (), conftest.DEADLINE),
    ("long", "relay", ("slow", "long"), conftest.LONG_DEADLINE),
    ("soak", "relay", ("soak",), conftest.HEAVY_DEADLINE),
    ("with a command of its own", "systemd", (), conftest.HEAVY_DEADLINE),
]


@pytest.mark.parametrize("folder, marks, seconds", [one[1:] for one in BOUNDS], ids=[one[0] for one in BOUNDS])
def test_what_takes_longer_has_longer(request, folder, marks, seconds):
    item = pytest.Function.from_parent(request.node.parent, name="test_it", callobj=lambda: None)
    item.path = ROOT / "tests" / folder / "test_it.py"
    for mark in marks:
        item.add_marker(mark)
    assert conftest.deadline_of(item) == seconds


def test_pytests_own_bound_is_beyond_all_of_them(request):
    """It shows the stacks where a signal does not help: while the main thread is in C."""
    assert float(request.config.getini("faulthandler_timeout")) > conftest.HEAVY_DEADLINE + conftest.GRACE
