"""What there was before a change, and the way back to it: after a fault, a failed proof, a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import stat
import threading
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from relay.service import steps

Result = TypeVar("Result")

# A closed terminal (SIGHUP) would end the process as well, between two programs.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndSignal(KeyboardInterrupt):
    """A signal to end came. Nothing but the way back may catch it; asyncio lets only this kind through."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.code = 128 + number  # as shells have it


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it the first signal to end is raised as EndSignal, where the work stands; later ones are not heard.

    Commands started after the first do not hear them either, so that a second Ctrl-C cannot stop the way back.
    """

    def raise_it(number: int, _frame: FrameType | None) -> None:
        raise _deaf(number)

    before = {number: signal.signal(number, raise_it) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deaf(number: int) -> EndSignal:
    """What the first signal is raised as; no other one is heard from now on."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    return EndSignal(number)


def run_interruptible(main: Coroutine[Any, Any, Result]) -> Result:
    """As asyncio.run; the first signal to end cancels it, and is raised as EndSignal once it has cleaned up.

    Raised by a handler in the middle of the loop it would take a callback with it, and whoever waits for that would
    wait for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(main)  # signals are heard in the main thread only
    heard: list[int] = []
    try:
        result = asyncio.run(_cancelled_by_signals(main, heard))
    except asyncio.CancelledError:
        if not heard:
            raise
        raise _deaf(heard[0]) from None
    if heard:
        raise _deaf(heard[0])
    return result


async def _cancelled_by_signals(main: Coroutine[Any, Any, Result], heard: list[int]) -> Result:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(main)

    def hear(number: int) -> None:
        heard.append(number)
        if len(heard) == 1:
            task.cancel()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, hear, number)
    try:
        return await task
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


class Snapshot:
    """The files at `paths` as they are now: content and mode, a link's target, or that there is none."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._before = {path: _seen(path) for path in dict.fromkeys(paths)}

    def way_back(self) -> list[steps.Step]:
        """The steps that make everything that differs now as it was."""
        found: list[steps.Step] = []
        for path, before in self._before.items():
            if _seen(path) == before:
                continue
            if isinstance(before, Path):
                found += [steps.Remove(path), steps.Link(path, before)]
            elif before is not None:
                found.append(steps.Write(path, before[0], before[1], _never_the_same))
            else:
                found.append(steps.Remove(path))
        return found


def _never_the_same(_path: Path) -> bool:
    return False  # the mode may be what differs


def _seen(path: Path) -> Path | tuple[bytes, int] | None:
    try:
        if path.is_symlink():
            return path.readlink()
        return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
