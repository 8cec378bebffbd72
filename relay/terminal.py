"""Standard streams and the files a user names, which may be closed, full, broken or no files: one line, no traceback.

What goes out here goes out line by line as printable text, whoever wrote it; see `write_document` for the exception.

`run` writes its log by itself (log.py); this is for everything else that is printed, and for the exit codes of what
cannot go on. A reader that has gone away (`| head`) ends a command without a word, as is the custom.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol, TextIO

from relay.printable import LONGEST_LINE, printable, printable_lines

# Exit codes; 2 is click's for wrong words, see usage.py.
EX_OUTPUT = 1  # standard output cannot be written
EX_UNAVAILABLE = 69  # sysexits.h: a port cannot be bound, or something needed is not there
EX_CONFIG = 78  # sysexits.h: the configuration is wrong
EX_INTERRUPTED = 130  # as shells have it: 128 + SIGINT

NAME = "ib-relay"
NEEDS_CLICK = "needs click: run it with .venv/bin/python, or `pip install .`"
WIDTH = 80  # columns, where nobody knows


class Unwritable(Exception):
    """Something could not be written; the message says what and why."""


class Unread(Unwritable):
    """Nobody reads standard output any more, and nobody wants to know."""


def prepare() -> None:
    """Make the three descriptors safe to live with; a closed stream stays None and is noticed by who needs it.

    Started with stdout closed, the next socket would become descriptor 1, and log lines would go to a gateway.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an old locale prints \u2026, it does not raise


def exit_code(work: Callable[[], int]) -> int:
    """Returns the exit code of `work`; anything but success prints at most one line."""
    try:
        return work()
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would find us in the middle of leaving
        complain("interrupted")
        return EX_INTERRUPTED
    except Unread:
        return EX_OUTPUT
    except Unwritable as error:
        complain(str(error))
        return EX_OUTPUT


def leave(code: int) -> NoReturn:
    """End this process here and now, with every word said.

    What an interpreter does at its end takes 20 ms, for which sessions that were left to a successor stand still; and
    it can go wrong: a thread that comes back from getaddrinfo then is ended by pthread_exit(), and that aborts the
    process where there is no libgcc_s.so.1, as in small images (bpo-44434).
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None, broken, closed
            stream.flush()
    os._exit(code)


def write(text: str) -> None:
    """Lines to standard output, at once; raises Unwritable."""
    write_document(printable_lines(text))


def write_document(text: str) -> None:
    """To standard output as it is: for files, and pages with colours, whose makers let nothing of others' through."""
    stream = sys.stdout
    if stream is None:
        raise Unwritable("standard output is closed")
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _silence(stream)
        kind = Unread if error.errno == errno.EPIPE else Unwritable
        raise kind(f"standard output: {error.strerror or error}") from None


class Teller:
    """Prints the lines of work that must be finished even if nobody can read them; `check` at its end raises."""

    def __init__(self) -> None:
        self._trouble: Unwritable | None = None

    def __call__(self, line: str) -> None:
        if self._trouble is None:
            try:
                write(f"{line}\n")
            except Unwritable as error:
                self._trouble = error

    def check(self) -> None:
        """Raises Unwritable where a line could not be written."""
        if self._trouble is not None:
            raise self._trouble


class OutputStream(Protocol):
    """What can be written to and, perhaps, is a terminal."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def isatty(self) -> bool: ...

    def fileno(self) -> int: ...


class Output:
    """Standard output for those who draw on it, and want Unwritable where an OSError would come."""

    def write(self, text: str) -> None:
        write_document(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return sys.stdout is not None and sys.stdout.isatty()

    def fileno(self) -> int:
        return sys.stdout.fileno() if sys.stdout is not None else -1


def columns(stream: OutputStream) -> int:
    """Of the terminal that a stream leads to, as wide as it is now."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (OSError, ValueError):  # no terminal, or no descriptor at all
        return WIDTH


def tell(text: str) -> None:
    """Some lines to standard error; where nobody reads them, nothing happens."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(f"{printable_lines(text)}\n")
        stream.flush()
    except OSError:
        _silence(stream)


def complain(message: str, program: str = NAME) -> None:
    """One line to standard error that begins with the name of the program, whatever the message holds."""
    tell(f"{program}: {printable(message, LONGEST_LINE)}")


def _silence(stream: TextIO) -> None:
    """What is left in the buffer would be tried again at exit, and fail again with a message of the interpreter's."""
    if stream in (sys.__stdout__, sys.__stderr__):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
