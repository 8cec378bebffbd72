"""What each behaviour does at its moment: one table per moment, one short function per behaviour.

`play(table, session)` runs the functions of the session's behaviours that the table has, and returns whether it did. A
function only pulls the levers of the session (send, finish, reset, mute, stall, after).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from relay.practice.settings import Practice
from relay.wire.framing import LENGTH
from relay.wire.hello import Redirect

if TYPE_CHECKING:
    from relay.practice.session import GatewaySession

Fault = Callable[["GatewaySession"], None]

FARMS_DOWN = frozenset(("farms-broken", "offline"))

_IB_LOST = (1100, "Connectivity between IBKR and Trader Workstation has been lost.")
_IB_BACK = (1102, "Connectivity between IBKR and Trader Workstation has been restored - data maintained.")
_OUTAGE_AFTER = 0.05  # seconds from a session that is ready: later than its greeting, sooner than a client looks away

_GARBAGE_START = b"\xff\xfe\xfd\xfc"  # as a length far beyond any frame; negative to clients that read it signed
_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\n"
    b"Bad Request\n"
)
_TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x0a"  # record: alert, TLS 1.2, 2 bytes: fatal, unexpected_message
_SSH_BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"
_OVERSIZE = LENGTH.pack(0x7FFFFFFF) + b"176\0"  # the largest length that is positive for a signed reader


def play(table: dict[str, Fault], session: GatewaySession) -> bool:
    """Run the faults of the session's behaviours at this moment; False if there is none."""
    found = [table[name] for name in session.settings.played if name in table]
    for fault in found:
        fault(session)
    return bool(found)


def notices(settings: Practice) -> Iterator[tuple[int, str]]:
    """Code and text of the connection notices that follow accounts and next valid id."""
    farms, down = settings.farms, settings.behaviour in FARMS_DOWN
    state = "is broken" if down else "is OK"
    market, history, definitions = (2103, 2105, 2157) if down else (2104, 2106, 2158)
    if settings.behaviour == "offline":
        yield 2110, "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
    yield from ((market, f"Market data farm connection {state}:{farm}") for farm in farms.market)
    yield from ((history, f"HMDS data farm connection {state}:{farm}") for farm in farms.history)
    yield from ((definitions, f"Sec-def data farm connection {state}:{farm}") for farm in farms.definitions)
    if settings.behaviour == "offline":
        yield _IB_LOST


def _garbage(session: GatewaySession) -> None:
    noise = random.Random(session.settings.seed).randbytes(252)
    session.send(_GARBAGE_START + noise)
    session.mute("garbage sent")


def _ssh_banner(session: GatewaySession) -> None:
    session.send(_SSH_BANNER)


def _ssh_mismatch(session: GatewaySession) -> None:
    session.send(b"Invalid SSH identification string.\r\n")
    session.finish("closed, as an SSH server would")


def _http(session: GatewaySession) -> None:
    session.send(_HTTP_ANSWER)
    session.finish("closed, as an HTTP server would")


def _tls(session: GatewaySession) -> None:
    session.send(_TLS_ALERT)
    session.finish("closed, as a TLS server would")


def _hello_then(lever: Callable[[GatewaySession], None]) -> Fault:
    def fault(session: GatewaySession) -> None:
        session.send(session.server_hello())
        lever(session)

    return fault


def _hello_dribbled(session: GatewaySession) -> None:
    rest = iter(session.server_hello())

    def next_byte() -> None:
        byte = next(rest, None)
        if byte is not None:
            session.send(bytes((byte,)))
            session.after(session.settings.number, "dribble", next_byte)

    next_byte()


def _hello_glued(session: GatewaySession) -> None:
    session.send(session.server_hello() + session.greeting())


def _oversize(session: GatewaySession) -> None:
    session.send(_OVERSIZE)
    session.mute("frame length 0x7fffffff sent")


def _redirect(session: GatewaySession) -> None:
    host, port = session.settings.address
    session.send(Redirect(host, port).encode())
    session.mute(f"redirected to {session.settings.value}")


def _truncated(session: GatewaySession) -> None:
    frame = session.greeting()  # any frames will do; the first of them is cut in the middle
    (length,) = LENGTH.unpack_from(frame)
    session.send(frame[: LENGTH.size + length // 2])
    session.finish("closed in the middle of a frame")


def _outage(session: GatewaySession) -> None:
    session.after(_OUTAGE_AFTER, "fault", lambda: session.notice(*_IB_LOST))
    session.after(_OUTAGE_AFTER + session.settings.number, "recovery", lambda: session.notice(*_IB_BACK))


def _outage_after(session: GatewaySession) -> None:
    seconds = session.settings.number_of("outage-after")
    session.after(seconds, "IB lost", lambda: session.notice(*_IB_LOST))
    session.after(2 * seconds, "IB back", lambda: session.notice(*_IB_BACK))


def _in_session(lever: Callable[[GatewaySession], None]) -> Fault:
    return lambda session: session.after(session.settings.number, "fault", lambda: lever(session))


AT_ACCEPT: dict[str, Fault] = {
    "close": lambda session: session.finish("closed at accept"),
    "reset": lambda session: session.reset("reset at accept"),
    "silent": lambda session: session.mute("silent from the start"),
    "garbage": _garbage,
    "ssh": _ssh_banner,
}

AT_FIRST_BYTES: dict[str, Fault] = {"http": _http, "tls": _tls, "ssh": _ssh_mismatch}

AT_HELLO: dict[str, Fault] = {
    "close-after-hello": _hello_then(lambda session: session.finish("closed after the hello")),
    "reset-after-hello": _hello_then(lambda session: session.reset("reset after the hello")),
    "silent-after-hello": _hello_then(lambda session: session.stall("stalled after the hello")),
    "hello-dribbled": _hello_dribbled,
    "hello-glued": _hello_glued,
    "oversize-frame": _oversize,
    "redirect": _redirect,
}

AT_START_API: dict[str, Fault] = {
    "start-api-ignored": lambda session: session.mute("START_API ignored"),
    "close-on-start-api": lambda session: session.finish("closed on START_API"),
    "client-id-in-use": lambda session: session.refuse_client_id(),
}

WHEN_READY: dict[str, Fault] = {
    "session-close": _in_session(lambda session: session.finish("closed in mid-session")),
    "session-reset": _in_session(lambda session: session.reset("reset in mid-session")),
    "session-stall": _in_session(lambda session: session.stall("stalled in mid-session")),
    "truncated-frame": _in_session(_truncated),
    "outage": _outage,
    "outage-after": _outage_after,
}
