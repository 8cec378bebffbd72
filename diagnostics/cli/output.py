"""Standard streams and the files a user names, which may be closed, full, broken or not there: one line, no traceback.

A program started with descriptor 1 closed gets it back as its next socket, and would then print its report to a
gateway: `prepare` comes first.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import NoReturn

NAME = "ib-diagnose"
MAX_INPUT = 4 << 20  # bytes, as evidence.MAX_FILE; of a log only the end counts, and this is the end of many days
WIDTHS = 60, 120  # columns; below it no table fits, above it no sentence is easy to read
WIDTH = 80  # where nobody knows


class Refused(Exception):
    """What was asked for cannot be done; the message is one line for the person who asked."""


class Unwritable(Refused):
    """Something could not be written, or not be opened for it; the message says what and why."""


def prepare() -> None:
    """Make the three descriptors safe to live with; a closed stream stays None and is noticed by who needs it."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an old locale prints \u2026, it does not raise


class Sink:
    """Where a text goes: standard output for None and "-", or the file of that name.

    The file is opened at once, so that one that cannot be written is told before the work and not after it; what it
    holds is replaced only when there is something to replace it with. Raises Unwritable; close it or write to it.
    """

    def __init__(self, path: str | None, option: str) -> None:
        self._name, self._file = f"{option} {path}", None
        if path is None or path == "-":
            if sys.stdout is None:
                raise Unwritable("standard output is closed")
            return
        try:
            self._file = open(path, "ab")  # noqa: SIM115 (closed by `write` or `close`)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise Unwritable(f"{self._name}: {_reason(error)}") from None

    def write(self, text: str, *, utf8: bool = False) -> None:
        """All of it, and close; `utf8` for formats that are, and files always are. Raises Unwritable."""
        if self._file is None:
            write(text, utf8=utf8)
            return
        try:
            with self._file as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    file.truncate(0)
                file.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise Unwritable(f"{self._name}: {_reason(error)}") from None

    def close(self) -> None:
        """Leave the file as it was."""
        if self._file is not None:
            self._file.close()


def read_text(path: str, option: str, *, tail: bool = False) -> str:
    """A file, or standard input for "-": all of it or, with `tail`, the last MAX_INPUT bytes. Raises Refused."""
    try:
        with _opened(path, option) as file:
            data = file.read(MAX_INPUT + 1)
            while tail and (more := file.read(MAX_INPUT)):
                data = data[-MAX_INPUT:] + more
    except (OSError, ValueError) as error:
        raise Refused(f"{option} {path}: {_reason(error)}") from None
    if not tail and len(data) > MAX_INPUT:
        raise Refused(f"{option} {path}: more than {MAX_INPUT >> 20} MiB")
    if path == "-" and not data:
        raise Refused(f"{option} -: standard input is empty (it is, for a program that came from there itself)")
    return data[-MAX_INPUT:].decode("utf-8", "replace")


def _opened(path: str, option: str):
    if path != "-":
        return open(path, "rb")
    if sys.stdin is None:
        raise Refused(f"{option} -: standard input is closed")
    return open(sys.stdin.fileno(), "rb", closefd=False)


def leave(code: int) -> NoReturn:
    """End this process here and now, with every word said.

    What an interpreter does at its end takes 20 ms and can go wrong: a thread that comes back from getaddrinfo then is
    ended by pthread_exit(), and that aborts the process where there is no libgcc_s.so.1, as in small images
    (bpo-44434).
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None, broken, closed
            stream.flush()
    os._exit(code)


def write(text: str, *, utf8: bool = False) -> None:
    """To standard output, at once; raises Unwritable."""
    stream = sys.stdout
    if stream is None:
        raise Unwritable("standard output is closed")
    try:
        if utf8 and hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(text.encode("utf-8", "backslashreplace"))
        else:
            stream.write(text)
        stream.flush()
    except OSError as error:
        _silence(stream)
        raise Unwritable(f"standard output: {_reason(error)}") from None


def tell(text: str) -> None:
    """One line to standard error; where nobody reads it, nothing happens."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError:
        _silence(stream)


def complain(message: str) -> None:
    """One line to standard error that begins with our name, whatever the message holds."""
    tell(f"{NAME}: {one_line(message)}")


def one_line(text: str) -> str:
    """`text` without anything a terminal could take for an order."""
    return "".join(one if one.isprintable() else " " for one in text)


def colours() -> bool:
    """May standard output be given colours: is it a terminal, and does nothing forbid them (no-color.org)?"""
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream) -> bool:
    """Does somebody look at this stream?"""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def width() -> int:
    """Columns of the terminal within reason; 80 for a pipe or a file."""
    try:
        columns = os.get_terminal_size(1).columns or WIDTH
    except OSError:
        return WIDTH
    return max(WIDTHS[0], min(WIDTHS[1], columns))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _silence(stream) -> None:
    """What is left in the buffer would be tried again at exit, and fail again with a message of the interpreter's."""
    if stream in (sys.__stdout__, sys.__stderr__):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
