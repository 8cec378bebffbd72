"""The knowledge of an Observer as plain values, so that another process can continue to watch the same connection.

`saved` is everything and may go into JSON. `positions` is the part that changes with every chunk; it is cheap enough to
take each time. With the last `saved` and the last `positions`, `restored` and `advance` make an observer that continues
at the very byte. Only the counts by message id are as old as `saved`; only the number of the frames since then is
known, and they are counted under UNKNOWN_ID.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from relay.printable import printable
from relay.wire.direction_table import DOWN, HEAD_SIZE, UP, DirectionTable
from relay.wire.events import MAX_ACCOUNTS_SHOWN
from relay.wire.heard import Heard, is_farm
from relay.wire.knowledge import Doubts
from relay.wire.observer import BOUNDARY, HELLO, OFF, PARTIAL, Observer
from relay.wire.rate import PeakRate
from relay.wire.stage import Stage

UNKNOWN_ID = -1  # no frame has this id; frames without an id are counted under -2, see direction_table.py

_T = TypeVar("_T")


class Positions(NamedTuple):
    """Where in a frame each direction is, which bytes of it are held, and how many frames both directions had."""

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
    """Where in a frame one direction is (see observer.py), and the bytes of it that are held if it is to be read."""
    up = table is UP
    state, held = (observer._up, observer._up_held) if up else (observer._down, observer._down_held)
    return state, bytes(held or b"") if state < BOUNDARY else b""


def saved(observer: Observer) -> dict[str, object]:
    """Everything that is known, in values JSON can carry; times are monotonic."""
    now = positions(observer)
    return {
        "opaque": observer.opaque,
        "legacy": observer.legacy,
        "server_version": observer.server_version,
        "client_id": observer.client_id,
        "last_error_code": observer.heard.last,  # all that a release before this one reads
        "heard": observer.heard.entries,
        "fatal": observer.fatal,
        "redirect": observer.redirect,
        "not_understood": observer.not_understood,
        "client_hello_at": observer.client_hello_at,
        "server_hello_at": observer.server_hello_at,
        "start_api_at": observer.start_api_at,
        "ready_at": observer.ready_at,
        "request_at": observer._request_at,
        "has_order_id": observer.has_order_id,
        "stage": observer.stage.name.lower(),
        "client_range": observer.client_range,
        "accounts": observer.accounts,
        "account_count": observer.account_count,
        "counts": sorted(observer._counts.items()),
        "peak": observer.requests_peak,
        "up": [now.up, _text(now.up_held)],
        "down": [now.down, _text(now.down_held)],
    }


def restored(values: Mapping[str, object]) -> Observer:
    """The observer that was saved; KeyError, TypeError or ValueError for anything else."""
    observer = Observer()
    observer.opaque = _words(values["opaque"])
    observer.legacy = _value(bool, values["legacy"])
    observer.server_version = _optional(int, values["server_version"])
    observer.client_id = _optional(int, values["client_id"])
    last = _optional(int, values["last_error_code"])
    observer.heard = _heard(values["heard"]) if "heard" in values else _heard([] if last is None else [(last, "")])
    observer.fatal = _fatal(values.get("fatal"))
    observer.redirect = _words(values["redirect"])
    observer.not_understood = _doubts(values.get("not_understood"))  # unknown to 0.1.0
    observer.client_hello_at = _time(values["client_hello_at"])
    observer.server_hello_at = _time(values["server_hello_at"])
    observer.start_api_at = _time(values["start_api_at"])
    observer.ready_at = _time(values["ready_at"])
    observer._request_at = _time(values["request_at"])
    observer.has_order_id = _value(bool, values["has_order_id"])
    observer.stage = Stage[_value(str, values["stage"]).upper()]
    observer.client_range = _pair(values["client_range"]) if values["client_range"] else None
    observer.accounts = tuple(printable(_value(str, account)) for account in _sequence(values["accounts"]))
    observer.account_count = _optional(int, values.get("account_count", _count_of(observer.accounts)))
    observer._counts = dict(_pair(entry) for entry in _sequence(values["counts"]))
    observer._up, observer._up_held = _saved_position(values["up"])
    observer._down, observer._down_held = _saved_position(values["down"])
    peak = _value(int, values["peak"])
    if peak > 1:
        observer._rate = PeakRate(peak)  # its window is gone: messages of this second are counted anew
    return observer


def _count_of(accounts: tuple[str, ...]) -> int | None:
    """How many there are; a release before this one kept the first, and no count."""
    return len(accounts) if len(accounts) < MAX_ACCOUNTS_SHOWN else None


def frames(observer: Observer) -> tuple[int, int]:
    """How many frames were counted, up and down."""
    return sum(observer.counts_up.values()), sum(observer.counts_down.values())


def advance(observer: Observer, table: DirectionTable, state: int, held: bytes | None, frames_more: int) -> None:
    """Set one direction to its present position, and count the frames it had since it was saved."""
    state, kept = _position(state, None if held is None else held.decode("latin-1"))
    if table is UP:
        observer._up, observer._up_held = state, kept
    else:
        observer._down, observer._down_held = state, kept
    if frames_more:
        slot = table.base + UNKNOWN_ID
        observer._counts[slot] = observer._counts.get(slot, 0) + frames_more


def raise_peak(observer: Observer, peak: int) -> None:
    """Raise the peak: at least `peak` requests were seen within a second."""
    if peak > observer.requests_peak:
        observer._rate = PeakRate(peak)


def lose(observer: Observer, why: str) -> None:
    """The bytes that passed meanwhile are not known: go opaque and look at nothing more. What is known stays."""
    if observer.opaque is None:
        observer.opaque = why
    observer._switch_off()


# Values from JSON. Each function raises TypeError or ValueError for a value of another shape.


def _value(kind: type[_T], value: object) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")  # the value may be held bytes
    return value


def _optional(kind: type[_T], value: object) -> _T | None:
    return None if value is None else _value(kind, value)


def _words(value: object) -> str | None:
    """Words about a peer: a release before this one left in them what the peer had written."""
    return None if value is None else printable(_value(str, value))


def _doubts(value: object) -> Doubts | None:
    if value is None:
        return None
    number, first = _sequence(value)
    return Doubts(_value(int, number), printable(_value(str, first)))


def _heard(value: object) -> Heard:
    heard = Heard()
    for entry in _sequence(value):
        code, farm = _sequence(entry)
        heard = heard.and_then(_value(int, code), tuple(filter(is_farm, [_value(str, farm)])))
    return heard


def _fatal(value: object) -> tuple[int, float] | None:
    if value is None:
        return None
    code, at = _sequence(value)
    return _value(int, code), float(_value(int, at) if isinstance(at, int) else _value(float, at))


def _time(value: object) -> float | None:
    return value if isinstance(value, int) else _optional(float, value)


def _sequence(value: object) -> list[object] | tuple[object, ...]:
    return value if isinstance(value, tuple) else _value(list, value)


def _pair(value: object) -> tuple[int, int]:
    first, second = _sequence(value)
    return _value(int, first), _value(int, second)


def _saved_position(value: object) -> tuple[int, bytearray | None]:
    state, held = _sequence(value)
    return _position(_value(int, state), _optional(str, held))


def _position(state: int, held: str | None) -> tuple[int, bytearray | None]:
    size = None if held is None else len(held)
    if state < OFF or (size is not None and state > PARTIAL and (state == BOUNDARY or size != HEAD_SIZE)):
        raise ValueError(f"no state of an observer: {state}")
    return state, None if held is None else bytearray(held, "latin-1")


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
