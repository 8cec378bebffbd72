r"""Length-prefixed frames and NUL-terminated fields: how both peers of a v100+ IB session delimit their messages.

    frame   = u32 big-endian length, payload
    fields  = text, NUL, text, NUL ...      (the last one is terminated too)

The client's very first frame has `API\0` before it and no message id; hello.py reads it.
"""

from __future__ import annotations

from struct import Struct

LENGTH = Struct(">I")
Bytes = bytes | bytearray | memoryview  # what may be looked at without being kept

LENGTH_SIZE = LENGTH.size

# Bytes. ibapi 9.81 and 10.51 take a payload of 0xFFFFFF and disconnect with error 507 at one more (recorded);
# the Java client throws at the same bound.
MAX_FRAME = 0xFFFFFF


class WireError(ValueError):
    """Bytes that do not follow the IB protocol. No decoder of relay.wire raises anything else."""


def too_long(limit: int = MAX_FRAME) -> str:
    """Why a length ends a stream. The length itself is not told: out of step, its four bytes are anybody's."""
    return f"a frame of more than {limit} bytes is announced"


def frame_end(data: Bytes) -> int:
    """Length of the frame `data` starts with, its length prefix included, which must be there."""
    return LENGTH_SIZE + int(LENGTH.unpack_from(data)[0])


def encode_frame(payload: bytes) -> bytes:
    """The payload with its length before it; WireError if it is longer than any peer accepts."""
    if len(payload) > MAX_FRAME:
        raise WireError(f"frame of {len(payload)} bytes, at most {MAX_FRAME} can be sent")
    return LENGTH.pack(len(payload)) + payload


def join_fields(*values: str | int | float | bytes) -> bytes:
    """Values as NUL-terminated text, True and False as 1 and 0; WireError for text that contains a NUL itself."""
    return b"".join(_field(value) + b"\0" for value in values)


def _field(value: str | int | float | bytes) -> bytes:
    if isinstance(value, bool):
        return b"1" if value else b"0"
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    if b"\0" in raw:
        raise WireError(f"a field of {len(raw)} bytes contains a NUL")
    return raw


def split_fields(payload: Bytes) -> list[bytes]:
    """The fields of a text payload, without their NULs; WireError if the last one is not terminated."""
    if not payload:
        return []
    if payload[-1] != 0:
        raise WireError("last field is not terminated by a NUL")
    return bytes(payload[:-1]).split(b"\0")


class FrameReader:
    """Cuts a byte stream into payloads, whatever the chunks are.

    Keeps at most one incomplete frame. A length above the limit ends the stream: the frames before it are still
    returned, and from then on every call raises WireError (a call with b"" asks for it at once).
    """

    __slots__ = ("_buffer", "_limit", "_broken")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._broken: str | None = None

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame (its length prefix included) that are held."""
        return len(self._buffer)

    def feed(self, data: Bytes) -> list[bytes]:
        """The payloads that became complete with `data`, in order."""
        if self._broken is not None:
            raise WireError(self._broken)
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(buffer) - start >= LENGTH_SIZE:
            (length,) = LENGTH.unpack_from(buffer, start)
            if length > self._limit:
                self._broken = too_long(self._limit)
                break
            end = start + LENGTH_SIZE + length
            if end > len(buffer):
                break
            payloads.append(bytes(buffer[start + LENGTH_SIZE : end]))
            start = end
        if self._broken is not None:
            buffer.clear()
            if not payloads:
                raise WireError(self._broken)
        elif start:
            del buffer[:start]
        return payloads
