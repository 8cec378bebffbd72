"""relay/net/aside.py: what may wait does so in a thread, and the loop goes on."""

import asyncio
import threading

import pytest

from relay.net.aside import aside
from tests.relay.kit.loopback import until


async def test_its_result_is_the_works():
    assert await aside(lambda: 7, "work") == 7
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 / 0, "work")


async def test_the_loop_goes_on_meanwhile_and_nobody_waits_for_it_at_the_end():
    answer, threads = threading.Event(), []

    def work():
        threads.append(threading.current_thread())
        answer.wait()

    waiting = asyncio.create_task(aside(work, "work"))
    await until(lambda: threads, "it has begun")
    assert (threads[0].daemon, threads[0] is threading.main_thread()) == (True, False)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    answer.set()  # it ends, and there is nobody to tell
    await until(lambda: not threads[0].is_alive(), "the thread's end")
