"""The event loop's selector: data-path callbacks run inside `select()`, everything else goes to asyncio as usual.

Why it exists. A relayed round trip passes the loop four times, and asyncio spends several microseconds on each ready
descriptor (Handle, ready queue, context run) that a byte mover does not need. Here the data path has its own epoll; the
selector that asyncio knows is registered *inside* it as one more descriptor, so a single epoll_wait sees both.
Data-path handlers are called at once; asyncio hears only of its own descriptors, timers and signals.

A crowd of young descriptors (clients that come or leave at once) is served a little at a time, sessions in between.

After bytes have moved it may look for the next ones without sleeping: busy_polling.py says how long.

The contract of a handler: `handler(events) -> bool`. It must not block, and it returns True when it has touched the
loop (a timer, a task, a future), because asyncio must then compute its next timeout anew. An exception in a handler is
given to `on_error(fd, error)` and never leaves the loop.

Where epoll is missing (macOS), the same contract is kept over the platform's own selector: correct, a little slower.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable
from time import monotonic
from typing import Protocol, TypeVar

from relay.net.busy_polling import Arrivals, BusyPolling

FEW = 4  # ready descriptors that are served in any order; it would cost more to look who they are
YOUNG = 2.0  # seconds; who is watched for longer is a session, not one of many that come or go at once
SLICE = 0.001  # seconds the young may hold up the others

READ = 0x001  # select.EPOLLIN, spelled out because macOS has no such name
WRITE = 0x004  # select.EPOLLOUT
BROKEN = 0x018  # EPOLLERR | EPOLLHUP: reported by the kernel whether asked for or not

Handler = Callable[[int], "bool | None"]
ReadyKeys = list[tuple[selectors.SelectorKey, int]]  # what a selector tells asyncio


Ready = TypeVar("Ready")


class Poller(Protocol):
    """The data path's side of the selector."""

    on_error: Callable[[int, Exception], None]  # a handler of this descriptor raised

    def wait_by(self, policy: BusyPolling | None) -> None:
        """How to wait from now on; None: asleep. From an asyncio callback only."""

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler(events)` whenever `fd` is ready, level-triggered; OSError as from epoll_ctl."""

    def change(self, fd: int, events: int) -> None:
        """Watch for other events; with 0 only errors and hang-ups are still reported."""

    def rewatch(self, fd: int, handler: Handler) -> None:
        """Hand a watched descriptor to another handler."""

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; call it before the descriptor is closed."""

    def forget(self, fd: int) -> None:
        """As `unwatch`, for a descriptor that is closed right after: closing alone takes it out of the epoll."""


def new_event_loop() -> asyncio.SelectorEventLoop:
    """An asyncio event loop whose data path is reached through `poller_of(loop)`."""
    return _Loop(EpollPoller() if hasattr(select, "epoll") else PortablePoller())


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, poller: EpollPoller | PortablePoller) -> None:
        super().__init__(poller)
        self.poller = poller


def poller_of(loop: asyncio.AbstractEventLoop) -> Poller:
    """The data path of a loop made by `new_event_loop`; TypeError for any other loop."""
    poller: Poller | None = getattr(loop, "poller", None)
    if poller is None:
        raise TypeError(f"event loop {loop!r} was not made by relay.net.poller.new_event_loop()")
    return poller


def _raise(fd: int, error: Exception) -> None:
    raise error


def _next(poll: Callable[[float], list[Ready]], wait: float, policy: BusyPolling, after: Arrivals) -> list[Ready]:
    """What is ready next: looked for without sleeping for as long as the policy says, and then waited for.

    `wait`: seconds at most, below 0 without end.
    """
    if wait and (ready := poll(0)):
        return ready  # no wake-up was saved: nothing is learnt of that
    policy.learn()  # of the last time: now is time for it
    began = now = monotonic()
    until = policy.until(after, began) if wait else began
    if 0 < wait < until - began:
        until = began + wait
    while now < until:
        ready = poll(0)
        now = monotonic()
        if ready:
            policy.answered(after, now - began)
            return ready
    if now > began:
        policy.in_vain(min(now, until) - began)
    ready = poll(wait if wait <= 0 else max(0.0, wait - (now - began)))
    if wait:
        policy.came(after, monotonic() - began, bool(ready))
    return ready


class _Watched(Arrivals):
    """A descriptor of the data path."""

    __slots__ = ("handler", "since")

    def __init__(self, handler: Handler, since: float) -> None:
        super().__init__()
        self.handler = handler
        self.since = since  # monotonic


if hasattr(select, "epoll"):

    class EpollPoller(selectors.EpollSelector):
        """Two epolls in one: ours for the data path, the inherited one for asyncio, nested in ours."""

        def __init__(self) -> None:
            super().__init__()
            asyncio_fd = super().fileno()
            self._data_path = select.epoll()
            self._data_path.register(asyncio_fd, READ)
            self._watched: dict[int, _Watched] = {asyncio_fd: _Watched(lambda _events: True, 0.0)}
            self._gone: set[int] = set()  # unwatched during this batch: their number may already be somebody else's
            self._young_until = 0.0  # the last of them
            self._late: dict[int, int] = {}  # young ones for whom there was no time, and their places in the queue
            self._policy: BusyPolling | None = None
            self._after: Arrivals | None = None  # of the descriptor that was served last, until we have slept
            self.on_error: Callable[[int, Exception], None] = _raise

        def wait_by(self, policy: BusyPolling | None) -> None:
            self._policy, self._after = policy, None if policy is None else policy.at_rest

        def watch(self, fd: int, events: int, handler: Handler) -> None:
            self._data_path.register(fd, events)
            now = monotonic()
            self._watched[fd] = _Watched(handler, now)
            self._young_until = now + YOUNG

        def change(self, fd: int, events: int) -> None:
            self._data_path.modify(fd, events)

        def rewatch(self, fd: int, handler: Handler) -> None:
            self._watched[fd].handler = handler

        def unwatch(self, fd: int) -> None:
            if self._watched.pop(fd, None) is not None:
                self._gone.add(fd)
                self._data_path.unregister(fd)

        def forget(self, fd: int) -> None:
            if self._watched.pop(fd, None) is not None:
                self._gone.add(fd)

        def select(self, timeout: float | None = None) -> ReadyKeys:  # noqa: C901, PLR0912 (hot: a call would cost)
            all_watched, gone, policy = self._watched, self._gone, self._policy
            poll = self._data_path.poll
            wait = -1.0 if timeout is None or timeout < 0 else timeout
            deadline = None if wait < 0 else monotonic() + wait
            while True:
                after, watched = self._after, None
                ready = poll(wait) if after is None or policy is None else _next(poll, wait, policy, after)
                touched = not ready
                if gone:
                    gone.clear()
                young: list[tuple[int, int]] | None = None
                if len(ready) > FEW and monotonic() < self._young_until:
                    ready, young = self._by_age(ready)
                for fd, events in ready:
                    watched = all_watched.get(fd)
                    if watched is None or (gone and fd in gone):
                        continue  # closed by an earlier handler of this very batch
                    try:
                        if watched.handler(events):
                            touched = True
                    except Exception as error:  # noqa: BLE001 (told to its owner; the loop lives on)
                        touched = True
                        self.on_error(fd, error)
                if young and self._serve_young(young):
                    touched = True
                if policy is not None:
                    if watched is not None:
                        self._after = policy.after(watched)
                    elif wait and not ready:
                        self._after = policy.at_rest
                if touched:
                    return super().select(0)
                if deadline is not None:
                    wait = deadline - monotonic()
                    if wait <= 0:
                        return super().select(0)

        def _by_age(self, ready: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
            """Those who are to be served now, and the young."""
            since = monotonic() - YOUNG
            old: list[tuple[int, int]] = []
            young: list[tuple[int, int]] = []
            for item in ready:
                watched = self._watched.get(item[0])
                (young if watched is not None and watched.since > since else old).append(item)
            return old, young

        def _serve_young(self, young: list[tuple[int, int]]) -> bool:
            """As `select` serves, for a SLICE of time; the kernel reports again who is left, and then they come first.

            A hundred clients that come at once need a tenth of a second, and sessions are not to wait for them.
            """
            late, touched = self._late, False
            young.sort(key=lambda item: late.get(item[0], len(late)))
            until = monotonic() + SLICE
            for served, (fd, events) in enumerate(young):
                watched = self._watched.get(fd)
                if watched is None or fd in self._gone:
                    continue
                if monotonic() > until:
                    self._late = {left: place for place, (left, _) in enumerate(young[served:])}
                    return touched
                try:
                    if watched.handler(events):
                        touched = True
                except Exception as error:  # noqa: BLE001 (as above)
                    touched = True
                    self.on_error(fd, error)
            self._late = {}
            return touched

        def close(self) -> None:
            self._watched.clear()
            self._data_path.close()
            super().close()


class PortablePoller(selectors.DefaultSelector):
    """The same contract over any selector: data-path descriptors are told apart by their registered data."""

    def __init__(self) -> None:
        super().__init__()
        self.on_error: Callable[[int, Exception], None] = _raise
        self._policy: BusyPolling | None = None
        self._paused: dict[int, _Watched] = {}  # selectors cannot register "no events"
        self._after: Arrivals | None = None

    def wait_by(self, policy: BusyPolling | None) -> None:
        self._policy, self._after = policy, None if policy is None else policy.at_rest

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        self._put(fd, events, _Watched(handler, 0.0))

    def change(self, fd: int, events: int) -> None:
        if fd in self._paused:
            if events:
                self._put(fd, events, self._paused.pop(fd))
        elif events:
            self.modify(fd, _to_selectors(events), self.get_key(fd).data)
        else:
            self._paused[fd] = self.get_key(fd).data
            self.unregister(fd)

    def _put(self, fd: int, events: int, data: _Watched) -> None:
        if events:
            self.register(fd, _to_selectors(events), data)
        else:
            self._paused[fd] = data

    def rewatch(self, fd: int, handler: Handler) -> None:
        data = self._paused.get(fd) or self.get_key(fd).data
        data.handler = handler

    def unwatch(self, fd: int) -> None:
        if self._paused.pop(fd, None) is None and fd in self.get_map():
            self.unregister(fd)

    forget = unwatch

    def select(self, timeout: float | None = None) -> ReadyKeys:
        others: ReadyKeys = []
        served: _Watched | None = None
        ready = self._ready(-1.0 if timeout is None else timeout)
        for key, mask in ready:
            if not isinstance(key.data, _Watched):
                others.append((key, mask))
            # An earlier handler of this very batch may have closed it, and its number may be somebody else's by now:
            # `data` is made by `watch` and outlives `change`, so it tells who an event is for.
            elif (watched := self.get_map().get(key.fd)) is not None and watched.data is key.data:
                served = key.data
                try:
                    key.data.handler(_from_selectors(mask))
                except Exception as error:  # noqa: BLE001 (as above)
                    self.on_error(key.fd, error)
        if self._policy is not None:
            if served is not None:
                self._after = self._policy.after(served)
            elif timeout != 0:
                self._after = self._policy.at_rest
        return others

    def _ready(self, wait: float) -> ReadyKeys:
        poll = super().select
        if self._after is None or self._policy is None:
            return poll(None if wait < 0 else wait)
        return _next(lambda wait: poll(None if wait < 0 else wait), wait, self._policy, self._after)


def _to_selectors(events: int) -> int:
    return (selectors.EVENT_READ if events & READ else 0) | (selectors.EVENT_WRITE if events & WRITE else 0)


def _from_selectors(mask: int) -> int:
    return (READ if mask & selectors.EVENT_READ else 0) | (WRITE if mask & selectors.EVENT_WRITE else 0)
