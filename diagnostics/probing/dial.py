"""Names to addresses, addresses to a connection, a moment of listening, a polite goodbye: sockets with a deadline each.

Expected trouble is a value here, never an exception: an Outcome, the name of the error, and a sentence.

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
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from diagnostics.evidence import Outcome
from relay.wire.hello import name_is_final

RESOLVE_TIMEOUT = 3.0  # seconds; a resolver that answers does so within one, and a dead one is asked for 5 s and more
CONNECT_TIMEOUT = (
    3.5  # seconds; above the 3.1 s after which an address nobody has becomes EHOSTUNREACH (three ARP requests)
)
QUIET = 0.15  # seconds; proxies with nothing behind them closed within 0.25 to 21 ms
STAGGER = 0.25  # seconds; the "Connection Attempt Delay" RFC 8305 recommends
GOODBYE = 1.0  # seconds a peer has to end its half after we ended ours

MAX_ADDRESSES = 16  # of a name; more are not tried
MAX_SAID = 4096  # bytes kept of a peer that speaks first
MAX_DRAINED = 4 << 20  # bytes read and thrown away from a peer that goes on after our goodbye


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the resolver said, in its order; with an `error` (gaierror's name for it) there are no addresses."""

    addresses: tuple[str, ...]
    seconds: float
    error: str | None = None
    detail: str = ""


@dataclass(slots=True)
class Dialled:
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


@dataclass(frozen=True, slots=True)
class Heard:
    """What a peer did while we said nothing: OK is silence, BAD_PEER is bytes."""

    outcome: Outcome
    seconds: float
    data: bytes = b""
    error: str | None = None


def error_name(number: int | None) -> str:
    """ECONNREFUSED for its number."""
    return errno.errorcode.get(number or 0, f"errno {number}")


# Names.

_EAI = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
_EAI_DETAIL = {
    "EAI_NONAME": "the name is not known",
    "EAI_NODATA": "the name has no address",
    "EAI_ADDRFAMILY": "the name has no address",
    "EAI_AGAIN": "no name server answered",
    "EAI_FAIL": "the name server failed",
}


def resolve(host: str, port: int, timeout: float = RESOLVE_TIMEOUT) -> Resolution:
    """The addresses of a name, or why there are none; a getaddrinfo that hangs is left to its thread."""
    started = monotonic()
    known = literal(host, port)
    if known is not None:
        return known
    answer: list[Resolution] = []
    thread = threading.Thread(target=lambda: answer.append(look_up(host, port)), name=f"resolve {host}", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return Resolution((), monotonic() - started, "EAGAIN", "no thread could be started to ask the resolver")
    thread.join(timeout)
    return answer[0] if answer else unanswered(monotonic() - started)


def unanswered(seconds: float) -> Resolution:
    """For a look-up that was given up."""
    return Resolution((), seconds, None, f"the resolver did not answer in {seconds:.1f} s")


def literal(host: str, port: int) -> Resolution | None:
    """An address as it stands, asking nobody; None for a name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError, OverflowError):  # ValueError: no host name at all; look_up says so
        return None
    return Resolution((_address(found[0][4]),), 0.0)


def _address(place: tuple) -> str:
    """The address of a sockaddr, with the number of its zone if it has one: fe80::1 alone leads nowhere."""
    zone = place[3] if len(place) == 4 else 0
    return f"{place[0]}%{zone}" if zone and "%" not in place[0] else place[0]


def look_up(host: str, port: int) -> Resolution:
    """Ask the resolver, for as long as that takes."""
    started = monotonic()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        name = _EAI.get(error.errno, f"EAI {error.errno}")
        return Resolution((), monotonic() - started, name, _EAI_DETAIL.get(name, error.strerror or name))
    except OSError as error:  # EAI_SYSTEM
        return Resolution((), monotonic() - started, error_name(error.errno), error.strerror or "")
    except (ValueError, OverflowError):  # UnicodeError: a label that is empty or too long; a NUL
        return Resolution((), monotonic() - started, "EAI_NONAME", "this cannot be a host name")
    addresses = tuple(dict.fromkeys(_address(one[4]) for one in found))
    return Resolution(addresses[:MAX_ADDRESSES], monotonic() - started)


# Connections.

# How far an attempt got, worst first: with several addresses the best failure is the one to tell.
_FAR = (Outcome.UNREACHABLE, Outcome.TIMED_OUT, Outcome.REFUSED)
_OUTCOMES = {errno.ECONNREFUSED: Outcome.REFUSED, errno.ETIMEDOUT: Outcome.TIMED_OUT}
_RESETS = frozenset((errno.ECONNRESET, errno.EPIPE))  # after the handshake; EPIPE when a FIN had come before


def outcome_of(number: int | None) -> Outcome:
    """The class of an errno that ends a connection or an attempt at one."""
    return Outcome.RESET if number in _RESETS else _OUTCOMES.get(number, Outcome.UNREACHABLE)


@dataclass(slots=True)
class _Attempt:
    address: str
    started: float
    sock: socket.socket | None = None
    error: int | None = None  # 0: connected; None: not known yet
    seconds: float = 0.0

    def ended(self, error: int) -> None:
        self.error, self.seconds = error, monotonic() - self.started

    @property
    def connected(self) -> bool:
        return self.error is not None and (self.error == 0 or self.error in _RESETS)


def dial(addresses: Sequence[str], port: int, timeout: float = CONNECT_TIMEOUT) -> Dialled:
    """Connect to the first of the addresses that answers; the other sockets are closed."""
    attempts: list[_Attempt] = []
    winner = None
    try:
        winner = _race(addresses, port, monotonic() + timeout, attempts)
    finally:
        for attempt in attempts:
            if attempt.sock is not None and attempt is not winner:
                attempt.sock.close()
    if winner is None:
        return _failed(attempts, timeout)
    with contextlib.suppress(OSError):  # reset already; macOS says EINVAL
        winner.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    others = "; ".join(_told(one, timeout) for one in attempts if one is not winner)
    detail = f"{others}; {winner.address} answered" if others else ""
    return Dialled(Outcome.OK, winner.seconds, winner.address, winner.sock, winner.error != 0, None, detail)


def _race(addresses: Sequence[str], port: int, deadline: float, attempts: list[_Attempt]) -> _Attempt | None:
    """The first attempt that connects; every one that was begun is in `attempts`."""
    waiting = list(addresses[:MAX_ADDRESSES])
    poll = select.poll()
    while (now := monotonic()) < deadline:
        pending = [one for one in attempts if one.error is None]
        due = attempts[-1].started + STAGGER if pending else now
        if waiting and now >= due:
            attempts.append(_begin(waiting.pop(0), port, poll))
        elif pending:
            _advance(pending, poll, min(deadline, due if waiting else deadline) - now)
        else:
            return None
        winner = next((one for one in attempts if one.connected), None)
        if winner is not None:
            return winner
    return None


def _begin(address: str, port: int, poll: select.poll) -> _Attempt:
    attempt = _Attempt(address, monotonic())
    try:
        # Once more through getaddrinfo, which asks nobody here: it reads the zone in fe80::1%2.
        family, kind, protocol, _, place = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        attempt.sock = socket.socket(family, kind, protocol)
        attempt.sock.setblocking(False)
        error = attempt.sock.connect_ex(place)
    except OSError as trouble:
        attempt.ended(errno.EADDRNOTAVAIL if isinstance(trouble, socket.gaierror) else trouble.errno or errno.EIO)
        return attempt
    if error in (errno.EINPROGRESS, errno.EINTR):
        poll.register(attempt.sock, select.POLLOUT)
    else:
        attempt.ended(error)
    return attempt


def _advance(pending: list[_Attempt], poll: select.poll, seconds: float) -> None:
    """Wait for news of the pending attempts."""
    by_number = {one.sock.fileno(): one for one in pending}
    for number, _ in poll.poll(max(0.0, seconds) * 1000 + 1):
        attempt = by_number[number]
        poll.unregister(number)
        error = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == 0 and _is_with_itself(attempt.sock):
            error = errno.ECONNREFUSED
        attempt.ended(error)


def _is_with_itself(sock: socket.socket) -> bool:
    """A port of the ephemeral range that nobody listens on, dialled from the very same one: TCP allows it."""
    try:
        return sock.getsockname() == sock.getpeername()
    except OSError:
        return False


def _failed(attempts: list[_Attempt], timeout: float) -> Dialled:
    if not attempts:
        return Dialled(Outcome.TIMED_OUT, 0.0, detail="no time was left to dial")
    best = max(attempts, key=lambda one: _FAR.index(_outcome(one)))
    seconds = best.seconds if best.error is not None else monotonic() - best.started
    error = error_name(best.error) if best.error is not None else None
    told = "; ".join(_told(one, timeout) for one in attempts)
    return Dialled(_outcome(best), seconds, best.address, error=error, detail=told)


def _outcome(attempt: _Attempt) -> Outcome:
    return Outcome.TIMED_OUT if attempt.error is None else outcome_of(attempt.error)


def _told(attempt: _Attempt, timeout: float) -> str:
    if attempt.error is None:
        return f"{attempt.address} did not answer in {min(timeout, monotonic() - attempt.started):.1f} s"
    if attempt.error == errno.ECONNREFUSED:
        return f"{attempt.address} refused"
    after = f" after {attempt.seconds:.1f} s" if attempt.seconds >= 0.1 else ""
    return f"{attempt.address}: {os.strerror(attempt.error).lower()}{after}"


# Connected.


def wait_readable(sock: socket.socket, seconds: float) -> bool:
    """Is there something to read, an end included, within that time?"""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def listen(sock: socket.socket, seconds: float = QUIET) -> Heard:
    """Say nothing for that long. A peer that speaks is listened to until its first bytes have a name."""
    started, data, ended = monotonic(), b"", False
    while not ended and (left := started + seconds - monotonic()) > 0 and wait_readable(sock, left):
        try:
            part = sock.recv(MAX_SAID - len(data))
        except BlockingIOError:
            continue
        except OSError as error:
            if data:
                break
            return Heard(outcome_of(error.errno), monotonic() - started, error=error_name(error.errno))
        if not part and not data:
            return Heard(Outcome.CLOSED, monotonic() - started)
        data += part
        ended = not part or name_is_final(data)
    return Heard(Outcome.BAD_PEER if data else Outcome.OK, monotonic() - started, data)


def say_goodbye(sock: socket.socket) -> None:
    """FIN: from now on the peer knows that we are leaving. Then `leave`."""
    with contextlib.suppress(OSError):  # it was faster
        sock.shutdown(socket.SHUT_WR)


def leave(sock: socket.socket, read=None, seconds: float = GOODBYE) -> None:
    """FIN, read to the end for a moment, close: a socket closed with unread bytes would send RST.

    `read` gets the bytes.
    """
    say_goodbye(sock)
    until, drained = monotonic() + seconds, 0
    try:
        while drained < MAX_DRAINED and (left := until - monotonic()) > 0 and wait_readable(sock, left):
            part = sock.recv(1 << 16)
            if not part:
                break
            drained += len(part)
            if read is not None:
                read(part)
    except OSError:
        pass  # reset, or nothing was left
    finally:
        sock.close()
