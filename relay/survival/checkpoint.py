"""What is written down about one connection while it lives, in memory that can outlive this process (a memfd).

Two kinds of things are on it: a text, for what changes a few times in a session's life, and a row of numbers with two
short strings, for what changes with every chunk. A process can be killed between any two instructions, so nothing
is ever changed in place: there are two of everything, the one that is not in force is written, and one aligned store of
eight bytes puts it in force.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

NAME = "ib-relay session"  # as /proc shows it
_MAGIC = b"ibrelay1"  # another layout gets another number; what does not begin with it is not read
_MOST_TEXT = 128 * 1024  # bytes; a session is 1 to 2 KiB, an advisor's hundreds of accounts ten more
_MOST_HELD = 68 * 1024  # bytes; an observer holds 64 KiB at the most, and a hello
_ROW = struct.Struct("=12q")
_PAGE = 4096

# Offsets. Pages that are never written take no memory, so the rare large ones may be generous.
_IN_FORCE = 8  # index of the row, as a q; behind the magic
_ROWS = (64, 64 + 128)
_HELD = (_PAGE, _PAGE + 2 * _MOST_HELD)  # each: what is held of the client's, then of the gateway's stream
_TEXTS = (_HELD[1] + 2 * _MOST_HELD, _HELD[1] + 2 * _MOST_HELD + _MOST_TEXT)
_SIZE = _TEXTS[1] + _MOST_TEXT


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the observer is: bytes seen, where in a frame it stands, what it holds of that, frames counted."""

    up_seen: int = 0
    up_state: int = 0
    up_held: bytes | None = None
    up_frames: int = 0
    down_seen: int = 0
    down_state: int = 0
    down_held: bytes | None = None
    down_frames: int = 0
    peak: int = 0


class Checkpoint:
    """One memfd. `fd` may be kept by others; `close` gives back ours."""

    def __init__(self, fd: int | None = None) -> None:
        """A new one, or the one behind a descriptor, which is then ours; ValueError when it is none."""
        self.fd = os.memfd_create(NAME) if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, _SIZE)
        elif os.fstat(fd).st_size != _SIZE:
            raise ValueError(f"{os.fstat(fd).st_size} bytes are no slate")
        self._map = mmap.mmap(self.fd, _SIZE)
        if fd is None:
            self._map[: len(_MAGIC)] = _MAGIC
        elif self._map[: len(_MAGIC)] != _MAGIC:
            self._map.close()
            raise ValueError("this is no slate")
        self._view = memoryview(self._map)
        self._index = self._view[_IN_FORCE : _IN_FORCE + 8].cast("q")
        row = _ROW.unpack_from(self._map, _ROWS[self._index[0] & 1])
        self._text_index, self._text_size = row[9], row[10]

    def write(self, row: Sequence[int], up_held: bytes | bytearray | None, down_held: bytes | bytearray | None) -> None:
        """Put nine numbers in force: seen, state and frames up, the same down, peak; and what is held."""
        other = 1 - self._index[0]
        up_seen, up_state, up_frames, down_seen, down_state, down_frames, peak = row
        up_size = down_size = -1
        if up_held is not None:
            up_size = self._hold(_HELD[other], up_held)
        if down_held is not None:
            down_size = self._hold(_HELD[other] + _MOST_HELD, down_held)
        _ROW.pack_into(
            self._map,
            _ROWS[other],
            up_seen,
            up_state,
            up_size,
            up_frames,
            down_seen,
            down_state,
            down_size,
            down_frames,
            peak,
            self._text_index,
            self._text_size,
            0,
        )
        self._index[0] = other

    def prepare_text(self, text: bytes) -> None:
        """The text that the next `write` puts in force; ValueError when it is too long."""
        if len(text) > _MOST_TEXT:
            raise ValueError(f"{len(text)} bytes do not fit on a slate")
        self._text_index = 1 - _ROW.unpack_from(self._map, _ROWS[self._index[0]])[9]
        start = _TEXTS[self._text_index]
        self._map[start : start + len(text)] = text
        self._text_size = len(text)

    def read(self) -> tuple[bytes, Progress]:
        """What is in force."""
        index = self._index[0] & 1
        row = _ROW.unpack_from(self._map, _ROWS[index])
        up_held, down_held = self._held(_HELD[index], row[2]), self._held(_HELD[index] + _MOST_HELD, row[6])
        start = _TEXTS[row[9] & 1]
        text = self._map[start : start + min(max(row[10], 0), _MOST_TEXT)]
        return text, Progress(row[0], row[1], up_held, row[3], row[4], row[5], down_held, row[7], row[8])

    def close(self) -> None:
        """Give the memory and the descriptor back."""
        if self.fd >= 0:
            self._index.release()
            self._view.release()
            self._map.close()
            os.close(self.fd)
            self.fd = -1

    def _hold(self, start: int, held: bytes | bytearray) -> int:
        size = len(held)
        if size:
            self._map[start : start + size] = held
        return size

    def _held(self, start: int, size: int) -> bytes | None:
        return self._map[start : start + size] if 0 <= size <= _MOST_HELD else None
