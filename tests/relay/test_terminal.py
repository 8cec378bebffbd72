"""relay/terminal.py: what is printed gets out, or one line says why not; which files are files."""

import contextlib
import io
import os
import pty
import sys

import pytest

from relay import terminal
from relay.config.files import regular
from relay.terminal import Output, Teller, Unread, Unwritable, columns


@pytest.fixture
def output(monkeypatch):
    """Puts something else in the place of standard output."""
    opened = []

    def put(path_or_fd, mode="w"):
        opened.append(open(path_or_fd, mode) if path_or_fd is not None else None)  # noqa: SIM115 (closed below)
        monkeypatch.setattr(sys, "stdout", opened[-1])
        return opened[-1]

    yield put
    for one in filter(None, opened):
        with contextlib.suppress(OSError):  # what could not be written cannot be at the end either
            one.close()


def test_what_is_written_is_out_at_once(output, tmp_path):
    output(tmp_path / "out")
    terminal.write("one\n")
    Output().write("two\n")
    assert (tmp_path / "out").read_text() == "one\ntwo\n"


def test_why_it_cannot_be_written_is_told(output):
    output("/dev/full")
    with pytest.raises(Unwritable, match=r"^standard output: No space left on device$") as trouble:
        terminal.write("x")
    assert not isinstance(trouble.value, Unread)
    output(None)
    with pytest.raises(Unwritable, match=r"^standard output is closed$"):
        Output().write("x")
    assert (Output().isatty(), Output().fileno()) == (False, -1)


def test_a_reader_that_has_gone_is_another_matter(output):
    reading, writing = os.pipe()
    os.close(reading)
    output(writing)
    with pytest.raises(Unread):
        terminal.write("x")


def test_work_goes_on_when_its_lines_cannot_be_written_and_the_end_tells(output, tmp_path):
    output("/dev/full")
    say = Teller()
    say("one")
    say("two")
    with pytest.raises(Unwritable):
        say.check()
    output(tmp_path / "out")
    say = Teller()
    say("one")
    say.check()
    assert (tmp_path / "out").read_text() == "one\n"


def test_standard_error_that_nobody_reads_is_no_trouble(monkeypatch, capsys):
    terminal.complain("a\x1b[31m\nb")
    assert capsys.readouterr().err == "ib-relay: a?[31m b\n"
    monkeypatch.setattr(sys, "stderr", None)
    terminal.complain("x")
    full = open("/dev/full", "w")  # noqa: SIM115 (that it cannot be closed well is seen below)
    monkeypatch.setattr(sys, "stderr", full)
    terminal.complain("x")
    with pytest.raises(OSError, match="No space left on device"):
        full.close()


def test_the_columns_are_those_of_the_terminal_and_80_elsewhere(tmp_path):
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    with open(slave, "w") as terminal:
        assert columns(terminal) == 80, "a new one does not know"
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 132, 0, 0))
        assert columns(terminal) == 132
    os.close(master)
    with open(tmp_path / "out", "w") as file:
        assert (columns(file), columns(io.StringIO())) == (80, 80)


KINDS = [("file", None), ("pipe", "is a pipe"), ("folder", "Is a directory"), ("absent", "No such file or directory")]


@pytest.mark.parametrize("what, said", KINDS, ids=[one[0] for one in KINDS])
def test_only_what_can_be_read_again_is_opened(tmp_path, what, said):
    place = tmp_path / what
    if what == "file":
        place.write_bytes(b"text")
    elif what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    before = len(os.listdir("/dev/fd"))
    if said is None:
        with open(place, "rb", opener=regular) as file:
            assert file.read() == b"text"
    else:
        with pytest.raises(OSError, match=said):
            open(place, "rb", opener=regular)  # noqa: SIM115 (nothing is opened)
    assert len(os.listdir("/dev/fd")) == before
