"""Bytes of a peer as text: the only place where relay.wire makes one of the other.

What becomes a value goes through `text`: it is printable and bounded from then on, wherever it is shown. What becomes
part of a reason goes through `kind`: reasons say what was expected and what kind of thing was seen, and never the bytes
themselves, which are an account number as likely as anything else.
"""

from __future__ import annotations

import re

from relay.printable import printable
from relay.wire.framing import Bytes

MAX_TEXT = 4000  # characters. The longest texts IB sends are the reasons of a rejected order, some hundred characters

_KINDS = (
    (re.compile(rb"-?[0-9]+"), "digits"),
    (re.compile(rb"[A-Za-z]+"), "letters"),
    (re.compile(rb"[A-Za-z0-9]+"), "letters and digits"),
    (re.compile(rb"[ -~]+"), "printable ASCII"),
    (re.compile(rb"[\x00-\x7f]+"), "ASCII with control characters"),
)


def text(raw: Bytes, limit: int = MAX_TEXT) -> str:
    """As UTF-8, printable and on one line; bytes that are no UTF-8 become replacement characters."""
    return printable(bytes(raw).decode("utf-8", "replace"), limit)


def kind(raw: Bytes) -> str:
    """What kind of thing these bytes are: "8 bytes, letters and digits"."""
    raw = bytes(raw)
    if not raw:
        return "empty"
    what = next((name for pattern, name in _KINDS if pattern.fullmatch(raw)), "not ASCII")
    return f"{len(raw)} byte{'s' if len(raw) > 1 else ''}, {what}"
