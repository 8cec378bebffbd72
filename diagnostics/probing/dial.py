"""Addresses to a connection, within a deadline. Expected trouble is a value here, never an exception.

A name may have several addresses. ib_async and ib_insync dial them one after the other, in the resolver's order: they
go on after a refusal, and wait at an address that says nothing (asyncio's create_connection without
happy_eyeballs_delay). So the result is theirs, whatever a cleverer client would get. The next address is dialled all
the same after STAGGER, once, to learn whether it answers: then the name is at fault and not the way.
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
CLIENT_DIALS_FOR = 4.0  # seconds, over all addresses: the default of connect in ib_async and ib_insync

# How far an attempt got, worst first: where all addresses fail, the best failure is the one to tell.
_WORST_FIRST = (Outcome.UNREACHABLE, Outcome.TIMED_OUT, Outcome.REFUSED)


@dataclass(slots=True)
class DialResult:
    """How a connect went. `sock` is the caller's to close; None unless `outcome` is OK.

    `seconds` is what a client takes that dials one address after the other. `answering` is an address behind `address`
    that was heard, by yes or no, while that one said nothing. `reset` is set when the connection was made and reset
    before we looked: the kernel tells that once, in SO_ERROR.
    """

    outcome: Outcome
    seconds: float
    address: str | None = None
    sock: socket.socket | None = None
    reset: bool = False
    error: str | None = None
    detail: str = ""
    answering: str | None = None


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
        """How it went, for people."""
        if self.error is None:
            return f"{self.address} did not answer in {min(timeout, monotonic() - self.started):.1f} s"
        if self.connected:
            return f"{self.address} answered"
        if self.error == errno.ECONNREFUSED:
            return f"{self.address} refused"
        after = f" after {self.seconds:.1f} s" if self.seconds >= 0.1 else ""
        return f"{self.address}: {os.strerror(self.error).lower()}{after}"


def dial(addresses: Sequence[str], port: int, timeout: float = CONNECT_TIMEOUT) -> DialResult:
    """Connect as a client does that dials the addresses one after the other; the other sockets are closed."""
    attempts: list[_Attempt] = []
    winner = None
    try:
        _attempt_all(addresses, port, monotonic() + timeout, attempts)
        winner = _winner(attempts)
    finally:
        for attempt in attempts:
            if attempt.sock is not None and attempt is not winner:
                attempt.sock.close()
    detail = "; ".join(attempt.sentence(timeout) for attempt in attempts)
    if winner is None or winner.sock is None:
        return _failed(attempts, detail)
    with contextlib.suppress(OSError):  # reset already; macOS says EINVAL
        winner.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds = _taken_before(winner, attempts) + winner.seconds
    detail = detail if len(attempts) > 1 else ""
    return DialResult(Outcome.OK, seconds, winner.address, winner.sock, winner.error != 0, None, detail)


def _attempt_all(addresses: Sequence[str], port: int, deadline: float, attempts: list[_Attempt]) -> None:
    """Dial until it is known where a client ends; every attempt that was begun is in `attempts`, in their order."""
    waiting = list(addresses[:MAX_ADDRESSES])
    poll = select.poll()
    while (now := monotonic()) < deadline:
        if (at := _standing_at(attempts)) is not None and at.connected:
            return
        pending = [attempt for attempt in attempts if attempt.error is None]
        more = bool(waiting) and not any(attempt.connected for attempt in attempts)
        due = attempts[-1].started + STAGGER if pending else now
        if more and now >= due:
            attempts.append(_begin(waiting.pop(0), port, poll))
        elif pending:
            _advance(pending, poll, min(deadline, due if more else deadline) - now)
        else:
            return


def _standing_at(attempts: Sequence[_Attempt]) -> _Attempt | None:
    """The address a client stands at: the first one that did not fail."""
    return next((attempt for attempt in attempts if attempt.error is None or attempt.connected), None)


def _taken_before(attempt: _Attempt, attempts: Sequence[_Attempt]) -> float:
    """Seconds a client took over the addresses before this one, which failed."""
    return sum(before.seconds for before in attempts[: attempts.index(attempt)])


def _winner(attempts: Sequence[_Attempt]) -> _Attempt | None:
    """The connection of a client that dials one after the other, unless it has given up before it comes to that."""
    at = _standing_at(attempts)
    return at if at is not None and at.connected and _taken_before(at, attempts) < CLIENT_DIALS_FOR else None


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


def _failed(attempts: list[_Attempt], detail: str) -> DialResult:
    if not attempts:
        return DialResult(Outcome.TIMED_OUT, 0.0, detail="no time was left to dial")
    holding, answering = _holding_up(attempts)
    if holding is not None:
        seconds = holding.seconds if holding.error is not None else monotonic() - holding.started
        heard = None if answering is None else answering.address
        return DialResult(Outcome.TIMED_OUT, seconds, holding.address, detail=detail, answering=heard)
    best = max(attempts, key=lambda attempt: _WORST_FIRST.index(attempt.outcome))
    return DialResult(best.outcome, best.seconds, best.address, error=error_name(best.error), detail=detail)


def _holding_up(attempts: Sequence[_Attempt]) -> tuple[_Attempt | None, _Attempt | None]:
    """The address a client waits at, and a later one that was heard meanwhile: if possible one that connected."""
    at = _standing_at(attempts)
    if at is None:
        return None, None
    before, behind = attempts[: attempts.index(at)], attempts[attempts.index(at) + 1 :]
    if at.connected:  # too late for a client, because of the slowest before it
        return max(before, key=lambda attempt: attempt.seconds), at
    heard = [other for other in behind if other.connected or other.outcome is Outcome.REFUSED]
    return at, max(heard, key=lambda other: other.connected, default=None)
