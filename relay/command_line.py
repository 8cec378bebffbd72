"""Is this the command line of a relay? Asked before one is upgraded, and by the diagnosis that looks for forwarders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise


def is_relay(words: Sequence[str]) -> bool:
    """Is this the command line of `ib-relay run`, however it was installed?"""
    before = words[: words.index("run")] if "run" in words else ()
    named = any(re.fullmatch(r"ib-relay(\.pyz)?", word.rpartition("/")[2]) for word in before)
    return named or ("-m", "relay") in pairwise(before)
