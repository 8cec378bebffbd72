"""The ends of a connection, in the order they were seen: who was first, how far it had come by then, what followed.

A connection has two sides, and each can end it: by FIN, by reset, or by vanishing (the kernel's time-out). The first of
these says who ended the connection, how and at which stage; it is never changed by what the other side does later.
"""

from __future__ import annotations

from typing import NamedTuple

NOTABLE = 1.0  # seconds; a reaction that took less is not worth a word
_NAMES_SHOWN = 3  # of messages that came too late; the others are counted


class FirstEnd(NamedTuple):
    """The first FIN, reset or time-out."""

    by: str  # client | upstream
    how: str  # fin | rst | timeout
    after: float | None  # seconds after accept; None: it was seen by another process, which did not say when
    stage: str | None = None  # Record.ib_stage as of then
    in_handshake: bool = False  # an IB session that was not ready yet
    error_type: str | None = None  # the name of an errno
    awaited: str | None = None  # what the client waited for: "hello", "START_API"; None: nothing
    waited: float | None = None  # for how long, seconds
    answered: str | None = None  # what had come of the answer, if not all: a clause
    cut_off: str | None = None  # what never came of its own last message: a clause


class Later(NamedTuple):
    """Something that followed."""

    by: str  # client | upstream
    what: str  # fin | rst | timeout | answer
    after: float  # seconds after the first end


class Ends(NamedTuple):
    """All that is known. Each side ends once at the most, or twice: a FIN, then a reset."""

    first: FirstEnd
    later: tuple[Later, ...] = ()
    late_messages: tuple[tuple[str, int], ...] = ()  # what a client sent to a gateway that had ended, by name
    late_bytes: int = 0

    def find(self, by: str, *what: str) -> Later | None:
        """What that side did later, if it did one of these."""
        return next((later for later in self.later if later.by == by and later.what in what), None)

    @property
    def clean(self) -> bool:
        """Was nothing cut off, lost or given up?"""
        given_up = any(later.what == "timeout" for later in self.later)
        return not (self.first.cut_off or self.late_messages or self.late_bytes or given_up)


_SIDES = {"client": "the client", "upstream": "the gateway"}
_DID = {"fin": "closed", "rst": "reset it", "timeout": "vanished without a word"}


def first_end_said(ends: Ends) -> str:
    """Who ended it before the relay did: "the client had closed after 4.0 s"."""
    first = ends.first
    when = f" after {first.after:.1f} s" if first.after is not None else ""
    return f"{_SIDES[first.by]} had {_DID[first.how]}{when}"


def sequel(ends: Ends) -> str:
    """What else is to be said of a close: clauses that begin with "; ", or nothing."""
    first = ends.first
    clauses = []
    if first.cut_off is not None:
        clauses.append(first.cut_off)
    other = "upstream" if first.by == "client" else "client"
    then = ends.find(other, "rst", "timeout") or ends.find(other, "fin")
    if then is not None and (then.what != "fin" or then.after >= NOTABLE):
        when = f" {then.after:.1f} s later" if then.after >= 0.1 else ""
        clauses.append(f"{_SIDES[other]} then {_DID[then.what]}{when}")
    if ends.late_messages or ends.late_bytes:
        clauses.append(_late(ends))
    return "".join(f"; {clause}" for clause in clauses)


def _late(ends: Ends) -> str:
    """What the client said to a gateway that had ended; it is lost where the gateway's kernel has refused it."""
    count = sum(number for _, number in ends.late_messages)
    what = f"{count} message{'s' * (count != 1)}" if count else f"{ends.late_bytes} bytes"
    names = [name for name, _ in ends.late_messages]
    more = f" and {len(names) - _NAMES_SHOWN} other kinds" if len(names) > _NAMES_SHOWN else ""
    named = f" ({', '.join(names[:_NAMES_SHOWN])}{more})" if names else ""
    lost = ends.first.how != "fin" or ends.find("upstream", "rst", "timeout") is not None
    fate = "lost" if lost else "perhaps not read"
    return f"{what}{named} from the client after that {'was' if count == 1 else 'were'} {fate}"


def waiting_said(ends: Ends, duration: float) -> str:
    """Of a connection that one side has left: "the gateway closed 19.0 s ago, the client has not reacted"."""
    first = ends.first
    other = "upstream" if first.by == "client" else "client"
    when = f" {duration - first.after:.1f} s ago" if first.after is not None else " earlier"
    did = {"fin": "closed", "rst": "reset the connection", "timeout": "vanished"}[first.how]
    reacted = any(later.by == other and later.what != "answer" for later in ends.later)
    return f"{_SIDES[first.by]} {did}{when}" + ("" if reacted else f", {_SIDES[other]} has not reacted")
