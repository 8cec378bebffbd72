"""What an Observer knows, as plain values, so that another process can go on watching the same connection.

`saved` is everything and may go into JSON. `positions` is the part that changes with every chunk, cheap enough to be
asked for each time: with the last `saved` and the last `positions`, `restored` makes an observer that goes on at the
very byte. Only the counts by message id are as old as `saved`; the frames since then are known by their number and
counted under UNKNOWN_ID.
"""

from __future__ import annotations

from typing import NamedTuple

from relay.wire.direction_table import DOWN, UP, DirectionTable
from relay.wire.observer import HELLO, OFF, Observer
from relay.wire.rate import PeakRate
from relay.wire.stage import Stage

UNKNOWN_ID = -1  # no frame has it: -2 stands for those without an id, see direction_table.py

_PLAIN = (
    "opaque",
    "legacy",
    "server_version",
    "client_id",
    "last_error_code",
    "redirect",
    "client_hello_at",
    "server_hello_at",
    "start_api_at",
    "ready_at",
    "_request_at",
    "_has_order_id",
)


class Positions(NamedTuple):
    """Where in a frame each direction is, what is held of it, and how many frames there were in both."""

    up: int
    up_held: bytes | bytearray | None
    down: int
    down_held: bytes | bytearray | None
    frames: int
    peak: int


def positions(observer: Observer) -> Positions:
    """As of now; `held` is not copied."""
    rate = observer._rate
    return Positions(
        observer._up,
        observer._up_held,
        observer._down,
        observer._down_held,
        sum(observer._counts.values()),
        rate.peak if rate is not None else 0,
    )


def position(observer: Observer, table: DirectionTable) -> tuple[int, bytes]:
    """Where in a frame one direction is (see observer.py), and what is held of it."""
    if table is UP:
        return observer._up, bytes(observer._up_held or b"")
    return observer._down, bytes(observer._down_held or b"")


def saved(observer: Observer) -> dict:
    """Everything that is known, in values JSON can carry; times are monotonic."""
    values = {name.lstrip("_"): getattr(observer, name) for name in _PLAIN}
    now = positions(observer)
    return values | {
        "stage": observer.stage.name.lower(),
        "client_range": observer.client_range,
        "accounts": observer.accounts,
        "counts": sorted(observer._counts.items()),
        "peak": observer.requests_peak,
        "up": [now.up, _text(now.up_held)],
        "down": [now.down, _text(now.down_held)],
    }


def restored(values: dict) -> Observer:
    """The observer that was saved; KeyError, TypeError or ValueError for values that are none."""
    observer = Observer()
    for name in _PLAIN:
        setattr(observer, name, values[name.lstrip("_")])
    observer.stage = Stage[values["stage"].upper()]
    observer.client_range = tuple(values["client_range"]) if values["client_range"] else None
    observer.accounts = tuple(values["accounts"])
    observer._counts = {int(slot): int(count) for slot, count in values["counts"]}
    observer._up, observer._up_held = _position(*values["up"])
    observer._down, observer._down_held = _position(*values["down"])
    if values["peak"] > 1:
        observer._rate = PeakRate(values["peak"])  # its window is gone: what came within this second counts anew
    return observer


def frames(observer: Observer) -> tuple[int, int]:
    """How many frames were counted, up and down."""
    return sum(observer.counts_up.values()), sum(observer.counts_down.values())


def advance(observer: Observer, table: DirectionTable, state: int, held: bytes | None, frames_more: int) -> None:
    """Set one direction to where it is by now, with so many frames more than it has counted."""
    state, kept = _position(state, None if held is None else held.decode("latin-1"))
    if table is UP:
        observer._up, observer._up_held = state, kept
    else:
        observer._down, observer._down_held = state, kept
    if frames_more:
        slot = table.base + UNKNOWN_ID
        observer._counts[slot] = observer._counts.get(slot, 0) + frames_more


def raise_peak(observer: Observer, peak: int) -> None:
    """No fewer than `peak` requests were seen within a second."""
    if peak > observer.requests_peak:
        observer._rate = PeakRate(peak)


def lose(observer: Observer, why: str) -> None:
    """What was passed meanwhile is not known: say so, and look at nothing more. What is known stays."""
    if observer.opaque is None:
        observer.opaque = why
    observer._switch_off()


def _position(state: int, held: str | None) -> tuple[int, bytearray | None]:
    if state < OFF or (held is not None and state > HELLO + 1):
        raise ValueError(f"no state of an observer: {state}")
    return int(state), None if held is None else bytearray(held, "latin-1")


def _text(held: bytes | bytearray | None) -> str | None:
    return None if held is None else bytes(held).decode("latin-1")


__all__ = [
    "DOWN",
    "HELLO",
    "OFF",
    "UP",
    "Positions",
    "advance",
    "frames",
    "lose",
    "position",
    "positions",
    "raise_peak",
    "restored",
    "saved",
]
