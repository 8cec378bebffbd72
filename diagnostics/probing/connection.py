"""A connection that was made: a moment of listening before anything is said, and a polite goodbye."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from diagnostics.evidence import Outcome
from diagnostics.probing.errors import error_name, outcome_of
from relay.wire.hello import name_is_final

QUIET = 0.15  # seconds; proxies with nothing behind them closed within 0.25 to 21 ms
GOODBYE = 1.0  # seconds a peer has to end its half after we ended ours

MAX_FIRST_BYTES = 4096  # kept of a peer that speaks first
MAX_DRAINED = 4 << 20  # bytes read and thrown away from a peer that goes on after our goodbye


@dataclass(frozen=True, slots=True)
class QuietResult:
    """What a peer did while we said nothing: OK is silence, BAD_PEER is bytes."""

    outcome: Outcome
    seconds: float
    data: bytes = b""
    error: str | None = None


def wait_readable(sock: socket.socket, seconds: float) -> bool:
    """Is there something to read, an end included, within that time?"""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def listen(sock: socket.socket, seconds: float = QUIET) -> QuietResult:
    """Say nothing for that long. A peer that speaks is listened to until its first bytes have a name."""
    started, data, ended = monotonic(), b"", False
    while not ended and (left := started + seconds - monotonic()) > 0 and wait_readable(sock, left):
        try:
            part = sock.recv(MAX_FIRST_BYTES - len(data))
        except BlockingIOError:
            continue
        except OSError as error:
            if data:
                break
            return QuietResult(outcome_of(error.errno), monotonic() - started, error=error_name(error.errno))
        if not part and not data:
            return QuietResult(Outcome.CLOSED, monotonic() - started)
        data += part
        ended = not part or name_is_final(data)
    return QuietResult(Outcome.BAD_PEER if data else Outcome.OK, monotonic() - started, data)


def say_goodbye(sock: socket.socket) -> None:
    """FIN: from now on the peer knows that we are leaving. Then `leave`."""
    with contextlib.suppress(OSError):  # it was faster
        sock.shutdown(socket.SHUT_WR)


def leave(sock: socket.socket, read: Callable[[bytes], None] | None = None, seconds: float = GOODBYE) -> None:
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
