"""Plain `async def` tests on the relay's own event loop, each under one deadline; signals as in a terminal."""

import asyncio
import inspect
import signal

import pytest

DEADLINE = 60.0  # seconds; a hung test names itself instead of hanging the run


def pytest_configure():
    """A shell has what it runs in the background ignore Ctrl-C and Ctrl-\\, and every process under test would inherit that."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a coroutine test to its end on a loop of its own (pytest alone does not)."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}

    async def bounded():
        async with asyncio.timeout(DEADLINE):
            await pyfuncitem.obj(**arguments)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(bounded())
    return True


def _loop_factory():
    from relay.poller import new_event_loop

    return new_event_loop
