"""Work that may wait (for a disk, a name server, a child) beside the event loop, whose thread may not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from relay.net.signals import leave_to_main_thread

T = TypeVar("T")


async def aside(work: Callable[[], T], name: str) -> T:
    """What `work` returns or raises, from a thread that nobody waits for at the end.

    One of the loop's own would hold up a SIGTERM until it is done. Cancelled, or given up after a time-out, it goes on
    without anybody who hears of it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only where that is what T is

    def run() -> None:
        leave_to_main_thread()
        result, trouble = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
            trouble = error
        with contextlib.suppress(RuntimeError):  # the loop is gone, and so is the question
            loop.call_soon_threadsafe(tell, result, trouble)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
