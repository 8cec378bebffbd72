"""What others ask of the relay's log: `log.Log` has it all, and so has whatever stands in for it."""

from __future__ import annotations

from typing import Protocol

from relay.logs.events import EventName
from relay.logs.logfile import LogFile
from relay.logs.record import Record


class EventLog(Protocol):
    """Takes lines that are not about one connection. Never blocks and never raises."""

    def event(self, name: EventName, message: str, severity: str = "INFO", **fields: object) -> None: ...


class RelayLog(EventLog, Protocol):
    """The log of a whole relay."""

    dropped: int  # lines

    def write(self, record: Record, /) -> None: ...

    def set_format(self, log_format: str) -> None: ...

    def set_file(self, file: LogFile | None) -> None: ...

    def flush(self, wait: float = 1.0) -> None: ...
