"""relay/logs/log.py: pipes that are stuck, broken or full cannot stop anybody, and what is lost is counted and told."""

import contextlib
import fcntl
import json
import os
import re
import resource
import threading
import time

import pytest

from relay.logs import log as log_module
from relay.logs.log import QUEUE_LIMIT, Log
from relay.logs.logfile import LogFile
from relay.logs.record import Record
from tests.relay.kit.scripted import PATIENCE, wait_until

RECORD = Record("open", 0.0, "boot-000001", "paper", "127.0.0.1", 50000, 4003, "127.0.0.1", 4002)


class Pipe:
    """A pipe whose reader is the test; `collect` starts to read all of it in a thread."""

    def __init__(self, size=0):
        self.reader, self.writer = os.pipe()
        if size and hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, size)
        self._thread, self._got = None, bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for fd in (self.writer, self.reader):
            with contextlib.suppress(OSError):
                os.close(fd)

    def fill(self):
        """Nothing more goes in; how many bytes were."""
        os.set_blocking(self.writer, False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                count += os.write(self.writer, b"#" * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                count += os.write(self.writer, b"#")
        os.set_blocking(self.writer, True)
        return count

    def collect(self):
        def read():
            while part := os.read(self.reader, 65536):
                self._got.extend(part)

        self._thread = threading.Thread(target=read)
        self._thread.start()

    def lines(self):
        """Everything, once the writing end is closed."""
        os.close(self.writer)
        self._thread.join(PATIENCE)
        return self._got.decode().splitlines()

    def now(self):
        return self._got.decode()


@contextlib.contextmanager
def logging(fd, log_format="text"):
    log = Log(fd, log_format)
    try:
        yield log
    finally:
        log.close()


def messages(lines):
    return [line.partition(" word: ")[2] for line in lines if " word: " in line]


# Lines


def test_lines_come_whole_in_their_order_and_all_of_them():
    with Pipe() as pipe:
        pipe.collect()
        with logging(pipe.writer) as log:
            for number in range(2000):
                log.event("word", str(number))
        assert messages(pipe.lines()) == [str(number) for number in range(2000)]


def test_a_line_comes_without_anybody_asking_for_it():
    with Pipe() as pipe:
        pipe.collect()
        with logging(pipe.writer) as log:
            log.event("word", "one")
            wait_until(lambda: "one\n" in pipe.now(), "the first line")
            log.event("word", "two")
            wait_until(lambda: "two\n" in pipe.now(), "the second line")
        pipe.lines()


def test_records_and_events_come_in_either_format():
    for log_format in ("text", "json"):
        with Pipe() as pipe:
            pipe.collect()
            with logging(pipe.writer, log_format) as log:
                log.write(RECORD)
                log.event("listening", "here", "WARN", **{"network.local.port": 4003})
            record, event = pipe.lines()
            if log_format == "json":
                assert json.loads(record)["connection.id"] == "boot-000001"
                assert json.loads(event)["event.name"] == "ib_relay.listening"
                assert (json.loads(event)["network.local.port"], json.loads(event)["severity_text"]) == (4003, "WARN")
            else:
                assert record.endswith("paper #boot-1 open: 127.0.0.1:50000 on port 4003")
                assert re.fullmatch(r"\S+Z WARN  listening: here", event)


def test_the_format_can_be_changed():
    with Pipe() as pipe:
        pipe.collect()
        with logging(pipe.writer) as log:
            log.event("word", "one")
            wait_until(lambda: "one\n" in pipe.now(), "the first line")
            log.set_format("json")
            log.event("word", "two")
        first, second = pipe.lines()
        assert (first.endswith("word: one"), json.loads(second)["message"]) == (True, "two")


def test_what_cannot_be_formatted_is_a_line_that_says_so():
    with Pipe() as pipe:
        pipe.collect()
        with logging(pipe.writer, "json") as log:
            log.event("word", "x", broken={1, 2})
            log.write(RECORD._replace(event="close"))
            log.event("word", "fine")
        first, second, third = pipe.lines()
        assert first.startswith("log: cannot format LogEvent: TypeError")
        assert second.startswith("log: cannot format Record: ")
        assert json.loads(third)["message"] == "fine"


def test_a_lone_surrogate_is_no_reason_to_lose_a_line():
    """A file name that is not UTF-8 comes as surrogates (PEP 383)."""
    with Pipe() as pipe:
        pipe.collect()
        with logging(pipe.writer) as log:
            log.event("word", "caf\udce9 ä")
        assert messages(pipe.lines()) == ["caf? ä"]


def test_a_burst_is_written_in_few_writes(monkeypatch):
    writes, write = [], os.write
    with Pipe() as pipe:
        pipe.collect()
        monkeypatch.setattr(log_module.os, "write", lambda fd, data: (writes.append(fd), write(fd, data))[1])
        with logging(pipe.writer) as log:
            for number in range(1000):
                log.event("word", str(number))
        assert len(messages(pipe.lines())) == 1000
        assert writes.count(pipe.writer) <= 40


# A pipe that is stuck


def test_a_stuck_pipe_blocks_nobody_and_what_is_lost_is_counted_and_told():
    with Pipe(4096) as pipe:
        pipe.fill()
        log = Log(pipe.writer, "text")
        begin = time.monotonic()
        for number in range(QUEUE_LIMIT + 5000):
            log.event("word", str(number))
        assert time.monotonic() - begin < 2
        dropped = log.dropped
        in_the_writers_hand = 5000 - dropped  # a batch or none
        assert 0 <= in_the_writers_hand <= log_module.BATCH
        pipe.collect()
        wait_until(lambda: "log lines were dropped" in pipe.now(), "the loss is told")
        log.event("word", "after")
        log.close()
        lines = [line.lstrip("#") for line in pipe.lines()]
        *numbers, after = messages(lines)
        assert [int(number) for number in numbers] == sorted({int(number) for number in numbers})
        assert (len(numbers), after) == (QUEUE_LIMIT + in_the_writers_hand, "after")
        # One line, or two at a bad moment.
        told = [line.partition("log.dropped: ")[2] for line in lines if "dropped" in line]
        assert all(words.endswith(" log lines were dropped") for words in told)
        assert sum(int(words.split()[0]) for words in told) == dropped
        assert log.dropped == dropped


def test_every_record_says_how_many_lines_were_lost_so_far():
    with Pipe() as pipe:
        pipe.collect()
        with logging(pipe.writer, "json") as log:
            log.dropped = 3
            log.write(RECORD)
        record, told = map(json.loads, pipe.lines())
        assert record["log.dropped"] == 3
        assert (told["event.name"], told["log.dropped"], told["message"]) == (
            "ib_relay.log.dropped",
            3,
            "3 log lines were dropped",
        )


def test_a_stuck_pipe_cannot_hold_up_the_exit(monkeypatch):
    monkeypatch.setattr(log_module, "CLOSE_WAIT", 0.1)
    with Pipe(4096) as pipe:
        pipe.fill()
        log = Log(pipe.writer, "text")
        log.event("word", "never read")
        begin = time.monotonic()
        log.close()
        assert 0.1 <= time.monotonic() - begin < 5
        pipe.collect()
        log._thread.join(PATIENCE)
        pipe.lines()


def test_a_pipe_somebody_made_non_blocking_loses_nothing_while_its_reader_is_late():
    with Pipe(4096) as pipe:
        pipe.fill()
        os.set_blocking(pipe.writer, False)
        log = Log(pipe.writer, "text")
        for number in range(500):
            log.event("word", str(number))
        pipe.collect()
        wait_until(lambda: "499\n" in pipe.now(), "the last line")
        log.close()
        assert messages([line.lstrip("#") for line in pipe.lines()]) == [str(number) for number in range(500)]
        assert log.dropped == 0


def test_a_stuck_pipe_that_is_non_blocking_cannot_hold_up_the_exit_either(monkeypatch):
    monkeypatch.setattr(log_module, "CLOSE_WAIT", PATIENCE)  # which is not needed
    with Pipe(4096) as pipe:
        pipe.fill()
        os.set_blocking(pipe.writer, False)
        log = Log(pipe.writer, "text")
        for number in range(3 * log_module.BATCH):
            log.event("word", str(number))
        log.close()
        assert not log._thread.is_alive()
        assert log.dropped == 3 * log_module.BATCH


def test_closing_writes_what_is_queued_and_closing_twice_is_harmless():
    with Pipe() as pipe:
        pipe.collect()
        log = Log(pipe.writer, "text")
        for number in range(3000):
            log.event("word", str(number))
        log.close()
        log.close()
        assert not log._thread.is_alive()
        assert len(messages(pipe.lines())) == 3000


def test_after_close_lines_are_taken_without_complaint():
    with Pipe() as pipe:
        log = Log(pipe.writer, "text")
        log.close()
        log.event("word", "too late")


# A pipe that is broken, a disk that is full


def test_a_broken_pipe_stops_nobody_and_its_lines_are_counted():
    with Pipe() as pipe:
        os.close(pipe.reader)
        with logging(pipe.writer) as log:
            for number in range(100):
                log.event("word", str(number))
            wait_until(lambda: log.dropped == 100, "all of them are counted")
            log.event("word", "one more")
            wait_until(lambda: log.dropped == 101, "and the one after")


def test_a_closed_descriptor_stops_nobody():
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with logging(writer) as log:
        log.event("word", "lost")
        wait_until(lambda: log.dropped == 1, "it is counted")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_when_a_full_disk_has_room_again_the_loss_is_told_once(tmp_path):
    full = os.open("/dev/full", os.O_WRONLY)
    roomy = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with logging(full) as log:
            for number in range(7):
                log.event("word", str(number))
            wait_until(lambda: log.dropped == 7, "they are counted")
            os.dup2(roomy, full)
            log.event("word", "room again")
            wait_until(lambda: "dropped" in (tmp_path / "log").read_text(), "the loss is told")
            log.event("word", "and on")
        lines = (tmp_path / "log").read_text().splitlines()
    finally:
        os.close(full)
        os.close(roomy)
    assert messages(lines) == ["room again", "and on"]
    assert [line.partition("log.dropped: ")[2] for line in lines if "dropped" in line] == ["7 log lines were dropped"]


class SmallDisk:
    """A file that may only grow by so many bytes: RLIMIT_FSIZE stands in for a disk, and takes a write's first part."""

    BASE = 1 << 20  # far above what else this process may write to a file meanwhile

    def __init__(self, folder, room):
        self.path = folder / "log"
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.ftruncate(self.fd, self.BASE - 1)
        os.write(self.fd, b"\n")
        self.room = room

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.set_room(self.room)
        return self

    def set_room(self, room):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.BASE + room, self.before[1]))

    def make_room(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def __exit__(self, *exception):
        self.make_room()
        os.close(self.fd)

    def text(self):
        return self.path.read_bytes()[self.BASE :].decode()


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_line_that_was_torn_is_ended_before_the_next_one(tmp_path, failures):
    with SmallDisk(tmp_path, room=40) as disk:
        with logging(disk.fd) as log:
            for number in range(failures):
                log.event("word", f"this one is too long for the disk, as everybody can see {number}")
                wait_until(lambda number=number: log.dropped == number + 1, "the failure is counted")
            assert len(disk.text()) == 40
            disk.make_room()
            log.event("word", "whole")
        lines = disk.text().splitlines()
    assert (len(lines[0]), messages(lines[1:2]), lines[2].endswith(f"{failures} log lines were dropped")) == (
        40,
        ["whole"],
        True,
    )
    assert len(lines) == 3


@pytest.mark.parametrize(
    "before, after", [("", ""), ("whole\n", "whole\n"), ("cut by a kill in the mi", "cut by a kill in the mi\n")]
)
@pytest.mark.parametrize("ours", [True, False], ids=["a file of our own", "standard output"])
def test_a_line_that_another_process_could_not_finish_is_ended_before_our_first(tmp_path, before, after, ours):
    path = tmp_path / "log"
    path.write_text(before)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    log = Log(fd, "text", LogFile(str(path), 10_000) if ours else None)
    log.event("word", "first")
    log.close()
    os.close(fd)
    text = path.read_text()
    assert text.startswith(after) and messages(text.removeprefix(after).splitlines()) == ["first"]
    assert "\n\n" not in text and not text.startswith("\n")


@pytest.mark.parametrize("text", ["plain", "ä" * 30], ids=["ascii", "two bytes a letter"])
def test_a_disk_that_takes_nothing_at_all_leaves_no_empty_line(tmp_path, text):
    with SmallDisk(tmp_path, room=0) as disk:
        with logging(disk.fd) as log:
            log.event("word", text)
            wait_until(lambda: log.dropped == 1, "the failure is counted")
            disk.make_room()
            log.event("word", "whole")
        lines = disk.text().splitlines()
    assert messages(lines) == ["whole"]
    assert "" not in lines


def test_a_write_that_fails_between_two_lines_tears_none(tmp_path):
    with Pipe() as pipe:
        pipe.collect()
        with logging(pipe.writer) as log:
            log.event("word", "first")
        length = len(pipe.lines()[0]) + 1
    with SmallDisk(tmp_path, room=length) as disk:
        with logging(disk.fd) as log:
            log.event("word", "first")
            log.event("word", "second")
            wait_until(lambda: log.dropped, "the failure is counted")
            disk.make_room()
            log.event("word", "third")
        lines = disk.text().splitlines()
    assert "" not in lines
    assert messages(lines)[::2] == ["first"] or messages(lines) == ["first", "third"]
