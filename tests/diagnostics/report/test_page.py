"""Lines of a bounded width."""

import pytest

from diagnostics.report.page import wrap


@pytest.mark.parametrize(
    "text, width, lines",
    [
        ("", 10, [""]),
        ("a b", 3, ["a b"]),
        ("a b", 2, ["a", "b"]),
        ("aaaaaa b", 3, ["aaaaaa", "b"]),
        ("one two three", 7, ["one two", "three"]),
    ],
)
def test_wrap(text, width, lines):
    assert wrap(text, width) == lines
