"""Addresses to a connection, within a deadline. Expected trouble is a value here, never an exception.

A name may have several addresses, and then the first that answers wins, in the resolver's order. The next one is
dialled when the one before it failed, or after STAGGER while it still says nothing: one black-holed family must not use
up the time of the other (RFC 8305), and a connection that is not needed should not be made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from diagnostics.evidence import Outcome
from diagnostics.probing.errors import RESETS, error_name, outcome_of
from diagnostics.probing.resolve import MAX_ADDRESSES

# Seconds; above the 3.1 s after which an address nobody has becomes EHOSTUNREACH (three ARP requests).
CONNECT_TIMEOUT = 3.5
STAGGER = 0.25  # seconds; the "Connection Attempt Delay" RFC 8305 recommends

# How far an attempt got, worst first: with several addresses the best failure is the one to tell.
_WORST_FIRST = (Outcome.UNREACHABLE, Outcome.TIMED_OUT, Outcome.REFUSED)


@dataclass(slots=True)
class DialResult:
    """How a connect went. `sock` is the caller's to close; None unless `outcome` is OK.

    `reset` is set when the connection was made and reset before we looked: the kernel tells that once, in SO_ERROR.
    """

    outcome: Outcome
    seconds: float
    address: str | None = None
    sock: socket.socket | None = None
    reset: bool = False
    error: str | None = None
    detail: str = ""


@dataclass(slots=True)
class _Attempt:
    """One address on its way."""

    address: str
    started: float
    sock: socket.socket | None = None
    error: int | None = None  # 0: connected; None: not known yet
    seconds: float = 0.0

    def ended(self, error: int) -> None:
        self.error, self.seconds = error, monotonic() - self.started

    @property
    def connected(self) -> bool:
        return self.error is not None and (self.error == 0 or self.error in RESETS)

    @property
    def outcome(self) -> Outcome:
        return Outcome.TIMED_OUT if self.error is None else outcome_of(self.error)

    def sentence(self, timeout: float) -> str:
        """How it failed, for people."""
        if self.error is None:
            return f"{self.address} did not answer in {min(timeout, monotonic() - self.started):.1f} s"
        if self.error == errno.ECONNREFUSED:
            return f"{self.address} refused"
        after = f" after {self.seconds:.1f} s" if self.seconds >= 0.1 else ""
        return f"{self.address}: {os.strerror(self.error).lower()}{after}"


def dial(addresses: Sequence[str], port: int, timeout: float = CONNECT_TIMEOUT) -> DialResult:
    """Connect to the first of the addresses that answers; the other sockets are closed."""
    attempts: list[_Attempt] = []
    winner = None
    try:
        winner = _race(addresses, port, monotonic() + timeout, attempts)
    finally:
        for attempt in attempts:
            if attempt.sock is not None and attempt is not winner:
                attempt.sock.close()
    if winner is None or winner.sock is None:
        return _failed(attempts, timeout)
    with contextlib.suppress(OSError):  # reset already; macOS says EINVAL
        winner.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    others = "; ".join(attempt.sentence(timeout) for attempt in attempts if attempt is not winner)
    detail = f"{others}; {winner.address} answered" if others else ""
    return DialResult(Outcome.OK, winner.seconds, winner.address, winner.sock, winner.error != 0, None, detail)


def _race(addresses: Sequence[str], port: int, deadline: float, attempts: list[_Attempt]) -> _Attempt | None:
    """The first attempt that connects; every one that was begun is in `attempts`."""
    waiting = list(addresses[:MAX_ADDRESSES])
    poll = select.poll()
    while (now := monotonic()) < deadline:
        pending = [attempt for attempt in attempts if attempt.error is None]
        due = attempts[-1].started + STAGGER if pending else now
        if waiting and now >= due:
            attempts.append(_begin(waiting.pop(0), port, poll))
        elif pending:
            _advance(pending, poll, min(deadline, due if waiting else deadline) - now)
        else:
            return None
        winner = next((attempt for attempt in attempts if attempt.connected), None)
        if winner is not None:
            return winner
    return None


def _begin(address: str, port: int, poll: select.poll) -> _Attempt:
    attempt = _Attempt(address, monotonic())
    try:
        # Once more through getaddrinfo, which asks nobody here: it reads the zone in fe80::1%2.
        family, kind, protocol, _, sockaddr = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        attempt.sock = socket.socket(family, kind, protocol)
        attempt.sock.setblocking(False)
        error = attempt.sock.connect_ex(sockaddr)
    except OSError as failure:
        attempt.ended(errno.EADDRNOTAVAIL if isinstance(failure, socket.gaierror) else failure.errno or errno.EIO)
        return attempt
    if error in (errno.EINPROGRESS, errno.EINTR):
        poll.register(attempt.sock, select.POLLOUT)
    else:
        attempt.ended(error)
    return attempt


def _advance(pending: list[_Attempt], poll: select.poll, seconds: float) -> None:
    """Wait for news of the pending attempts."""
    by_descriptor = {attempt.sock.fileno(): (attempt, attempt.sock) for attempt in pending if attempt.sock is not None}
    for descriptor, _ in poll.poll(max(0.0, seconds) * 1000 + 1):
        attempt, sock = by_descriptor[descriptor]
        poll.unregister(descriptor)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == 0 and _is_with_itself(sock):
            error = errno.ECONNREFUSED
        attempt.ended(error)


def _is_with_itself(sock: socket.socket) -> bool:
    """A port of the ephemeral range that nobody listens on, dialled from the very same one: TCP allows it."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False


def _failed(attempts: list[_Attempt], timeout: float) -> DialResult:
    if not attempts:
        return DialResult(Outcome.TIMED_OUT, 0.0, detail="no time was left to dial")
    best = max(attempts, key=lambda attempt: _WORST_FIRST.index(attempt.outcome))
    seconds = best.seconds if best.error is not None else monotonic() - best.started
    error = error_name(best.error) if best.error is not None else None
    detail = "; ".join(attempt.sentence(timeout) for attempt in attempts)
    return DialResult(best.outcome, seconds, best.address, error=error, detail=detail)
