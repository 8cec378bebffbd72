"""relay/survival/checkpoint.py: what is written is read by another process, and nothing half-written ever is."""

import os

import pytest

from relay.survival.checkpoint import Checkpoint, Progress

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memfd here")


@pytest.fixture
def checkpoint():
    checkpoint = Checkpoint()
    yield checkpoint
    checkpoint.close()


def read_by_another(checkpoint):
    other = Checkpoint(os.dup(checkpoint.fd))
    try:
        return other.read()
    finally:
        other.close()


def test_a_new_one_is_empty(checkpoint):
    text, row = read_by_another(checkpoint)
    assert (text, row.up_seen, row.down_frames) == (b"", 0, 0)


ROWS = [
    ("plain", (1, 2, 3, 4, 5, 6, 7), None, None),
    ("held in both", (1 << 40, -1, 3, 1 << 41, -2, 6, 7), b"up" * 2000, b"down" * 16_000),
    ("held, but nothing yet", (1, -1, 3, 4, -1, 6, 7), b"", bytearray()),
    ("as large as an observer can hold", (1, -1, 3, 4, -1, 6, 7), None, bytes(66_000)),
]


@pytest.mark.parametrize("row, up, down", [one[1:] for one in ROWS], ids=[one[0] for one in ROWS])
def test_what_is_written_is_read(checkpoint, row, up, down):
    checkpoint.prepare_text(b"about it")
    checkpoint.write(row, up, down)
    up_held, down_held = (None if held is None else bytes(held) for held in (up, down))
    expected = Progress(row[0], row[1], up_held, row[2], row[3], row[4], down_held, row[5], row[6])
    assert read_by_another(checkpoint) == (b"about it", expected)


def test_a_text_is_in_force_with_the_row_that_follows_it_and_not_before(checkpoint):
    checkpoint.prepare_text(b"old")
    checkpoint.write((1,) * 7, None, None)
    checkpoint.prepare_text(b"newer")
    assert read_by_another(checkpoint)[0] == b"old"
    checkpoint.prepare_text(b"newest")
    assert read_by_another(checkpoint)[0] == b"old"
    checkpoint.write((2,) * 7, None, None)
    text, row = read_by_another(checkpoint)
    assert (text, row.up_seen) == (b"newest", 2)


def test_a_kill_in_the_middle_of_a_write_leaves_what_was(checkpoint, monkeypatch):
    checkpoint.prepare_text(b"kept")
    checkpoint.write((1,) * 7, b"held", None)

    class Killed(Exception):
        pass

    class Dying:
        def __init__(self, index):
            self.index = index

        def __getitem__(self, at):
            return self.index[at]

        def __setitem__(self, at, value):
            raise Killed

        def release(self):
            self.index.release()

    checkpoint._index = Dying(checkpoint._index)
    checkpoint.prepare_text(b"lost")
    with pytest.raises(Killed):
        checkpoint.write((2,) * 7, b"other", b"more")
    text, row = read_by_another(checkpoint)
    assert (text, row.up_seen, row.up_held, row.down_held) == (b"kept", 1, b"held", None)


def test_another_process_goes_on_where_this_one_was(checkpoint):
    checkpoint.prepare_text(b"first")
    checkpoint.write((1,) * 7, None, None)
    other = Checkpoint(os.dup(checkpoint.fd))
    other.write((2,) * 7, None, None)
    other.prepare_text(b"second")
    assert checkpoint.read()[0] == b"first"
    other.write((3,) * 7, None, None)
    other.close()
    text, row = checkpoint.read()
    assert (text, row.peak) == (b"second", 3)


def test_a_text_that_does_not_fit_is_refused_and_changes_nothing(checkpoint):
    checkpoint.prepare_text(b"good")
    checkpoint.write((1,) * 7, None, None)
    with pytest.raises(ValueError, match="do not fit"):
        checkpoint.prepare_text(bytes(1 << 20))
    checkpoint.write((2,) * 7, None, None)
    assert read_by_another(checkpoint)[0] == b"good"


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_what_is_no_slate_is_refused(content):
    fd = os.memfd_create("other")
    if content is None:
        os.ftruncate(fd, os.fstat((checkpoint := Checkpoint()).fd).st_size)
        checkpoint.close()
    else:
        os.write(fd, content)
    with pytest.raises(ValueError, match="slate"):
        Checkpoint(fd)
    os.close(fd)
