"""Looks upstream names up off the loop: one look-up per name at a time, in a thread that can never hold up the exit.

asyncio's own getaddrinfo runs in an executor whose threads are joined at the end of the loop: a name server that does
not answer would keep a stopped relay alive for minutes. And clients that wait for the same name share one look-up, so a
hanging name server costs one thread, not one a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from relay.net.signals import leave_to_main_thread

Addresses = list[tuple[int, tuple[Any, ...]]]  # family and socket address, in the resolver's order
Callback = Callable[["Addresses | Exception"], None]


class Resolver:
    """`look_up` calls back on the loop's thread with the addresses, or with what getaddrinfo(3) raised."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[tuple[str, int], list[Callback]] = {}

    def look_up(self, host: str, port: int, answer: Callback) -> Callable[[], None]:
        """Start, or join a look-up that is under way; returns a function that takes `answer` out again."""
        waiting = self._waiting.get((host, port))
        if waiting is None:
            waiting = self._waiting[host, port] = []
            try:
                threading.Thread(target=self._ask, args=(host, port), name=f"resolve {host}", daemon=True).start()
            except RuntimeError as error:  # no thread to be had: this look-up fails, a later one may not
                self._loop.call_soon(self._tell, host, port, OSError(str(error)))
        waiting.append(answer)

        def forget() -> None:
            if answer in waiting:
                waiting.remove(answer)

        return forget

    def _ask(self, host: str, port: int) -> None:
        leave_to_main_thread()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result: Addresses | Exception = [(family, address) for family, _, _, _, address in found]
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
            result = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, host, port, result)

    def _tell(self, host: str, port: int, result: Addresses | Exception) -> None:
        waiting = self._waiting.pop((host, port))
        while waiting:  # an answer may take others out
            waiting.pop(0)(result)
