"""Connection ids: the moment of the first start, and a number that no process gives twice; what a kill would end."""

from __future__ import annotations

import mmap
import os
import struct

# The next number, the moment, how many sessions a kill would end. The release before knows only the first two.
_NUMBERS = struct.Struct("=q32sq")


class Numbers:
    """`next` gives an id; moment and number are in a memfd if another process is to go on with them."""

    def __init__(self, boot: str, following: int = 1, fd: int | None = None, shared: bool = False) -> None:
        self.boot, self._next = boot, following
        self.ended_unkept = 0  # sessions that were there and nowhere kept when the process before was killed
        self._not_kept = 0
        self.fd = fd if fd is not None or not shared else os.memfd_create("ib-relay numbers")
        self._map: mmap.mmap | None = None
        if self.fd is not None:
            os.ftruncate(self.fd, _NUMBERS.size)
            self._map = mmap.mmap(self.fd, _NUMBERS.size)
            if fd is not None:
                self._next, text, self.ended_unkept = _NUMBERS.unpack_from(self._map)
                self.boot = text.rstrip(b"\0").decode("ascii", "replace") or boot
            self._write()

    @property
    def following(self) -> int:
        """The number that is given next."""
        return self._next

    def __next__(self) -> str:
        number, self._next = self._next, self._next + 1
        self._write()
        return f"{self.boot}-{number:06d}"

    def note_not_kept(self, count: int) -> None:
        """So many sessions would end with this process, were it killed now."""
        if count != self._not_kept:
            self._not_kept = count
            self._write()

    def close(self) -> None:
        """Give the memory back."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _write(self) -> None:
        if self._map is not None:
            _NUMBERS.pack_into(self._map, 0, max(1, self._next), self.boot.encode()[:32], self._not_kept)
