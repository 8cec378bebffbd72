"""Lines of text of a bounded width: what the report for a terminal and the page of a code are written on."""

from __future__ import annotations

from collections.abc import Iterable

from relay.printable import LONGEST_LINE, printable

NARROWEST = 30  # columns; below, lines may be longer than the terminal
RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"


class Page:
    """Lines of at most `width` columns, in colours or without."""

    def __init__(self, width: int, colour: bool = False) -> None:
        self._lines: list[str] = []
        self._colour = colour
        self.width = max(width, NARROWEST)

    def text(self) -> str:
        """All lines, ending with a newline."""
        return "\n".join(self._lines).rstrip("\n") + "\n"

    def blank(self) -> None:
        """One empty line, unless there is one already, or nothing to divide."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def painted(self, text: str, style: str | None) -> str:
        """The text, printable, in this style (parameters of SGR, "1;31"), where there are colours."""
        text = printable(text, LONGEST_LINE)
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and style else text

    def line(self, line: str) -> None:
        """One line as it is: made of what was painted, and words of ours."""
        self._lines.append(line.rstrip())

    def wrapped(self, text: str, first: str = "", rest: str = "", style: str | None = None) -> None:
        """A paragraph: `first` in front of its first line, `rest` in front of the others. Nothing for no text."""
        if not text:
            return
        for number, line in enumerate(wrap(text, self.width - max(len(first), len(rest)))):
            self.line((rest if number else first) + self.painted(line, style))

    def commands(self, commands: Iterable[str]) -> None:
        """To be copied: apart from what is around them, and never wrapped."""
        for command in commands:
            self.line(f"    {printable(command)}")


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; a word that is longer has a line of its own, whole."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]
