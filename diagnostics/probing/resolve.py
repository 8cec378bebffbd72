"""Names to addresses: what the resolver says, in its order, or why it says nothing."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from time import monotonic

from diagnostics.probing.errors import error_name

RESOLVE_TIMEOUT = 3.0  # seconds; a resolver that answers does so within one, and a dead one is asked for 5 s and more
MAX_ADDRESSES = 16  # of a name; more are not tried
NO_THREAD = "no thread could be started to ask the resolver"

_EAI = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
_EAI_DETAIL = {
    "EAI_NONAME": "the name is not known",
    "EAI_NODATA": "the name has no address",
    "EAI_ADDRFAMILY": "the name has no address",
    "EAI_AGAIN": "no name server answered",
    "EAI_FAIL": "the name server failed",
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the resolver said, in its order; with an `error` (gaierror's name for it) there are no addresses."""

    addresses: tuple[str, ...]
    seconds: float
    error: str | None = None
    detail: str = ""


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
        return Resolution((), monotonic() - started, "EAGAIN", NO_THREAD)
    thread.join(timeout)
    return answer[0] if answer else unanswered(monotonic() - started)


def unanswered(seconds: float) -> Resolution:
    """For a look-up that was given up."""
    return Resolution((), seconds, None, f"the resolver did not answer in {seconds:.1f} s")


def literal(host: str, port: int) -> Resolution | None:
    """An address as it stands, asking nobody; None for a name."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError, OverflowError):  # ValueError: no host name at all; look_up says so
        return None
    return Resolution((_address(answers[0][4]),), 0.0)


def look_up(host: str, port: int) -> Resolution:
    """Ask the resolver, for as long as that takes."""
    started = monotonic()
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        name = _EAI.get(error.errno or 0, f"EAI {error.errno}")
        return Resolution((), monotonic() - started, name, _EAI_DETAIL.get(name, error.strerror or name))
    except OSError as error:  # EAI_SYSTEM
        return Resolution((), monotonic() - started, error_name(error.errno), error.strerror or "")
    except (ValueError, OverflowError):  # UnicodeError: a label that is empty or too long; a NUL
        return Resolution((), monotonic() - started, "EAI_NONAME", "this cannot be a host name")
    addresses = tuple(dict.fromkeys(_address(answer[4]) for answer in answers))
    return Resolution(addresses[:MAX_ADDRESSES], monotonic() - started)


def _address(sockaddr: tuple[object, ...]) -> str:
    """The address of a sockaddr, with the number of its zone if it has one: fe80::1 alone leads nowhere."""
    address, zone = str(sockaddr[0]), sockaddr[3] if len(sockaddr) == 4 else 0
    return f"{address}%{zone}" if zone and "%" not in address else address
