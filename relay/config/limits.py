"""What a service's unit allows and what the relay lets in, as one relation: sessions in, limits out, and back again.

A session that outlives the relay has three descriptors: its two sockets and its checkpoint. The service manager keeps
copies of them and hands them to the next start, and each step of that has a limit:

    FileDescriptorStoreMax=   what is kept; a descriptor beyond it is closed without a word
    LimitNOFILE=              what a start can take: systemd gives every descriptor its place by fcntl(F_DUPFD) under
                              the service's own limit (shift_fds() in its source), and a place that is taken sends it
                              behind all others, so up to twice the number is used. With too little every start fails
                              (202/FDS), whatever program it is.
    $LISTEN_FDNAMES           all names in one variable, of which execve takes 128 KiB (MAX_ARG_STRLEN): 203/EXEC
    MemoryMax=                counts what waits in the kernel's buffers of the sockets, too
    TasksMax=                 threads, and the processes of a reload, a stop and an upgrade
    StartLimitBurst=          a service that cannot start must end its own loop, and a test that kills it all the time
                              must not meet this limit

Whoever writes a unit asks `unit_limits`; the relay, which may run under any unit, asks `kept_sessions` and `admitted`.
"""

from __future__ import annotations

from dataclasses import dataclass

SESSION_FILES = 3  # descriptors that are kept: the client's socket, the gateway's, the checkpoint
SESSION_OPEN = 4  # descriptors that are open: mmap opens the checkpoint once more
PLAIN_OPEN = 2  # descriptors of a connection that does not outlive the relay
KEPT_LISTENERS = 64  # listening sockets that are kept: more bridges than Docker's address pools have by default (31)
QUEUE_FILES = 64  # the two ends of each queue of what is in flight
OTHER_KEPT_FILES = 1 + QUEUE_FILES + KEPT_LISTENERS  # besides: the numbers
OWN_FILES = 32  # descriptors for all else: standard streams, selectors, listeners, the configuration being re-read
USUAL_SESSIONS = 512  # where nobody says how many: sixteen gateways with the 32 clients each one takes
# Names of 100 bytes for a session (an id of 25 three times, and what tells them apart), some kilobytes for all others.
MOST_SESSIONS = 1024
USUAL_STORE = 1024  # descriptors, of a unit written before this relation; systemd says what it keeps since version 254
USUAL_OPEN_FILES = 1024  # what systemd gives a service that says nothing (DefaultLimitNOFILE=, the soft one)
START_FILES = 64  # descriptors that a start has open besides those it hands over
_ROUND = 1024  # LimitNOFILE= is a multiple of this, so that another address to listen on does not change it

BASE_MEMORY = 64  # MiB: the interpreter, the relay's own state, and the program that an upgrade tries on the side
SESSION_MEMORY = 2048  # KiB of one session at the worst, all of its buffers full; see relay/net/tcp.py
TASKS = 16  # the loop, the log's writer, a look-up a name, an upgrade's program, the shell of a reload or stop
STARTS = 300  # within START_WINDOW: one a second. Starts that fail at once come four to eight times as fast
START_WINDOW = 300  # seconds


@dataclass(frozen=True, slots=True)
class UnitLimits:
    """The values of a unit's directives."""

    store: int  # FileDescriptorStoreMax=, descriptors
    open_files: int  # LimitNOFILE=, descriptors
    memory: int  # MemoryMax=, MiB
    tasks: int = TASKS  # TasksMax=
    starts: int = STARTS  # StartLimitBurst=
    start_window: int = START_WINDOW  # StartLimitIntervalSec=, seconds


def unit_limits(max_connections: int = 0, listening: int = 0) -> UnitLimits:
    """What a unit must allow for so many connections (0 = as many as is usual) and sockets of .socket units."""
    connections = max_connections or USUAL_SESSIONS
    store = min(connections, MOST_SESSIONS) * SESSION_FILES + OTHER_KEPT_FILES
    start = 2 * (store + listening) + START_FILES
    run = connections * SESSION_OPEN + OTHER_KEPT_FILES + listening + OWN_FILES
    memory = BASE_MEMORY + connections * SESSION_MEMORY // 1024
    return UnitLimits(store, -(-max(start, run) // _ROUND) * _ROUND, memory)


def kept_sessions(store: int, open_files: int, listening: int = 0) -> int:
    """How many sessions outlive the relay, by what the manager keeps and what its next start can take; may be 0."""
    startable = (open_files - START_FILES) // 2 - listening
    return max(0, min((min(store, startable) - OTHER_KEPT_FILES) // SESSION_FILES, MOST_SESSIONS))


def admitted(max_connections: int, open_files: int, in_service: bool, keeps: bool) -> int:
    """How many connections are let in, of all maps; `in_service` where a unit is made for USUAL_SESSIONS.

    `keeps`: each is written down, too, so that it outlives this process. At least 1: a process that was given no room
    finds out at accept, and says so there.
    """
    each, other = (SESSION_OPEN, OWN_FILES + QUEUE_FILES) if keeps else (PLAIN_OPEN, OWN_FILES)
    room = max(1, (open_files - other) // each)
    return min(room, max_connections or (USUAL_SESSIONS if in_service else room))
