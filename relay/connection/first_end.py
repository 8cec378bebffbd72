"""Remembers who ended a connection first, how far it had come by then, and what followed (logs/ends.py has the values).

Made when the first end is seen, and not before: a connection that lives has none of it.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from relay.logs.ends import Ends, FirstEnd, Later
from relay.wire import observer_state
from relay.wire.framing import LENGTH_SIZE, frame_end
from relay.wire.hello import server_hello_length
from relay.wire.names import CLIENT_TO_GATEWAY
from relay.wire.observer import Observer
from relay.wire.stage import Stage

_RESETS = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)


def how_it_failed(error: OSError) -> str:
    """A reset, or a peer the kernel has given up."""
    return "rst" if error.errno in _RESETS else "timeout"


def error_name(error: OSError) -> str:
    """ECONNRESET rather than 104."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def stage_word(observer: Observer) -> str:
    """How far a session has come: the word of its record."""
    if observer.opaque is not None:
        return "opaque"
    return "legacy" if observer.legacy else observer.stage.name.lower()


def in_handshake(observer: Observer | None) -> bool:
    """An IB session that is understood and not ready yet."""
    if observer is None or observer.opaque is not None or observer.legacy:
        return False
    return observer.stage < Stage.READY


class EndsSeen:
    """Of one connection; all times monotonic."""

    __slots__ = ("at", "bytes_up", "counts_up", "first", "later")

    def __init__(self, first: FirstEnd, at: float, counts_up: Mapping[int, int], bytes_up: int) -> None:
        """`counts_up` and `bytes_up`: what the client had sent by then."""
        self.first = first
        self.at = at
        self.counts_up = counts_up
        self.bytes_up = bytes_up
        self.later: tuple[Later, ...] = ()

    def add(self, by: str, how: str, error_type: str | None, now: float) -> None:
        """A side has ended after the first end."""
        first = self.first
        if by == first.by and first.how == "rst" and first.error_type is None and error_type is not None:
            self.first = first._replace(how=how, error_type=error_type)  # now the kernel has said which error it was
            return
        known = [(later.by, later.what) for later in self.later]
        again = by == first.by and (how == "fin" or first.how != "fin")
        if not again and (by, how) not in known:
            self.later += (Later(by, how, now - self.at),)

    def in_hello(self, held: bytes) -> None:
        """The gateway's FIN came behind this beginning of its hello."""
        if (self.first.by, self.first.how) == ("upstream", "fin"):
            self.first = self.first._replace(cut_off=_part_of_hello(held, "upstream"))

    def heard(self, observer: Observer, now: float) -> None:
        """The gateway has said something: is it what a client that is gone had waited for?"""
        awaited = self.first.awaited
        came = observer.server_hello_at if awaited == "hello" else observer.ready_at
        if awaited is not None and came is not None and not any(later.what == "answer" for later in self.later):
            self.later += (Later("upstream", "answer", now - self.at),)

    def value(self, observer: Observer | None, bytes_up: int) -> Ends:
        """As of now."""
        if self.first.by == "client":
            return Ends(self.first, self.later)
        late: list[tuple[str, int]] = []
        for number, count in observer.counts_up.items() if observer is not None else ():
            if more := count - self.counts_up.get(number, 0):
                late.append((CLIENT_TO_GATEWAY.get(number, f"message {number}"), more))
        return Ends(self.first, self.later, tuple(late), bytes_up - self.bytes_up)


def first_end(
    by: str, how: str, error_type: str | None, now: float, opened_at: float, observer: Observer | None
) -> FirstEnd:
    """As of now, when nothing had ended before."""
    after = now - opened_at
    if observer is None:
        return FirstEnd(by, how, after, error_type=error_type)
    awaited, asked_at = _awaited(observer) if by == "client" else (None, None)
    return FirstEnd(
        by,
        how,
        after,
        stage_word(observer),
        in_handshake(observer),
        error_type,
        awaited,
        now - asked_at if asked_at is not None else None,
        _answered(observer),
        _cut_off(observer, by) if how == "fin" else None,
    )


def _awaited(observer: Observer) -> tuple[str | None, float | None]:
    """What a client waits for, and since when."""
    if not in_handshake(observer):
        return None, None
    if observer.stage is Stage.CLIENT_HELLO:
        return "hello", observer.client_hello_at
    if observer.stage is Stage.START_API:
        return "START_API", observer.start_api_at
    return None, None


def _answered(observer: Observer) -> str | None:
    """START_API's answer has two parts."""
    if observer.stage is not Stage.START_API:
        return None
    if observer.account_count != 0:
        return "accounts came, the next order id did not"
    return "the next order id came, accounts did not" if observer.has_order_id else None


def _cut_off(observer: Observer, by: str) -> str | None:
    """What of its last message the side that said FIN has kept for itself."""
    if observer.opaque is not None or observer.legacy:
        return None
    state, held = observer_state.position(observer, observer_state.UP if by == "client" else observer_state.DOWN)
    if state > 0:
        return f"{state} bytes of its last message never came"
    if state == observer_state.HELLO:
        return _part_of_hello(bytes(held), by) if held else None
    if len(held) >= LENGTH_SIZE:
        return f"of its last message came {len(held)} of {frame_end(held)} bytes"
    return f"of its last message came {len(held)} bytes" if held else None


def _part_of_hello(held: bytes, by: str) -> str:
    length = server_hello_length(held) if by == "upstream" else None
    return f"only {len(held)}{f' of {length}' if length else ''} bytes of its hello came"


# As values JSON can carry, for another process.


def saved(seen: EndsSeen) -> dict[str, object]:
    """Everything."""
    return {
        "first": list(seen.first),
        "at": seen.at,
        "counts": sorted(seen.counts_up.items()),
        "bytes_up": seen.bytes_up,
        "later": [list(later) for later in seen.later],
    }


def restored(values: Mapping[str, Any] | None, first_fin: str | None) -> EndsSeen | None:
    """What was saved; of a program that saved only who said FIN first, that. KeyError or TypeError for all else."""
    if values is None:
        return EndsSeen(FirstEnd(first_fin, "fin", None), 0.0, {}, 0) if first_fin is not None else None
    seen = EndsSeen(FirstEnd(*values["first"]), values["at"], dict(values["counts"]), values["bytes_up"])
    seen.later = tuple(Later(*later) for later in values["later"])
    return seen
