"""`ib-relay upgrade`: finds the relay that runs here, asks it to become the installed program, and says whether it did.

The process stays the same one, so there is nothing to compare but its environment: a program that was taken over by
execve has the handover's stamp in it; one that was refused left its words in the old process. A signal that a process
does not handle would end it, so on Linux the kernel is asked first.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from relay.survival.handover import REHEARSAL, VARIABLE, answer_of

PATIENCE = REHEARSAL + 10.0  # seconds from the signal to the new program, at the most
_PROC = Path("/proc")
_LINUX = sys.platform == "linux"


class Failed(Exception):
    """One line: what is wrong, and that the old program goes on where it does."""


def upgrade(pid: int | None, say: Callable[[str], None]) -> None:
    """Upgrade that process, or the only relay there is; Failed when it is not the new program afterwards."""
    if pid is None:
        pid = _only(running())
    if _LINUX and not _handles_usr2(pid):
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
        if _stamp(pid) != before and _handles_usr2(pid):  # not while it still starts
            say(f"process {pid} is the new program after {time.monotonic() - begin:.1f} s; its sessions are the same")
            return
        answer = answer_of(pid)
        if answer is not None and answer != earlier:
            raise Failed(f"process {pid} goes on with the old program: {answer[1]}")
    raise Failed(f"process {pid} goes on with the old program and has not said why; its log may")


def running() -> list[int]:
    """The relays of this machine, as far as can be seen."""
    return [pid for pid, arguments in sorted(_processes()) if pid != os.getpid() and is_relay(arguments)]


def is_relay(arguments: list[str]) -> bool:
    """Is this the command line of `ib-relay run`, however it was installed?"""
    if "run" not in arguments or not arguments:
        return False
    before = arguments[: arguments.index("run")]
    named = any(re.fullmatch(r"ib-relay(\.pyz)?", argument.rpartition("/")[2]) for argument in before)
    return named or any(pair == ("-m", "relay") for pair in itertools.pairwise(before))


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
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # gone, or not for our eyes
            found.append((int(folder.name), arguments[:-1]))
    return found


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
