"""What somebody else wrote, as one printable line: the only way from a peer's bytes to a terminal, a log or a page.

Peers, name servers, files, variables and programs write what they like: line feeds that forge a log line, escapes that
a terminal obeys, bidi overrides that make a text read backwards. Nothing of it gets out.
"""

from __future__ import annotations

from collections.abc import Iterator

LIMIT = 400  # characters of any one text of a peer; our own sentences stay below
LONGEST_LINE = 8000  # characters of a line of ours with such texts in it

# Characters that str.isprintable() lets pass and that take no room, or look like nothing: combining marks that belong
# to no script of their own, which stack without end, fillers, variation selectors. Controls, bidi overrides, zero-width
# spaces, line separators, surrogates and what is not assigned are not printable for Python itself.
_INVISIBLE = (
    ("\u0300", "\u036f"),
    ("\u0483", "\u0489"),
    ("\u115f", "\u1160"),
    ("\u17b4", "\u17b5"),
    ("\u180b", "\u180f"),
    ("\u1ab0", "\u1aff"),
    ("\u1dc0", "\u1dff"),
    ("\u20d0", "\u20ff"),
    ("\u2800", "\u2800"),
    ("\u3164", "\u3164"),
    ("\ufe00", "\ufe0f"),
    ("\ufe20", "\ufe2f"),
    ("\uffa0", "\uffa0"),
    ("\U000e0100", "\U000e01ef"),
)


def printable(text: str, limit: int = LIMIT) -> str:
    """One line of at most `limit` visible characters and spaces.

    White space of any kind is a space. A run of what cannot be shown becomes one "?", so that a reader sees that
    something was there. What is too long loses its middle: both ends of a name matter.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    if len(text) > 4 * limit:
        text = text[: 2 * limit] + text[-2 * limit :]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_shown(text))
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]}...{text[head + 3 - limit :]}"


def _shown(text: str) -> Iterator[str]:
    hidden = False
    for char in text:
        blank = char.isspace()
        visible = blank or (char.isprintable() and (char.isascii() or not _is_invisible(char)))
        if visible:
            yield " " if blank else char
        elif not hidden:
            yield "?"
        hidden = not visible


def printable_lines(text: str) -> str:
    """A text of ours with other people's words in it: its line feeds stay, and each of its lines is printable."""
    return "\n".join(printable(line, LONGEST_LINE) for line in text.split("\n"))


def _is_invisible(char: str) -> bool:
    return any(first <= char <= last for first, last in _INVISIBLE)
