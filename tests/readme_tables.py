"""README's tables that the code knows best: `python -m tests.readme_tables` writes them, tests/test_readme.py compares.

Each stands after a line `<!-- table: NAME -->`, up to the next empty line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from diagnostics.findings.catalogue import CATALOGUE
from relay.config.keys import MAP_KEYS, TOP_KEYS, Key
from relay.config.load import Config, PortMap
from relay.logs.events import EVENTS, RECORD_FIELDS

README = Path(__file__).resolve().parents[1] / "README.md"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def keys(known: Mapping[str, Key[object]], defaults: object) -> str:
    rows = [
        (f"`{name}`", f"`{key.show(getattr(defaults, name))}`", key.meaning, key.allowed) for name, key in known.items()
    ]
    return table(("key", "default", "meaning", "allowed"), rows)


def tables() -> dict[str, str]:
    """All of them, by name."""
    fields = [(f"`{row.name}`", row.records, row.meaning) for row in RECORD_FIELDS]
    events = [
        (f"`{name}`", kind.meaning, "; ".join(f"`{field}`: {meaning}" for field, meaning in kind.fields.items()))
        for name, kind in EVENTS.items()
    ]
    codes = [(entry.code, entry.slug, entry.title) for entry in CATALOGUE.values()]
    return {
        "top keys": keys(TOP_KEYS, Config()),
        "map keys": keys(MAP_KEYS, PortMap()),
        "record fields": table(("field", "in records", "meaning"), fields),
        "events": table(("event", "when", "fields"), events),
        "finding codes": table(("code", "name", ""), codes),
    }


def filled(readme: str) -> str:
    """README with every table as it should be; KeyError for a table that nobody knows."""
    known = tables()

    def fill(match: re.Match[str]) -> str:
        return f"{match[0].partition(chr(10))[0]}\n{known.pop(match[1])}"

    text = re.sub(r"<!-- table: (.*) -->\n(?:\|.*\n)*", fill, readme)
    assert not known, f"README has no place for: {', '.join(known)}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
