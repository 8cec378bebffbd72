"""What a command prints, and the files a user names: all of them may be closed, full, broken or not there.

The standard streams themselves are in relay/terminal.py; this is what only ib-diagnose needs.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable
from typing import BinaryIO, TextIO

from relay import terminal

NAME = "ib-diagnose"
MAX_INPUT = 4 << 20  # bytes, as evidence.MAX_FILE; of a log only the end counts, and this is the end of many days
WIDTHS = 60, 120  # columns; below it no table fits, above it no sentence is easy to read


class CommandError(Exception):
    """What was asked for cannot be done; the message is one line for the person who asked."""


class Sink:
    """Where a text goes: standard output for None and "-", or the file of that name.

    The file is opened at once, so that the user hears before the work that it cannot be written, and not after it. What
    it holds is replaced only when there is something to replace it with. Raises CommandError; close it or write to it.
    """

    def __init__(self, path: str | None, option: str) -> None:
        self._name = f"{option} {path}"
        self._file: BinaryIO | None = None
        if path is None or path == "-":
            if sys.stdout is None:
                raise CommandError("standard output is closed")
            return
        try:
            self._file = open(path, "ab")  # noqa: SIM115 (closed by `write` or `close`)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise CommandError(f"{self._name}: {_reason(error)}") from None

    def write(self, text: str, *, utf8: bool = False) -> None:
        """A whole document, and close; `utf8` for formats that are, and files always are. Raises CommandError."""
        if self._file is None:
            _write(terminal.write_document, text, utf8)
            return
        try:
            with self._file as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    file.truncate(0)
                file.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise CommandError(f"{self._name}: {_reason(error)}") from None

    def close(self) -> None:
        """Leave the file as it was."""
        if self._file is not None:
            self._file.close()


def read_text(path: str, option: str) -> str:
    """A file, or standard input for "-", in UTF-8 or in what a Windows shell writes. Raises CommandError."""
    from diagnostics.host.log_lines import decode

    return decode(read_bytes(path, option))


def read_bytes(path: str, option: str, *, tail: bool = False) -> bytes:
    """A file, or standard input for "-": all of it or, with `tail`, the last MAX_INPUT bytes. Raises CommandError."""
    try:
        with _opened(path, option) as file:
            data = file.read(MAX_INPUT + 1)
            while tail and (more := file.read(MAX_INPUT)):
                data = data[-MAX_INPUT:] + more
    except (OSError, ValueError) as error:
        raise CommandError(f"{option} {path}: {_reason(error)}") from None
    if not tail and len(data) > MAX_INPUT:
        raise CommandError(f"{option} {path}: more than {MAX_INPUT >> 20} MiB")
    if path == "-" and not data:
        raise CommandError(f"{option} -: standard input is empty (it is, for a program that came from there itself)")
    return data[-MAX_INPUT:]


def _opened(path: str, option: str) -> BinaryIO:
    if path != "-":
        return open(path, "rb")
    if sys.stdin is None:
        raise CommandError(f"{option} -: standard input is closed")
    return open(sys.stdin.fileno(), "rb", closefd=False)


def write(text: str) -> None:
    """Lines to standard output, at once and printable; raises CommandError."""
    _write(terminal.write, text, False)


def _write(to: Callable[[str], None], text: str, utf8: bool) -> None:
    if utf8 and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        to(text)
    except terminal.Unwritable as error:
        raise CommandError(str(error)) from None


def complain(message: str) -> None:
    """One line to standard error that begins with our name, whatever the message holds."""
    terminal.complain(message, NAME)


def has_colours() -> bool:
    """May standard output be given colours: is it a terminal, and does nothing forbid them (no-color.org)?"""
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO | None) -> bool:
    """Does somebody look at this stream?"""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def width() -> int:
    """Columns of the terminal within reason; the usual width for a pipe or a file."""
    try:
        columns = os.get_terminal_size(1).columns or terminal.WIDTH
    except OSError:
        return terminal.WIDTH
    return max(WIDTHS[0], min(WIDTHS[1], columns))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
