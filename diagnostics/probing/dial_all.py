"""Every route up to QUIET, all together, within a budget: one thread for each name and each dial.

Threads that hang in a name server's silence are daemons and are left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeVar

from diagnostics.evidence import Probe, Route
from diagnostics.place.addresses import label
from diagnostics.probing import plan, probe, resolve
from diagnostics.probing.connection import QUIET, leave, say_goodbye
from diagnostics.probing.dial import CONNECT_TIMEOUT
from diagnostics.probing.resolve import NO_THREAD, RESOLVE_TIMEOUT, Resolution

GRACE = 0.3  # seconds for all names to become addresses before the first is dialled: routes keep their order then
SLACK = 0.5  # seconds for a thread to come in with its result after its own bound

Result = TypeVar("Result")

# What a thread comes in with: the number of its route, and what it learnt or the fault that ended it.
_News = tuple[int, Resolution | Probe | BaseException]


@dataclass(slots=True)
class _DialRun:
    """All routes on their way: what is known of each, and where the threads put their results."""

    routes: Sequence[Route]
    resolutions: list[Resolution | None]
    probes: list[Probe | None]
    dialled: set[int] = field(default_factory=set)
    inbox: SimpleQueue[_News] = field(default_factory=SimpleQueue)

    @property
    def unresolved(self) -> list[int]:
        return [index for index, resolution in enumerate(self.resolutions) if resolution is None]

    @property
    def unfinished(self) -> list[int]:
        return [index for index, found in enumerate(self.probes) if found is None]


def dial_all(routes: Sequence[Route], resolutions: Sequence[Resolution | None], budget: float) -> list[Probe]:
    """Every route up to QUIET, all together, within the budget.

    `resolutions` has what needs no look-up; None is looked up.
    """
    started = monotonic()
    run = _DialRun(routes, list(resolutions), [None] * len(routes))
    for index in run.unresolved:
        _look_up(run, index)
    while run.unfinished:
        elapsed = monotonic() - started
        if elapsed >= RESOLVE_TIMEOUT:
            for index in run.unresolved:
                run.resolutions[index] = resolve.unanswered(elapsed)
        if not run.unresolved or elapsed >= GRACE:
            for index in run.unfinished:
                _dial(run, index, min(CONNECT_TIMEOUT, budget - elapsed))
        if elapsed >= budget + QUIET + SLACK:
            _give_up(run)
        _take_news(run, _pause(run, elapsed, budget))
    return [found for found in run.probes if found is not None]


def _pause(run: _DialRun, elapsed: float, budget: float) -> float:
    """Seconds until something is due if no thread comes in before."""
    if not run.unfinished:
        return 0.0
    if not run.unresolved:
        return budget + QUIET + SLACK - elapsed
    return (GRACE if elapsed < GRACE else RESOLVE_TIMEOUT) - elapsed


def _take_news(run: _DialRun, seconds: float) -> None:
    """The next result of a thread. What comes after its time was up is too late."""
    try:
        index, news = run.inbox.get(timeout=max(0.0, seconds))
    except Empty:
        return
    if isinstance(news, BaseException):
        raise news
    if isinstance(news, Resolution):
        run.resolutions[index] = run.resolutions[index] or news
    else:
        run.probes[index] = run.probes[index] or news


def _look_up(run: _DialRun, index: int) -> None:
    route = run.routes[index]

    def ask() -> Resolution:
        return resolve.look_up(route.host, route.port)

    if not _start(lambda: run.inbox.put((index, _or_fault(ask))), f"resolve {label(route)}"):
        run.resolutions[index] = Resolution((), 0.0, "EAGAIN", NO_THREAD)


def _dial(run: _DialRun, index: int, timeout: float) -> None:
    """Begin with a route whose name is known, unless that was done, or another one leads to the same place."""
    route, resolution = run.routes[index], run.resolutions[index]
    if resolution is None or index in run.dialled:
        return
    addresses = [other.addresses if other else () for other in run.resolutions]
    twin = plan.same_as(index, run.routes, addresses, run.dialled) if resolution.addresses else None
    if twin is not None or not resolution.addresses:
        run.probes[index] = probe.untouched(route, resolution, None if twin is None else label(run.routes[twin]))
        return
    run.dialled.add(index)

    def thread() -> None:
        result = _or_fault(lambda: probe.opened(route, resolution, timeout))
        if isinstance(result, BaseException):
            run.inbox.put((index, result))
            return
        found, dialled = result
        if dialled.sock is None:
            run.inbox.put((index, found))
            return
        # Before the result: the gateway hears of our leaving before it hears of a handshake.
        say_goodbye(dialled.sock)
        run.inbox.put((index, found))
        leave(dialled.sock)

    if not _start(thread, f"dial {label(route)}"):
        thread()


def _give_up(run: _DialRun) -> None:
    """A thread that does not come back in its time: this machine is too busy to tell anything."""
    for index in run.unfinished:
        run.probes[index] = probe.late(run.routes[index], run.resolutions[index] or Resolution((), 0.0))


def _or_fault(work: Callable[[], Result]) -> Result | BaseException:
    """What it returns, or what it raises, for the thread that waits for it."""
    try:
        return work()
    except BaseException as fault:  # noqa: BLE001 (the main thread raises it)
        return fault


def _start(work: Callable[[], None], name: str) -> bool:
    """False where no more threads are allowed (a container's pids limit)."""
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError:
        return False
    return True
