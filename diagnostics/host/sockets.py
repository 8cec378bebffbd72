"""The gateway's side of the ports asked about, as far as this network namespace shows it: listeners, queues, leftovers.

    netlink sock_diag     what `ss` uses: gives only the sockets in the states asked for, and of a listener both the
                          connections the kernel has completed and the program has not accepted, and how many may wait
    /proc/net/tcp, tcp6   where a sandbox forbids the former: the same without the limit, but every socket there is,
                          30 ms on a host with 15,000 of them in TIME_WAIT

Neither needs privilege. Both exist on Linux only and show the namespace we run in: the host itself, a container with
host networking, or one that shares its network with the gateway's. Elsewhere there is nothing to see, which is None and
not zero.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from diagnostics.evidence import DialSeen, HostView, ListeningSocket

MAX_LISTENERS = 64  # kept; the ports asked about are a dozen
MAX_DIALS = 256  # kept; a gateway takes 32 clients
MAX_TABLE = 8 << 20  # bytes of each file; some 50,000 sockets

ESTABLISHED, SYN_SENT, CLOSE_WAIT, LISTEN = 1, 2, 8, 10  # linux/tcp_states.h
_STATES = frozenset((ESTABLISHED, SYN_SENT, CLOSE_WAIT, LISTEN))
_MAPPED = b"\0" * 10 + b"\xff" * 2  # an IPv4 address in an IPv6 socket


@dataclass(frozen=True, slots=True)
class SocketRow:
    """One socket: its own address and port, those of the other end, and for a listener its queue."""

    state: int
    address: str
    port: int
    remote_port: int
    queue: int
    backlog: int | None = None
    remote_address: str = ""


def look(ports: Collection[int], folder: str = "/proc/net") -> HostView | None:
    """What is there now about these ports; None where nothing can be read. Never raises."""
    rows = from_kernel()
    if rows is None:
        rows = from_files(folder)
    return None if rows is None else summary(rows, ports)


def summary(rows: Iterable[SocketRow], ports: Collection[int]) -> HostView:
    """The sockets as the facts that matter: who listens, who has not noticed that its peer is gone, who dials in vain.

    Clients are counted per port and the largest number is told: with a relay in front, the same client has two ports.
    """
    listeners: list[ListeningSocket] = []
    dials: list[DialSeen] = []
    clients = dict.fromkeys(ports, 0)
    close_wait = syn_sent = 0
    for row in rows:
        if row.state == LISTEN and row.port in ports and len(listeners) < MAX_LISTENERS:
            listeners.append(ListeningSocket(row.address, row.port, row.queue, row.backlog))
        close_wait += row.state == CLOSE_WAIT and row.port in ports
        syn_sent += row.state == SYN_SENT and row.remote_port in ports
        if row.state == ESTABLISHED and row.port in ports:
            clients[row.port] += 1
        if row.state in (ESTABLISHED, SYN_SENT) and row.remote_port in ports and len(dials) < MAX_DIALS:
            dials.append(DialSeen(row.remote_address, row.remote_port, row.port, row.state == SYN_SENT))
    return HostView(tuple(listeners), close_wait, syn_sent, max(clients.values(), default=0), dials=tuple(dials))


def printed(address: bytes) -> str:
    """4 or 16 bytes of network order, as text; Java's IPv4-in-IPv6 listeners as the IPv4 address they are."""
    address = address.removeprefix(_MAPPED)
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


# The files.


def from_files(folder: str) -> list[SocketRow] | None:
    """From tcp and tcp6 in that folder; None where there is neither."""
    tables = [text for name in ("tcp", "tcp6") if (text := _read(os.path.join(folder, name))) is not None]
    return [row for text in tables for row in parse(text)] if tables else None


def parse(table: str) -> Iterator[SocketRow]:
    """The rows of one such file that are in a state of interest. One that cannot be read is left out."""
    for line in table.splitlines()[1:]:
        columns = line.split(None, 5)  # sl, local, remote, st, tx_queue:rx_queue, ...
        try:
            state = int(columns[3], 16)
            if state in _STATES:
                queue = int(columns[4].partition(":")[2], 16)
                remote_address, remote_port = _place(columns[2])
                yield SocketRow(state, *_place(columns[1]), remote_port, queue, None, remote_address)
        except (ValueError, IndexError):
            continue


def _place(text: str) -> tuple[str, int]:
    """`0100007F:0FA2`: the address as one or four numbers of the machine's own byte order, the port as a number."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    if len(raw) not in (4, 16):
        raise ValueError(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return printed(raw), int(port, 16)


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_TABLE).decode("ascii", "replace")
    except OSError:
        return None


# Netlink. The request names a family and the states, the answer is a series of messages up to one that says DONE.

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG, linux/netlink.h
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY, linux/sock_diag.h
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port id
_QUERY = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states, socket id
_ANSWER = struct.Struct("=BBxx2s2s16s16s16xII")  # struct inet_diag_msg: family, state, ports, addresses, ..., queues
_MASK = sum(1 << state for state in _STATES)
_PATIENCE = 0.2  # seconds for each datagram; the kernel has it ready when the request returns
_MAX_DATAGRAMS = 256  # of at most 32 KiB


def from_kernel() -> list[SocketRow] | None:
    """By netlink; None where that is not possible, or was answered with an error or in part."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    rows: list[SocketRow] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as sock:
            sock.settimeout(_PATIENCE)
            complete = [_ask(sock, family, rows) for family in (socket.AF_INET, socket.AF_INET6)]
    except OSError:  # no such protocol, or a sandbox forbids it
        return None
    return rows if any(complete) else None  # a kernel without IPv6 answers that half with an error


def _ask(sock: socket.socket, family: int, rows: list[SocketRow]) -> bool:
    query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, _MASK)
    sock.send(_HEADER.pack(_HEADER.size + _QUERY.size, _BY_FAMILY, _REQUEST_DUMP, 1, 0) + query)
    for _ in range(_MAX_DATAGRAMS):
        end = read_answer(sock.recv(1 << 16), rows)
        if end is not None:
            return end == _DONE
    return False


def read_answer(data: bytes, rows: list[SocketRow]) -> int | None:
    """The sockets of one datagram, appended to `rows`; the type of the message that ends the answer, if any."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if kind in (_ERROR, _DONE) or length < _HEADER.size:
            return kind if kind == _DONE else _ERROR
        if kind == _BY_FAMILY and length >= _HEADER.size + _ANSWER.size and at + length <= len(data):
            rows.append(_row(*_ANSWER.unpack_from(data, at + _HEADER.size)))
        at += (length + 3) & ~3
    return None


def _row(
    family: int, state: int, port: bytes, remote: bytes, address: bytes, its: bytes, queue: int, limit: int
) -> SocketRow:
    size = 4 if family == socket.AF_INET else 16
    ours, theirs = int.from_bytes(port, "big"), int.from_bytes(remote, "big")
    backlog = limit if state == LISTEN else None
    return SocketRow(state, printed(address[:size]), ours, theirs, queue, backlog, printed(its[:size]))
