"""What a running relay has written down of its sessions, read from outside by a program that is to go on with them.

Linux, and where this user may look into that process (/proc/PID/fd). Only copies are opened: nothing here can write to
what a living session is written down on.
"""

from __future__ import annotations

import contextlib
import os
import stat

from relay.survival.checkpoint import NAME, Checkpoint
from relay.survival.state import from_json

TRIES = 3  # a copy that is made while the relay writes may be half of two
MOST = 16 << 20  # bytes; a checkpoint is a thirtieth of that


def unreadable(pid: int) -> str:
    """Why this program cannot go on with some session of that process, or ""; also where nothing can be seen."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return ""
    for name in names:
        why = ""
        for _ in range(TRIES):
            why = _trouble(f"{folder}/{name}")
            if not why:
                break
        if why:
            return why
    return ""


def _trouble(path: str) -> str:
    """Why what is written there cannot be read; "" when it can, is none of a session's, or is gone."""
    try:
        if not os.readlink(path).startswith(f"/memfd:{NAME}"):
            return ""
        copy = _copied(path)
    except OSError:
        return ""
    try:
        checkpoint = Checkpoint(copy)
    except ValueError as error:
        os.close(copy)
        return str(error)
    try:
        from_json(checkpoint.read()[0])
    except ValueError as error:
        return str(error)
    finally:
        checkpoint.close()
    return ""


def _copied(path: str) -> int:
    """A file without a name that has the same content, holes included: most of a checkpoint is never written."""
    source = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    copy = os.memfd_create("copy")
    try:
        about = os.fstat(source)
        size = about.st_size if stat.S_ISREG(about.st_mode) else 0
        os.ftruncate(copy, min(size, MOST))
        at = 0
        with contextlib.suppress(OSError):  # ENXIO: nothing but a hole is left
            while at < min(size, MOST):
                begin = os.lseek(source, at, os.SEEK_DATA)
                at = os.lseek(source, begin, os.SEEK_HOLE)
                os.pwrite(copy, os.pread(source, at - begin, begin), begin)
    except BaseException:
        os.close(copy)
        raise
    finally:
        os.close(source)
    return copy
