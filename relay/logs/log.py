"""The relay's log: one line an item, written by a thread of its own so that a stuck pipe can never stop forwarding.

The loop's thread only appends to a bounded queue. When the sink is stuck, broken or full, lines are dropped and
counted; the count is in every connection record (`log.dropped`) and gets a line of its own once lines can be written
again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from relay.logs.journal import leads_to_journal, prefixed
from relay.logs.lines import json_event, json_record, severity, text_event, text_record
from relay.logs.logfile import LogFile, ends_within_a_line
from relay.logs.record import LogEvent, Record
from relay.net.signals import leave_to_main_thread

if TYPE_CHECKING:
    from relay.logs.events import EventName

QUEUE_LIMIT = 10_000  # lines, about 10 MiB at most: minutes of a busy relay
BATCH = 256  # lines in one write
BATCH_WAIT = 0.01  # seconds a line may wait for others, so that a burst costs one wake-up and one write
CLOSE_WAIT = 1.0  # seconds the last lines may take at exit


class Log:
    """Lines to a file descriptor, or to a file of its own. `write` and `event` never block and never raise."""

    def __init__(self, fd: int, log_format: str, file: LogFile | None = None) -> None:
        self.fd = fd
        self._journal = leads_to_journal(fd)
        self._file = self._open_file = file  # the wanted file; the file that the thread has open
        self.dropped = 0
        self.set_format(log_format)
        self._queue: deque[Record | LogEvent] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._writing = False
        self._torn = ends_within_a_line(fd if file is None else file.path)  # by us, or by a process that was killed
        self._reported = 0  # dropped lines that have been reported
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def set_format(self, log_format: str) -> None:
        """Text or json; from the next line on."""
        self._format = (json_record, json_event) if log_format == "json" else (text_record, text_event)

    def set_file(self, file: LogFile | None) -> None:
        """Another file, or None for the descriptor; from the next batch on. The log closes it."""
        self._file = file

    def write(self, record: Record | LogEvent) -> None:
        """Queue one line, or count it as dropped when the queue is full."""
        if len(self._queue) >= QUEUE_LIMIT:
            self.dropped += 1
            return
        self._queue.append(record)
        if not self._wake.is_set():
            self._wake.set()

    def event(self, name: EventName, message: str, severity: str = "INFO", **fields: object) -> None:
        """Queue a line that is not about one connection."""
        self.write(LogEvent(name, severity, message, time.time(), fields))

    def flush(self, wait: float = CLOSE_WAIT) -> None:
        """Return when everything queued is written, or after `wait` seconds."""
        deadline = time.monotonic() + wait
        while (self._queue or self._writing) and time.monotonic() < deadline:
            time.sleep(0.002)

    def close(self) -> None:
        """Write what is queued, but never wait longer than CLOSE_WAIT for a sink that is stuck."""
        self._stopping = True
        self._wake.set()
        self._thread.join(CLOSE_WAIT)

    def _run(self) -> None:
        leave_to_main_thread()
        while True:
            self._wake.wait()
            if not self._stopping:
                time.sleep(BATCH_WAIT)
            self._wake.clear()
            self._writing = True
            while self._queue:
                self._write_batch([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])
            self._writing = False
            if self._stopping and not self._queue:
                break
        if self._open_file is not None:
            self._open_file.close()

    def _write_batch(self, batch: list[Record | LogEvent]) -> None:
        lines = [self._line(item) for item in batch]
        dropped = self.dropped
        if dropped > self._reported:
            message = f"{dropped - self._reported} log lines were dropped"
            lines.append(self._line(LogEvent("log.dropped", "WARN", message, time.time(), {"log.dropped": dropped})))
        if self._put("\n" * self._torn + "\n".join(lines) + "\n"):
            self._reported = dropped
        else:
            self.dropped += len(batch)

    def _line(self, item: Record | LogEvent) -> str:
        record_line, event_line = self._format
        try:
            line = record_line(item, self.dropped) if isinstance(item, Record) else event_line(item)
            if self._journal and self._file is None:
                return prefixed(line, severity(item) if isinstance(item, Record) else item.severity)
            return line
        except Exception as error:  # noqa: BLE001 (a fault in a formatter must not end the log)
            return f"log: cannot format {type(item).__name__}: {error!r}"

    def _sink(self) -> Callable[[bytes], int]:
        """The function that writes this batch.

        The loop's thread opens files, because there a failure can be reported; this thread closes them.
        """
        file, before = self._file, self._open_file
        if file is not before:
            self._open_file, self._torn = file, ends_within_a_line(self.fd if file is None else file.path)
            if before is not None:
                before.close()
        return file.write if file is not None else partial(os.write, self.fd)

    def _put(self, text: str) -> bool:
        data = text.encode("utf-8", "backslashreplace")
        write = self._sink()
        written = 0
        while written < len(data):
            try:
                written += write(data[written:] if written else data)
            except BlockingIOError:
                time.sleep(0.05)  # another process made the descriptor non-blocking
                if self._stopping:
                    break
            except OSError:  # broken pipe, full disk, closed descriptor: the lines are lost, the relay is not
                break
        if written:
            self._torn = not data.endswith(b"\n", 0, written)
        return written == len(data)
