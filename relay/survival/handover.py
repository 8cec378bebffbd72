"""Becomes a new program without letting go of anything: execve in place, with every socket and what is known of it.

The process stays the same one, so a service manager, a shell or a container sees nothing happen. What the new program
must know is one JSON document in a file without a name; an environment variable carries its descriptor. Before that,
the new program is started once on the side (`rehearse`): it reads its configuration and this very document, and must
say that it could go on. One that cannot even start is found out there, while the old one goes on serving. Why it was
refused is left where `ib-relay upgrade` can read it: in a nameless file that this process keeps open, which on Linux
its user and root can look into (/proc/PID/fd), from inside a sandbox as well, and nobody else.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from relay import __version__
from relay.survival.checkpoint import Checkpoint
from relay.survival.state import ConnectionState, InvalidState, from_json, to_json

if not hasattr(os, "memfd_create"):  # every import before the first session resumes is a pause for all of them
    import tempfile

VARIABLE = "RELAY_HANDOVER"  # "PID:FD:STAMP"; the pid, so that no child takes itself for the one it is meant for
REHEARSE = "--rehearse"  # the option of `run` that rehearses; a program without it refuses, as it should
CAN_GO_ON = "can go on"
FORMAT = 1
REHEARSAL = 20.0  # seconds; a cold interpreter on a busy machine needs one or two
ANSWER = "ib-relay refusal"  # the name /proc shows for the file of the last refusal
MAX_ANSWER = 64 << 10  # bytes
# Not for the rehearsal: it must neither talk to the manager in our name nor take our sockets for its own.
_OURS_ALONE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", VARIABLE)


class UpgradeRefused(Exception):
    """The new program cannot take over, or not be started: one line that says why."""


@dataclass(frozen=True, slots=True)
class SavedSession:
    """One connection on its way to another process."""

    state: ConnectionState
    client: int
    upstream: int | None = None
    checkpoint: Checkpoint | None = None  # if somebody has copies of all this
    stored: bool = True  # ... and that is the service manager; else it is in flight


@dataclass(frozen=True, slots=True)
class Handover:
    """Everything a relay leaves to the next: descriptors, and what they are."""

    sessions: tuple[SavedSession, ...] = ()
    listeners: tuple[tuple[str, int, int], ...] = ()  # address, port, descriptor
    given: tuple[tuple[str, str, int], ...] = ()  # bound by a service manager: which one, its name for it, descriptor
    boot: str | None = None  # of the connection ids, with the number to go on with
    following: int = 1
    numbers: int | None = None  # both, in memory that is kept
    dropped: int = 0  # log lines
    since: float | None = None  # monotonic, when the old program stopped moving bytes

    def descriptors(self) -> list[int]:
        """All that must stay open."""
        found: list[int | None] = [self.numbers, *(fd for _, _, fd in self.listeners), *(fd for _, _, fd in self.given)]
        for session in self.sessions:
            found += [
                session.client,
                session.upstream,
                session.checkpoint.fd if session.checkpoint is not None else None,
            ]
        return [fd for fd in found if fd is not None]


def write(handed: Handover) -> int:
    """The document, in a nameless file that the new program reads from its start; the caller closes the descriptor."""
    sessions = [
        {
            "state": to_json(session.state),
            "client": session.client,
            "upstream": session.upstream,
            "slate": session.checkpoint.fd if session.checkpoint is not None else None,
        }
        for session in handed.sessions
    ]
    document = {
        "format": FORMAT,
        "program": __version__,
        "sessions": sessions,
        "listeners": handed.listeners,
        "given": handed.given,
        "boot": handed.boot,
        "following": handed.following,
        "numbers": handed.numbers,
        "dropped": handed.dropped,
        "since": handed.since,
    }
    fd = _nameless_file()
    os.write(fd, json.dumps(document, separators=(",", ":")).encode())
    return fd


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ib-relay handover")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def read(fd: int, rehearsal: bool = False) -> Handover:
    """What `write` wrote; InvalidState when it is something else. In a rehearsal the descriptors are not there."""
    size = os.fstat(fd).st_size
    try:
        document = json.loads(os.pread(fd, size, 0))
        if document["format"] != FORMAT:
            raise InvalidState(f"the running relay ({document.get('program')}) hands over in another format")
        return Handover(
            tuple(_session(values, rehearsal) for values in document["sessions"]),
            tuple((str(host), int(port), int(at)) for host, port, at in document["listeners"]),
            tuple((str(manager), str(name), int(at)) for manager, name, at in document["given"]),
            document["boot"],
            document["following"],
            document["numbers"],
            document["dropped"],
            document["since"],
        )
    except InvalidState:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise InvalidState(f"no document of a relay: {error!r}") from error


def _session(values: dict[str, Any], rehearsal: bool) -> SavedSession:
    at = values["slate"]
    checkpoint = Checkpoint(at) if at is not None and not rehearsal else None
    return SavedSession(from_json(values["state"]), values["client"], values["upstream"], checkpoint)


def take(environ: MutableMapping[str, str] = os.environ) -> Handover | None:
    """What was left to this process by the program it was before; None when it was none."""
    pid, _, rest = environ.get(VARIABLE, "").partition(":")
    fd = rest.partition(":")[0]
    if not pid.isdecimal() or not fd.isdecimal() or int(pid) != os.getpid():
        return None
    environ[VARIABLE] = f"taken:{rest}"
    try:
        handed = read(int(fd))
    finally:
        os.close(int(fd))
    for kept in handed.descriptors():
        os.set_inheritable(kept, False)
    return handed


def rehearse(handed: Handover, environ: Mapping[str, str] = os.environ) -> None:
    """Start the new program on the side, up to where it would take over.

    Takes seconds: not for the event loop's thread.
    """
    fd = write(handed)
    try:
        done = subprocess.run(
            [*command(), REHEARSE, str(fd)],
            pass_fds=(fd,),
            timeout=REHEARSAL,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={key: value for key, value in environ.items() if key not in _OURS_ALONE},
        )
    except subprocess.TimeoutExpired:
        raise _refused(f"the new program said nothing within {REHEARSAL:g} s") from None
    except OSError as error:
        raise _refused(f"the new program cannot be started: {error.strerror or error}") from None
    finally:
        os.close(fd)
    if done.returncode or CAN_GO_ON not in done.stdout:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        last = lines[-1].removeprefix("ib-relay: ")
        raise _refused(f"the new program cannot take over (exit {done.returncode}): {last}")


def become(handed: Handover, environ: Mapping[str, str] = os.environ) -> None:
    """Turn into the new program.

    Does not return; UpgradeRefused when there is none to turn into, and nothing has changed.
    """
    files = handed.descriptors()
    document = write(handed)
    try:
        for fd in (*files, document):
            os.set_inheritable(fd, True)
        arguments = command()
        os.execve(arguments[0], arguments, {**environ, VARIABLE: f"{os.getpid()}:{document}:{os.urandom(8).hex()}"})
    except OSError as error:
        for fd in files:
            os.set_inheritable(fd, False)
        os.close(document)
        raise _refused(f"the new program cannot be started: {error.strerror or error}") from None


_left: list[int] = []  # the descriptor of the last answer; gone with execve, as it should


def _refused(reason: str) -> UpgradeRefused:
    """The refusal, also left for whoever asked; the number tells it from the one before."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # no descriptor to be had: the log has it
            fd = os.memfd_create(ANSWER)
            while _left:
                os.close(_left.pop())
            _left.append(fd)
            os.write(fd, f"{os.urandom(8).hex()} {reason}".encode("utf-8", "replace")[:MAX_ANSWER])
    return UpgradeRefused(reason)


def answer_of(pid: int) -> tuple[str, str] | None:
    """The last refusal of that process as (number, reason); None when there is none, or none for our eyes. Linux."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    for name in names:
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.readlink(f"{folder}/{name}").startswith(f"/memfd:{ANSWER}"):
                number, _, reason = _contents(f"{folder}/{name}").partition(" ")
                return (number, reason) if reason else None
    return None


def _contents(path: str) -> str:
    """Of a file that may be anything by now: opening it must not wait, nor reading it end in the whole memory."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.pread(fd, MAX_ANSWER, 0).decode("utf-8", "replace") if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)


def command() -> list[str]:
    """How this process was started: the same again starts what is installed there now."""
    return [sys.executable, *sys.orig_argv[1:]]
