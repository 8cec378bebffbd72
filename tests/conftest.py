"""Plain `async def` tests on the relay's own loop; a deadline for every test; workers; signals as in a terminal."""

import asyncio
import contextlib
import faulthandler
import inspect
import os
import shlex
import signal
import sys
import threading
from signal import setitimer  # these two by their names, since a test may put others in the places of the module's
from signal import signal as set_handler

import pytest

# Seconds; a hung test names itself and shows where it hangs, instead of hanging the run.
DEADLINE = 60.0
LONG_DEADLINE = 300.0  # what is marked `long`
HEAVY_DEADLINE = 1800.0  # what has a command of its own; all of tests.peers through a service takes half of that
GRACE = 15.0  # what an ended test has for its clean-up; and a coroutine, whose own deadline comes first, for its end
LEAVING = 60.0  # from the last test to the end of the process
WORKERS = 4  # processes for a run of all tests: most of them wait, so two cores have room for more than two

HEAVY = {"bench", "docker", "host", "soak", "systemd"}  # folders


def pytest_configure():
    """What a shell's background (SIGINT, SIGQUIT) or nohup (SIGHUP) ignores, every process under test would inherit."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGQUIT: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            set_handler(number, handler)


# Workers (pytest-xdist: `-n auto` in setup.cfg)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config):
    """Tests that are named on the command line run in this very process: workers would start longer than they run."""
    return WORKERS if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs):
    """`-X dev -W error` holds in the workers as it does here; execnet starts them without it."""
    options = ["-X", "dev"] if sys.flags.dev_mode else []
    for action in sys.warnoptions:
        options += ["-W", action]
    for spec in specs:
        spec.python = shlex.join([sys.executable, *options])


# Deadlines


def deadline_of(item):
    """Seconds for each of a test's three parts: its fixtures, itself, its clean-up."""
    if item.path.parent.name in HEAVY or item.get_closest_marker("soak"):
        return HEAVY_DEADLINE
    return LONG_DEADLINE if item.get_closest_marker("long") else DEADLINE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    with ended_after(deadline_of(item), item, "its fixtures were not there"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    own = GRACE if inspect.iscoroutinefunction(getattr(item, "obj", None)) else 0.0
    with ended_after(deadline_of(item) + own, item, "it was not over"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    with ended_after(deadline_of(item), item, "its fixtures were not cleared away"):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus):
    """The interpreter waits at its end for every thread, also for one that a failed test has left behind: for ever."""

    def leave(*_):
        faulthandler.dump_traceback(sys.__stderr__)
        os._exit(exitstatus or pytest.ExitCode.INTERNAL_ERROR)

    set_handler(signal.SIGALRM, leave)
    setitimer(signal.ITIMER_REAL, LEAVING)


def pytest_enter_pdb():
    """Whoever looks at a test in a debugger may take his time."""
    setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def ended_after(seconds, item, what):
    """Fail where the main thread is after so long, and again and again should that not be the end of it.

    By a signal, since nothing else gets at a thread that waits. A child process has none of it: fork clears the timer,
    exec the handler. What is raised is no Exception, so nothing that a test expects or forgives is mistaken for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def fail(*_):
        with contextlib.suppress(Exception):  # somebody may have closed it
            faulthandler.dump_traceback(sys.__stderr__)
        pytest.fail(f"{item.nodeid}: {what} after {seconds:g} s; stderr has the stack of every thread")

    before = set_handler(signal.SIGALRM, fail)
    setitimer(signal.ITIMER_REAL, seconds, GRACE)
    try:
        yield
    finally:
        setitimer(signal.ITIMER_REAL, 0)
        set_handler(signal.SIGALRM, before)


# Coroutines


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a coroutine test to its end on a loop of its own (pytest alone does not)."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}

    async def bounded():
        async with asyncio.timeout(deadline_of(pyfuncitem)):
            await pyfuncitem.obj(**arguments)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(bounded())
    return True


def _loop_factory():
    from relay.net.poller import new_event_loop

    return new_event_loop
