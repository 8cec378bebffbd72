"""relay/wire/peer_text.py: bytes as a line to show, and bytes as the kind of thing they are."""

import pytest

from relay.wire import peer_text


@pytest.mark.parametrize(
    "raw, kind",
    [
        (b"", "empty"),
        (b"5", "1 byte, digits"),
        (b"-12345678901234567890", "21 bytes, digits"),
        (b"EST", "3 bytes, letters"),
        (b"U1234567", "8 bytes, letters and digits"),
        (b"1.5 USD!", "8 bytes, printable ASCII"),
        (b"\x1b[2J\n", "5 bytes, ASCII with control characters"),
        (b"\0\0\0\x05", "4 bytes, ASCII with control characters"),
        (b"\xd6\xd0", "2 bytes, not ASCII"),
    ],
)
def test_a_kind_says_what_came_and_not_which(raw, kind):
    assert peer_text.kind(raw) == peer_text.kind(memoryview(raw)) == kind


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"20260105 14:30:00 US/Eastern", "20260105 14:30:00 US/Eastern"),
        (b"14:30 \xd6\xd0\xb9\xfa", "14:30 \ufffd\u0439\ufffd"),
        (b"a\n2026-01-01T00:00:00.000Z INFO  forged\x1b[2J", "a 2026-01-01T00:00:00.000Z INFO  forged?[2J"),
        ("a\u202eb\u2028c\u200bd\x85e".encode(), "a?b c?d e"),
    ],
)
def test_a_text_is_one_printable_line(raw, text):
    assert peer_text.text(raw) == text


def test_a_text_is_bounded():
    assert len(peer_text.text(b"x" * 10_000)) == peer_text.MAX_TEXT
    assert len(peer_text.text(b"x" * 10_000, 64)) == 64
