"""A log file of the relay's own that cannot grow without bound: FILE, and FILE.1 to FILE.4 with what came before.

For launchd, which keeps a service's output open in one file for ever. Only the log's thread writes, so a slow disk
delays nothing else. A file that somebody else moves away or deletes is opened anew. A file that cannot be renamed is
emptied, because the newest lines are worth more than the oldest and a full disk helps nobody.
"""

from __future__ import annotations

import contextlib
import os
import stat

from relay.config.load import Config, ConfigError

KEPT = 4  # older files
MIB = 1 << 20
STANDARD_OUTPUT = "-"


class LogFile:
    """Appends to `path`; begins a new file after at most `limit` bytes. OSError when it cannot be opened."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._fd = self._size = -1
        self._open()

    def write(self, data: bytes) -> int:
        """As os.write. Begins a new file first if `data`, which should be whole lines, does not fit."""
        if self._is_gone():
            with contextlib.suppress(OSError):  # the old file is still better than nothing
                self._open()
        elif self._size and self._size + len(data) > self.limit:
            self._begin_anew()
        written = os.write(self._fd, data)
        self._size += written
        return written

    def close(self) -> None:
        """At most once."""
        os.close(self._fd)

    def _open(self) -> None:
        # Non-blocking, or a FIFO by mistake would hang the start; on a regular file it means nothing.
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(f"not a regular file: {self.path}")
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, found.st_size
        self._id = (found.st_dev, found.st_ino)

    def _is_gone(self) -> bool:
        try:
            found = os.stat(self.path)
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._id

    def _begin_anew(self) -> None:
        try:
            for number in range(KEPT, 0, -1):
                older = f"{self.path}.{number - 1}" if number > 1 else self.path
                if os.path.exists(older):
                    os.replace(older, f"{self.path}.{number}")
        except OSError:
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        with contextlib.suppress(OSError):  # out of descriptors, perhaps: writing goes on to FILE.1 until this works
            self._open()


def ends_within_a_line(file: str | int) -> bool:
    """Does a file (path or descriptor) end without a line feed? False for anything that cannot be read as a file."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return False
        with open(file if isinstance(file, str) else f"/dev/fd/{file}", "rb") as whole:  # ours can only be written to
            whole.seek(-1, os.SEEK_END)
            return whole.read(1) != b"\n"
    except OSError:  # empty, too
        return False


def log_file_of(config: Config) -> LogFile | None:
    """The configured file, opened; None for standard output. ConfigError when it cannot be opened."""
    if config.log_file == STANDARD_OUTPUT:
        return None
    try:
        return LogFile(config.log_file, config.log_file_size * MIB)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigError(f'log_file: seen "{config.log_file}", {why}; allowed: a file that can be written') from error


def same_log_file(before: Config, after: Config) -> bool:
    """Whether both configurations write to the same file in the same way."""
    return (before.log_file, before.log_file_size) == (after.log_file, after.log_file_size)
