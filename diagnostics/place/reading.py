"""Something read or recognised, with where it is from and how sure it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.printable import printable

MAX_LIST = 64  # items of one list
MAX_TEXT = 4000  # characters of one value


@dataclass(frozen=True, slots=True)
class Reading:
    """A value, None where it could not be found out."""

    value: str | None
    source: str
    confidence: str = "certain"  # certain | likely | hint


def reading(value: str | None, source: str, confidence: str = "certain") -> Reading:
    """A reading of a text of any origin, made printable and bounded."""
    return Reading(None if value is None else printable(value, MAX_TEXT), source, confidence)


def joined(values: Iterable[str]) -> str:
    """Values as the text of a list, each once."""
    return ", ".join(list(dict.fromkeys(values))[:MAX_LIST])
