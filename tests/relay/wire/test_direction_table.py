"""Which counter a frame finds, and what the memo remembers."""

import pytest

from relay.wire.direction_table import DOWN, NO_ID, UP, DirectionTable
from relay.wire.framing import WireError


def fresh(interesting=frozenset({9})):
    return DirectionTable("test", 5000, interesting, 100)


@pytest.mark.parametrize(
    "word, number, remembered",
    [
        (b"1\0006\0", 1, True),
        (b"204\0", 204, True),
        (b"\0\0\0\x01", 1, True),
        (b"\0\0\0\xc9", 1, True),
        (b"-1\0\0", -1, True),
        (b"1\0", 1, False),
        (b"15\0", 15, False),
        (b"", NO_ID, False),
    ],
)
def test_a_word_finds_its_counter(word, number, remembered):
    table = fresh()
    assert table.counter(word) == (5000 + number, False)
    assert table.memo == ({int.from_bytes(word, "big"): 5000 + number} if remembered else {})


@pytest.mark.parametrize("word", [b"9\x001\0", b"\0\0\0\x09", b"\0\0\0\xd1", b"9\0"])
def test_a_frame_to_be_read_is_never_remembered(word):
    table = fresh()
    assert table.counter(word) == (5009, True)
    assert table.memo == {}


@pytest.mark.parametrize("word", [b"x\0\0\0", b"\0", b"\0\0\0", b"1", b"1234", b"\0\xff\0\0"])
def test_a_word_without_an_id_is_refused(word):
    with pytest.raises(WireError):
        fresh().counter(word)


def test_the_memo_is_bounded():
    table = fresh()
    for n in range(1 << 16):
        table.counter(b"1\0" + n.to_bytes(2, "big"))
    assert 0 < len(table.memo) <= 4096


def test_the_two_directions_do_not_share_counters():
    counts = {}
    for table in (UP, DOWN):
        for number in (b"", b"-1\0", b"999\0"):
            counts[table.counter(number)[0]] = len(counts)
    assert UP.by_id(counts) == {NO_ID: 0, -1: 1, 999: 2}
    assert DOWN.by_id(counts) == {NO_ID: 3, -1: 4, 999: 5}
    assert UP.limit + DOWN.limit == 64 * 1024
