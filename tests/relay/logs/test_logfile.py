"""relay/logs/logfile.py: a file that stays within its bound, whatever happens to it, and a log that writes to it."""

import os
import stat
import threading

import pytest

from relay.config.load import Config, ConfigError
from relay.logs.log import Log
from relay.logs.logfile import KEPT, LogFile, log_file_of, same_log_file
from tests.relay.kit.scripted import wait_until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "relay.log"


def opened(path, limit=100):
    return LogFile(str(path), limit)


def contents(path):
    """FILE, FILE.1, ... as far as there are any."""
    files = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, KEPT + 3))]
    return [file.read_text() for file in files if file.exists()]


def test_lines_are_added_to_what_there_is(path):
    path.write_text("before\n")
    file = opened(path)
    assert file.write(b"one\n") == 4
    assert contents(path) == ["before\none\n"]
    file.close()


def test_a_new_file_is_not_for_everybody_to_read(path):
    opened(path).close()
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o137 == 0


def test_what_does_not_fit_begins_a_new_file_and_the_oldest_goes(path):
    file = opened(path, 10)
    for number in range(KEPT + 4):
        file.write(b"%d23456789\n" % number)
        assert all(len(one) <= 10 for one in contents(path))
    assert contents(path) == [f"{number}23456789\n" for number in range(KEPT + 3, 2, -1)]
    file.close()


def test_several_lines_share_a_file_up_to_its_bound(path):
    file = opened(path, 10)
    for line in (b"123\n", b"123\n", b"1\n", b"x\n"):
        file.write(line)
    assert contents(path) == ["x\n", "123\n123\n1\n"]
    file.close()


def test_a_file_that_was_full_at_the_start_is_set_aside_at_the_first_line(path):
    path.write_text("x" * 100)
    file = opened(path, 10)
    file.write(b"one\n")
    assert contents(path) == ["one\n", "x" * 100]
    file.close()


def test_one_write_larger_than_the_bound_is_still_written(path):
    file = opened(path, 10)
    file.write(b"x" * 50)
    file.write(b"one\n")
    assert contents(path) == ["one\n", "x" * 50]
    file.close()


@pytest.mark.parametrize("by", ["moved", "deleted"])
def test_a_file_somebody_has_taken_away_is_there_again(path, by):
    file = opened(path)
    file.write(b"one\n")
    os.replace(path, path.with_name("elsewhere")) if by == "moved" else os.unlink(path)
    file.write(b"two\n")
    assert contents(path) == ["two\n"]
    file.close()


def test_without_its_folder_writing_goes_on_and_nothing_is_raised(path):
    folder = path.parent / "logs"
    folder.mkdir()
    file = opened(folder / "relay.log", 10)
    file.write(b"12345678\n")
    os.rename(folder, path.parent / "gone")
    assert file.write(b"12345678\n") == 9
    os.rename(path.parent / "gone", folder)
    file.write(b"next\n")
    assert contents(folder / "relay.log")[0] == "next\n"
    file.close()


def test_a_file_that_cannot_be_set_aside_is_emptied(path):
    (path.parent / "relay.log.1").mkdir()
    (path.parent / "relay.log.1" / "in the way").touch()
    (path.parent / "relay.log.2").touch()
    file = opened(path, 10)
    file.write(b"12345678\n")
    file.write(b"next\n")
    assert path.read_text() == "next\n"
    file.close()


def test_a_rotation_leaves_no_descriptor_open(path):
    before = len(os.listdir("/dev/fd"))
    file = opened(path, 10)
    for _ in range(50):
        file.write(b"12345678\n")
    file.close()
    assert len(os.listdir("/dev/fd")) == before


REFUSED = [
    ("a folder", lambda path: path.mkdir(), "is a directory"),
    ("a pipe without a reader", os.mkfifo, "no such device or address|not configured"),
    ("in no folder", lambda path: path.parent.rmdir(), "no such file or directory"),
]


@pytest.mark.parametrize("prepare, why", [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_is_no_file_to_write_is_an_error_that_names_it(tmp_path, prepare, why):
    path = tmp_path / "logs" / "relay.log"
    path.parent.mkdir()
    prepare(path)
    with pytest.raises(
        ConfigError, match=rf'^log_file: seen "{path}", .*({why}).*; allowed: a file that can be written$'
    ):
        log_file_of(Config(log_file=str(path)))


def test_a_pipe_with_a_reader_is_no_file_either(path):
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ConfigError, match="not a regular file"):
        log_file_of(Config(log_file=str(path)))
    os.close(reader)


def test_standard_output_is_no_file():
    assert log_file_of(Config()) is None


SAME = [
    ("the defaults", Config(), Config(drain_timeout=1.0), True),
    ("another file", Config(log_file="/a"), Config(log_file="/b"), False),
    ("another bound", Config(log_file="/a", log_file_size=1), Config(log_file="/a", log_file_size=2), False),
]


@pytest.mark.parametrize("one, other, same", [one[1:] for one in SAME], ids=[one[0] for one in SAME])
def test_whether_a_reload_needs_another_file(one, other, same):
    assert same_log_file(one, other) is same


# Under a log


def lines(path):
    return [line.partition(" word: ")[2] for text in reversed(contents(path)) for line in text.splitlines()]


def test_a_log_writes_whole_lines_across_its_files_and_nothing_to_the_descriptor(path):
    reading, writing = os.pipe()
    log = Log(writing, "text", opened(path, 60_000))
    for number in range(3000):
        log.event("word", str(number))
    log.close()
    assert lines(path) == [str(number) for number in range(3000)]
    assert len(contents(path)) > 1
    os.close(writing)
    assert os.read(reading, 100) == b""
    os.close(reading)


def test_a_log_changes_its_file_while_it_runs_and_lets_go_of_the_old_one(path):
    other = path.with_name("other.log")
    reading, writing = os.pipe()
    log = Log(writing, "text", opened(path))
    before = len(os.listdir("/dev/fd"))
    log.event("word", "one")
    wait_until(lambda: lines(path) == ["one"], "the first line")
    log.set_file(opened(other))
    log.event("word", "two")
    wait_until(lambda: lines(other) == ["two"], "the line in the other file")
    assert len(os.listdir("/dev/fd")) == before
    log.set_file(None)
    log.event("word", "three")
    assert os.read(reading, 1000).endswith(b"word: three\n")
    assert len(os.listdir("/dev/fd")) == before - 1
    log.close()
    os.close(reading)
    os.close(writing)


def test_a_disk_that_hangs_stops_the_log_and_nobody_else(path):
    """`write` of a file that blocks: stands for a disk, which cannot be made to hang here."""
    file, held = opened(path, 1 << 24), threading.Event()
    file.write = lambda data, write=file.write: held.wait(10) and write(data)
    log = Log(1, "text", file)
    for number in range(20_000):
        log.event("word", str(number))
    assert log.dropped > 9000
    held.set()
    wait_until(lambda: path.exists() and "lines were dropped" in "".join(contents(path)), "the loss is told")
    log.close()
