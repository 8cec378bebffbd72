"""relay/printable.py: one visible, bounded line, whatever was written."""

import sys
import unicodedata

import pytest

from relay.printable import LIMIT, LONGEST_LINE, printable, printable_lines

GIVEN = [
    ("plain", "172.17.0.1 is down", "172.17.0.1 is down"),
    ("colours", "a\x1b[31mred\x1b[0m", "a?[31mred?[0m"),
    ("a title of the window", "\x1b]0;pwned\x07", "?]0;pwned?"),
    ("C1 controls", "a\x9b2Jb", "a?2Jb"),
    ("several in a row are one", "a\x00\x01\x02\x7fb", "a?b"),
    ("bidi override", "abc\u202egnp.exe", "abc?gnp.exe"),
    ("bidi isolates", "\u2066x\u2069", "?x?"),
    ("bidi marks", "a\u200e\u200f\u061cb", "a?b"),
    ("zero width", "host\u200b.docker", "host?.docker"),
    ("zero width joiner and non-joiner", "a\u200c\u200db", "a?b"),
    ("byte order mark", "\ufeffhost", "?host"),
    ("soft hyphen", "pass\u00adword", "pass?word"),
    ("tags", "a\U000e0041b", "a?b"),
    ("private use", "a\ue000b", "a?b"),
    ("lines", "a\nb\r\nc\td\u2028e", "a b  c d e"),
    ("every other end of a line", "a\vb\fc\x1cd\x1de\x1ef\x85g\u2029h", "a b c d e f g h"),
    ("no-break space", "a\u00a0b", "a b"),
    ("marks without end", "a" + "\u0335\u0300" * 200 + "b", "a?b"),
    ("variation selectors", "a\ufe0fb\U000e0100c", "a?b?c"),
    ("fillers that look like nothing", "a\u3164b\uffa0c\u115fd\u2800e", "a?b?c?d?e"),
    ("lone surrogate", "a\udcffb", "a?b"),
    ("what was no UTF-8", "a\ufffdb", "a\ufffdb"),
    ("letters of the world", "Zürich 東京 मुंबई", "Zürich 東京 मुंबई"),
]


@pytest.mark.parametrize("given, expected", [row[1:] for row in GIVEN], ids=[row[0] for row in GIVEN])
def test_only_visible_characters_are_left(given, expected):
    assert printable(given) == expected


def test_of_all_characters_those_that_control_or_hide_are_left_out():
    """All of Unicode at once: no category that Python itself would escape, and no line end for any reader of lines."""
    for start in range(0, sys.maxunicode, 200):
        shown = printable("".join(map(chr, range(start, min(start + 200, sys.maxunicode + 1)))))
        assert shown.isprintable() and len(shown.splitlines()) <= 1
        assert {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} == set()


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 399, 400, 401, 100_000])
@pytest.mark.parametrize("char", ["x", "\x00", "é", "\u202e"])
def test_the_length_is_bounded_and_both_ends_are_kept(length, char):
    shown = printable("a" + char * length + "z", 100)
    assert len(shown) <= 100
    assert (shown[0], shown[-1]) == ("a", "z")


def test_what_was_made_printable_stays_as_it_is():
    for _, given, _ in GIVEN:
        assert printable(printable(given)) == printable(given)
    assert len(printable("y" * 10_000)) == LIMIT


def test_of_a_text_of_ours_the_lines_stay_and_nothing_else():
    assert printable_lines("one\n\n  two\x1b[2J\r\n\tthree\u2028four\n") == "one\n\n  two?[2J \n three four\n"
    assert printable_lines("x" * 100_000 + "\ny").split("\n")[1] == "y"
    assert len(printable_lines("x" * 100_000)) == LONGEST_LINE
