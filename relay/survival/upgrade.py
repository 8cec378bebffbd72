"""`ib-relay upgrade`: finds the relay that runs here, asks it to become the installed program, and says whether it did.

The process stays the same one, so there is nothing to compare but its environment: a program that was taken over by
execve has the handover's stamp in it; one that was refused left its words in the old process. A signal that a process
does not handle would end it, so on Linux the kernel is asked first.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from relay.command_line import is_relay
from relay.survival.handover import REHEARSAL, VARIABLE, answer_of

PATIENCE = REHEARSAL + 10.0  # seconds from the signal to the new program, at the most
STARTING = 10.0  # seconds a relay may take until it can be asked
_PROC = Path("/proc")
_LINUX = sys.platform == "linux"


class Failed(Exception):
    """One line: what is wrong, and that the old program goes on where it does."""


def upgrade(pid: int | None, say: Callable[[str], None]) -> None:
    """Upgrade that process, or the only relay there is; Failed when it is not the new program afterwards."""
    if pid is None:
        pid = _only(running())
    if _LINUX and not _can_be_asked(pid):
        raise Failed(f"process {pid} is no relay that can be upgraded, or there is no such process")
    before, earlier = _stamp(pid), answer_of(pid)
    visible = _LINUX and before is not None
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError as error:
        raise Failed(f"process {pid} cannot be asked: {error.strerror}") from None
    if not visible:
        say(f"process {pid} was asked to upgrade; its log says whether it did")
        return
    begin = time.monotonic()
    while time.monotonic() < begin + PATIENCE:
        time.sleep(0.05)
        if not (_PROC / str(pid)).exists():
            raise Failed(f"process {pid} has ended; its log says why")
        # Not while it still starts; and in the middle of execve there is no environment at all to be seen.
        if _stamp(pid) not in (before, "", None) and _handles_usr2(pid):
            say(f"process {pid} is the new program after {time.monotonic() - begin:.1f} s; its sessions are the same")
            return
        answer = answer_of(pid)
        if answer is not None and answer != earlier:
            raise Failed(f"process {pid} goes on with the old program: {answer[1]}")
    raise Failed(f"process {pid} goes on with the old program and has not said why; its log may")


def running() -> list[int]:
    """The relays of this machine, as far as can be seen."""
    return [pid for pid, arguments in sorted(_processes()) if pid != os.getpid() and is_relay(arguments)]


def _only(found: list[int]) -> int:
    if not found:
        raise Failed("no running relay is to be seen here; name its process with --pid")
    if len(found) > 1:
        raise Failed(f"several relays run here ({', '.join(map(str, found))}); choose one with --pid")
    return found[0]


def _processes() -> list[tuple[int, list[str]]]:
    if not _LINUX:
        listing = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, text=True, check=False).stdout
        rows = (line.split() for line in listing.splitlines())
        return [(int(row[0]), row[1:]) for row in rows if row and row[0].isdecimal()]
    seen = ((int(name), _arguments(int(name))) for name in os.listdir(_PROC) if name.isdecimal())
    return [(pid, arguments) for pid, arguments in seen if arguments is not None]


def _arguments(pid: int) -> list[str] | None:
    """Its command line; None when it is gone, or not for our eyes. Empty in the middle of execve."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return None


def _can_be_asked(pid: int) -> bool:
    """Whether it handles the signal; a relay that has only just started may have a moment for that."""
    until = time.monotonic() + STARTING
    while not _handles_usr2(pid):
        arguments = _arguments(pid)
        if arguments is None or (arguments and not is_relay(arguments)) or time.monotonic() >= until:
            return False
        time.sleep(0.05)
    return True


def _handles_usr2(pid: int) -> bool:
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGUSR2 - 1) & 1)


def _stamp(pid: int) -> str | None:
    """What the handover left in the environment a process was started with, or ""; None when it is not for our eyes."""
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None  # without CAP_SYS_PTRACE, as in a container, even root does not see another user's
    return next((variable for variable in variables if variable.startswith(f"{VARIABLE}=")), "")
