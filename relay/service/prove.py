"""Does the installed relay answer, and the gateway behind it? Asked as a client would, up to the gateway's hello.

A connection alone proves nothing: the kernel takes it for a port of systemd's even when no relay runs. So a hello is
sent, and where only bytes are forwarded the kernel is asked whether a process has taken it (owner.py). The gateway sees
a client that leaves before it has named itself: no session, no client id used.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from time import monotonic

from relay.client import Client
from relay.config.addresses import host_port
from relay.config.load import PortMap
from relay.service import owner
from relay.service.undo import run_interruptible
from relay.wire.session import ClientSession, SessionOutcome

HELLO_TIMEOUT = 5.0  # seconds; gateways answer within 0.1, one with an open dialog never
DIAL_TIMEOUT = 3.0
CLOSED = 1.0  # seconds until the end of a connection that was closed over there is heard here
TAKEN = 3.0  # seconds until somebody accepts; a relay that is up does so at once
NOBODY = "takes connections, but nothing answers: the relay is down or hangs"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found: `gateway` is None when it was not asked or said nothing either way."""

    relay: bool
    gateway: bool | None
    message: str


def prove(port_map: PortMap, host: str, port: int) -> Proof:
    """One look through the relay at `host`:`port`; takes HELLO_TIMEOUT at the most.

    Never raises for what the network does.
    """
    host = ANYWHERE.get(host, host)
    if port_map.protocol == "raw":
        return _plain(port_map, host, port)
    relay, upstream = f"the relay answers on {host_port(host, port)}", f"the gateway {port_map.upstream}"
    if trouble := _dial(port_map.upstream.host, port_map.upstream.port):
        # Through the relay this would be a warning in its log, of a client that there never was.
        silent = _dial(host, port)
        if silent:
            return Proof(False, None, f"the relay's port {host_port(host, port)} does not answer: {silent}")
        if not _turns_strangers_away(host, port):
            return Proof(False, None, f"{host_port(host, port)} {NOBODY}")
        return Proof(True, False, f"{relay}, {upstream} does not: {trouble}")
    return _through(host, port, relay, upstream)


def _through(host: str, port: int, relay: str, upstream: str) -> Proof:
    """A hello to the gateway, which takes connections."""
    started = monotonic()
    session = ClientSession(0, want_session=False, hello_timeout=HELLO_TIMEOUT)
    try:
        run_interruptible(_hello(host, port, session))
    except OSError as error:
        return Proof(False, None, f"the relay's port {host_port(host, port)} does not answer: {_why(error)}")
    took = f"{(monotonic() - started) * 1000:.0f} ms"
    if session.outcome is SessionOutcome.ANSWERED:
        return Proof(True, True, f"{relay}, {upstream} answers ({took}): {session.version_said}")
    if session.outcome is SessionOutcome.TIMED_OUT:
        if not _turns_strangers_away(host, port):
            return Proof(False, None, f"{host_port(host, port)} {NOBODY}")
        why = "it takes connections but says nothing: still starting, a dialog is open, or it hangs"
        return Proof(True, False, f"{relay}, {upstream} does not: {why}")
    said = _SAID.get(session.outcome, "the connection was")
    return Proof(True, False, f"{relay} ({took}), {upstream} does not: {said} {session.detail}")


_SAID = {
    SessionOutcome.BAD_PEER: "what answers is no gateway:",
    SessionOutcome.OTHER_VERSION: "a gateway answers with",
    SessionOutcome.REDIRECTED: "a gateway answers, and the connection was",
}


async def _hello(host: str, port: int, session: ClientSession) -> None:
    async with Client(host, port, session, DIAL_TIMEOUT) as client:
        while session.outcome is SessionOutcome.PENDING:
            await client.next_events(monotonic() + HELLO_TIMEOUT)


def _turns_strangers_away(host: str, port: int) -> bool:
    """What no IB client would say: a relay closes at once and does not dial; a port without one stays silent."""
    try:
        with socket.create_connection((host, port), DIAL_TIMEOUT) as sock:
            sock.settimeout(DIAL_TIMEOUT)
            sock.sendall(b"ib-relay service: is anybody there?\n")
            return not sock.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def not_taken_by(pid: int, host: str, port: int) -> str:
    """Why it is not this process that takes connections there, or ""; as far as this user may look."""
    host = ANYWHERE.get(host, host)
    place = host_port(host, port)
    try:
        with socket.create_connection((host, port), DIAL_TIMEOUT) as sock:
            trouble, inode = owner.wait_until_taken(sock, TAKEN)
            # A relay whose gateway is down has closed it by now: its end comes a moment after its descriptor is gone.
            elsewhere = not trouble and inode and owner.has_descriptor(pid, inode) is False
            if elsewhere and not owner.ended(sock, CLOSED):
                trouble = f"it was accepted by another process; expected process {pid} of the service"
    except OSError as error:
        trouble = "" if isinstance(error, ConnectionResetError) else _why(error)
    return f"a connection to {place}: {trouble}" if trouble else ""


def _plain(port_map: PortMap, host: str, port: int) -> Proof:
    if trouble := _dial(host, port, taken=True):
        return Proof(False, None, f"the relay's port {host_port(host, port)} does not answer: {trouble}")
    trouble = _dial(port_map.upstream.host, port_map.upstream.port)
    answers = f"does not: {trouble}" if trouble else "answers"
    return Proof(True, not trouble, f"the relay answers on {host_port(host, port)}, {port_map.upstream} {answers}")


def _dial(host: str, port: int, taken: bool = False) -> str:
    """Why nothing takes connections there, or ""; on this machine it can be seen whether they are `taken`, too."""
    try:
        with socket.create_connection((host, port), DIAL_TIMEOUT) as sock:
            return owner.wait_until_taken(sock, TAKEN)[0] if taken else ""
    except ConnectionResetError:
        return ""  # taken, and reset before we looked: a refused dial is ECONNREFUSED
    except OSError as error:
        return _why(error)
    return ""


def _why(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, nothing listens there (not running, not logged in, or another port)"
    if isinstance(error, TimeoutError):
        return "no answer to the dial"
    return error.strerror or str(error)
