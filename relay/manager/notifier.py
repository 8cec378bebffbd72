"""What the service manager is told about this relay: ready, how it is, that it lives, that it reloads, that it ends.

The signs of life come from the event loop itself. A handler that blocks stops them, and the manager replaces the
process; a thread of their own would go on saying "alive" for a loop that hangs. Nothing here waits: what the manager
has no room for is tried again, in order, so that `systemctl reload` gets its answer and a busy PID 1 never stops
forwarding.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from relay.manager import systemd

STATUS_INTERVAL = 5.0  # seconds between two looks at the status line where no watchdog asks for more
RETRY = 0.1  # seconds until a message that found no room is sent again
QUEUE = 100  # messages; a manager that takes none for that long has other troubles


class Notifier:
    """Talks to systemd where there is one; elsewhere every method does nothing.

    `describe` is asked for the status line: each time something is said, and at each beat.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, describe: Callable[[], str], environ: Mapping[str, str] = os.environ
    ) -> None:
        self._loop = loop
        self._describe = describe
        self._environ = environ
        self._owed: deque[Callable[[], bool]] = deque(maxlen=QUEUE)
        self._trouble = ""  # of the last reload; shown until one succeeds
        self._reported = ""
        self._last: str | None = None  # the status once it is stopping
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        watchdog = systemd.watchdog_interval(environ)
        self._watched = watchdog is not None
        self._interval = min(watchdog / 3, STATUS_INTERVAL) if watchdog else STATUS_INTERVAL

    def ready(self, trouble: str = "") -> None:
        """Every listener is bound; or a reload is over, and `trouble` says why the old configuration stays."""
        self._trouble = trouble
        self._reported = self._status()
        self._send(partial(systemd.ready, self._reported, self._environ, wait=0))
        if self._timer is None and systemd.managed(self._environ):
            self._beat()

    def reloading(self) -> None:
        """The configuration is being read again; `ready` follows."""
        self._send(partial(systemd.reloading, self._environ, wait=0))

    def stopping(self, status: str) -> None:
        """No new clients from now on; `status` stands until the end."""
        self._reported = self._last = status
        self._send(partial(systemd.stopping, status, self._environ, wait=0))

    def close(self) -> None:
        """No more signs of life."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()

    def _status(self) -> str:
        if self._last is not None:
            return self._last
        return f"{self._describe()}; {self._trouble}" if self._trouble else self._describe()

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._beat)
        status = self._status()
        news = status if status != self._reported else None
        if self._watched:
            sent = systemd.watchdog(news, self._environ)
        else:
            sent = news is None or systemd.tell_status(news, self._environ)
        if sent:
            self._reported = status

    def _send(self, message: Callable[[], bool]) -> None:
        if systemd.managed(self._environ):
            self._owed.append(message)
            if self._retry is None:
                self._deliver()

    def _deliver(self) -> None:
        """Everything owed, in order; what finds no room, and all after it, later."""
        self._retry = None
        while self._owed:
            if not self._owed[0]():
                self._retry = self._loop.call_later(RETRY, self._deliver)
                return
            self._owed.popleft()
