"""What the log of a gateway's container says about its login: a text in, states with their times out.

    bytes -> text -> lines (log_lines) -> what each stands for (log_words) -> one gateway's life, from its last start

States have a beginning and an end. Only lines after the last start count: an old 'Login has completed' says nothing
about the gateway of now. A start that follows one without a login is counted with it. Of the text nothing is kept but
the titles of dialogs that nobody knows, and the name of the service.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from diagnostics.evidence import LogView, without_accounts
from diagnostics.host.log_lines import LogLine, Speaker, decode, lines
from diagnostics.host.log_words import (
    DIALOGS,
    DONE,
    ENDED,
    FULL_LOGIN,
    OF_IBC,
    OF_OTHERS,
    READ_ONLY,
    RESTARTING,
    START_FAILED,
    STARTED,
    STARTING,
    WRITABLE,
    LogMeaning,
    dialog_state,
    is_mark,
    meaning_of,
)
from relay.printable import printable

STATES = tuple(dict.fromkeys((*OF_IBC, *OF_OTHERS, *filter(None, DIALOGS.values()), ENDED, START_FAILED)))

MAX_SERVICES = 64  # of one log
MAX_DIALOGS = 16  # that are open at a time
MAX_TITLE = 80  # characters of the title of a dialog, and of the name of a service

# A start without more than these has come to nothing, and nobody knows why.
FRUITLESS = {STARTED, STARTING, FULL_LOGIN, RESTARTING, "logging_in", "stopping", ENDED, START_FAILED}
FRUITLESS |= {"forwarder_up", "forwarder_refused", "forwarder_timed_out"}
NO_PROGRESS = {STARTED, "forwarder_up", "forwarder_refused", "forwarder_timed_out"}
# What is on the screen of a process, and goes with it or with its window.
ON_SCREEN = ("accept_dialog", "paper_warning", "write_access", "twofa_pending")


def read(log: bytes | str) -> tuple[tuple[str, ...], LogView]:
    """The states since the last start, each once, the last one is now; and what else the log tells of them."""
    lives: dict[str, GatewayLife] = {}
    count = 0
    for line in lines(decode(log) if isinstance(log, bytes) else log):
        count += 1
        if line.service not in lives and len(lives) >= MAX_SERVICES:
            continue
        life = lives.setdefault(line.service, GatewayLife())
        event = meaning_of(line)
        for one in lives.values() if line.service == "kernel" else (life,):
            one.take(line, event)
    gateways = [name for name, life in lives.items() if life.is_marked] or (list(lives) if len(lives) == 1 else [])
    if not gateways:
        return (), LogView(count)
    # Of several gateways the one that is not logged in: that is the one people ask about.
    name = next((name for name in gateways if not lives[name].is_logged_in), gateways[-1])
    life = lives[name]
    return tuple(life.states), life.view(count, printable(name[:MAX_TITLE]) if len(lives) > 1 else "")


@dataclass(slots=True)
class GatewayLife:
    """One service's gateway, as far as the lines read until now tell of it."""

    states: dict[str, float | None] = field(default_factory=dict)  # name -> when it was last seen
    dialogs: dict[str, float | None] = field(default_factory=dict)  # title -> since when it is open
    starts: list[float | None] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)  # states since the process was started
    words: set[str] = field(default_factory=set)  # how the start of this life was told
    window: str = ""  # the title of the dialog that was opened last
    windows: dict[str, str] = field(default_factory=dict)  # state -> the dialog it is about
    ended_by: str = ""
    exit_status: int | None = None
    port: int | None = None
    known: int = 0
    is_marked: bool = False  # has lines that only programs of a gateway write
    now: float | None = None
    has_zone: bool = False

    @property
    def is_logged_in(self) -> bool:
        """Logged in at last, for all that is known."""
        last = next((state for state in reversed(self.states) if state in (*DONE, ENDED, START_FAILED)), "")
        return last in DONE

    def take(self, line: LogLine, event: LogMeaning | None) -> None:
        """The next line, and what it stands for."""
        if line.at is not None and (self.now is None or line.has_zone == self.has_zone):
            self.now, self.has_zone = line.at, line.has_zone
        marked = is_mark(line)
        self.is_marked |= marked
        self.known += marked or event is not None
        if self.ended_by == "memory" and self.exit_status is None and line.speaker is not Speaker.UNKNOWN:
            self._go_on()  # a thread had no memory left, and the process survived it
        if event is not None and event.dialog is not None:
            self._take_dialog(event, event.dialog)
        elif event is not None:
            self._take_state(line, event)

    def view(self, lines: int, service: str) -> LogView:
        """What is known beside the states."""
        titles = tuple(_title(title) for title in self.dialogs)
        return LogView(
            lines,
            self.known,
            service,
            self.has_zone,
            tuple(self.states.values()),
            self.now,
            len(self.starts),
            self.starts[0] if self.starts else None,
            self.ended_by,
            self.exit_status,
            self.port,
            titles,
            next(iter(self.dialogs.values()), None),
        )

    def _take_state(self, line: LogLine, event: LogMeaning) -> None:
        state = event.state
        if state == STARTED:
            self._start(" ".join(line.text.lower().split()[:4]))
        elif state in (ENDED, START_FAILED):
            self._end(state, event.why, event.status)
            return
        elif state == STARTING and (self.seen & {ENDED, START_FAILED, RESTARTING}):
            self._start_process()
        elif state == RESTARTING:
            self._go_on()
        elif state == WRITABLE:
            self.states.pop(READ_ONLY, None)
        elif state in ON_SCREEN and state not in self.windows and self.window:
            self.windows[state] = self.window
        self.port = event.port or self.port
        self._add(state)
        if state == FULL_LOGIN and self.seen & {*DONE, "stopping"}:
            self._end(ENDED, "no token", None)

    def _add(self, state: str) -> None:
        self.states.pop(state, None)
        self.states[state] = self.now
        self.seen.add(state)

    def _start(self, words: str) -> None:
        """A life begins, unless it is the same start told by another program."""
        if words in self.words or set(self.states) - NO_PROGRESS:
            self._start_process()
            self.states.clear()
            self.words.clear()
            self.port = None
        elif not self.starts:
            self._start_process()
        self.words.add(words)

    def _start_process(self) -> None:
        if self.seen - FRUITLESS or self.ended_by == "stopped":
            self.starts.clear()
        self.starts.append(self.now)
        self.seen.clear()
        self._close_all()
        self._go_on()

    def _go_on(self) -> None:
        """It has not ended after all, or is there again."""
        self.ended_by, self.exit_status = "", None
        self.states.pop(ENDED, None)
        self.states.pop(START_FAILED, None)

    def _end(self, state: str, why: str, status: int | None) -> None:
        """What was said first of an end tells most about it."""
        if not {ENDED, START_FAILED} & set(self.states):
            self._add(state)
        elif state == START_FAILED and state not in self.states:
            self.states[START_FAILED] = self.states.pop(ENDED)
        self.seen.add(state)
        self.ended_by = self.ended_by or why
        self.exit_status = status if self.exit_status is None else self.exit_status
        self._close_all()

    def _close_all(self) -> None:
        self.dialogs.clear()
        self.windows.clear()
        self.window = ""
        for state in ON_SCREEN:
            self.states.pop(state, None)

    def _take_dialog(self, event: LogMeaning, title: str) -> None:
        if not event.closed:
            self.window = title
            if event.state:
                self.windows[event.state] = title
                self._add(event.state)
            elif dialog_state(title) == "" and len(self.dialogs) < MAX_DIALOGS:
                self.dialogs.setdefault(title, self.now)
            return
        self.dialogs.pop(title, None)
        for state in [state for state, about in self.windows.items() if about == title]:
            del self.windows[state]
            if state in ON_SCREEN and self.states.pop(state, 0.0) != 0.0 and state == "twofa_pending":
                self._add("twofa_closed")


def _title(title: str) -> str:
    """The title of a dialog, printable and bounded; account numbers in it are masked."""
    return printable(without_accounts(title[:MAX_TITLE]))
