"""What is known of a watched IB session, and what each message adds to it."""

from __future__ import annotations

from typing import NamedTuple

from relay.wire import events, messages
from relay.wire.codes import Kind, classify
from relay.wire.events import Event
from relay.wire.heard import Heard, farms_named
from relay.wire.message_values import NAMES
from relay.wire.messages import BodyError
from relay.wire.stage import Stage

_NOTHING = Heard()

# Until the session is ready, the stage cannot be known any more when one of these cannot be read.
_STEPS = frozenset({messages.StartApi.id, messages.NextValidId.id, messages.ManagedAccounts.id})


class Doubts(NamedTuple):
    """Messages that could not be read in a stream that is in step: how many, and what was wrong with the first."""

    number: int
    first: str

    def __str__(self) -> str:
        return f"{self.number} message{'s, the first: ' if self.number > 1 else ': '}{self.first}"


class Knowledge:
    """The attributes of an Observer that others read, and the messages that change them."""

    __slots__ = (
        *("stage", "opaque", "legacy", "server_version", "client_range", "client_id", "accounts", "account_count"),
        *("heard", "fatal", "redirect", "not_understood", "has_order_id"),
        *("client_hello_at", "server_hello_at", "start_api_at", "ready_at"),
    )

    def __init__(self) -> None:
        self.stage = Stage.NOTHING
        self.opaque: str | None = None  # the reason, once it is opaque
        self.legacy = False
        self.server_version: int | None = None
        self.client_range: tuple[int, int] | None = None  # the server versions the client asked for
        self.client_id: int | None = None
        self.accounts: tuple[str, ...] = ()  # the first, masked
        self.account_count: int | None = 0  # named so far; None: some, and not known how many
        self.heard = _NOTHING  # of the codes that came: those that count
        self.fatal: tuple[int, float] | None = None  # the last code that announces the end, and when it came
        self.redirect: str | None = None  # host[:port] the gateway sent the client to
        self.not_understood: Doubts | None = None
        self.has_order_id = False  # NEXT_VALID_ID has come
        self.client_hello_at: float | None = None
        self.server_hello_at: float | None = None
        self.start_api_at: float | None = None
        self.ready_at: float | None = None

    def _not_understood(self, doubt: BodyError, sender: str, now: float, found: list[Event]) -> None:
        if self.ready_at is None and doubt.id in _STEPS:
            raise doubt
        before = self.not_understood
        reason = f"{sender}: {doubt}"
        self.not_understood = Doubts(1, reason) if before is None else before._replace(number=before.number + 1)
        found.append(events.NotUnderstood(now, reason))

    def _learn(self, message: messages.Message | None, now: float, found: list[Event]) -> None:
        match message:
            case messages.StartApi():
                self._start_api(message.client_id, message.capabilities, now, found)
            case messages.NextValidId():
                self._next_valid_id(message, now, found)
            case messages.ManagedAccounts():
                self._named(events.mask_accounts(message.accounts), len(message.accounts), now, found)
            case messages.ErrorMessage():
                self._error(message, now, found)

    def _has_passed(self, number: int, sender: str, now: float, found: list[Event]) -> None:
        """A whole message of those that are read has come, and was too long to be read.

        What its coming says is learnt: a list of so many thousand accounts is not empty.
        """
        if number == messages.ManagedAccounts.id:
            self._named((), None, now, found)
        elif number == messages.StartApi.id:
            self._start_api(None, "", now, found)
        else:
            name = NAMES.get((messages.DOWN, number), f"message {number}")
            self._not_understood(BodyError(number, f"{name}: longer than is read here"), sender, now, found)

    def _start_api(self, client_id: int | None, capabilities: str, now: float, found: list[Event]) -> None:
        self.client_id = client_id
        if self.start_api_at is None:
            self.start_api_at = now
        if self.stage == Stage.SERVER_HELLO:
            self.stage = Stage.START_API
        found.append(events.StartApiSeen(now, client_id, capabilities))

    def _next_valid_id(self, message: messages.NextValidId, now: float, found: list[Event]) -> None:
        self.has_order_id = True
        found.append(events.NextValidIdSeen(now, message.order_id))
        self._maybe_ready(now, found)

    def _named(self, accounts: tuple[str, ...], count: int | None, now: float, found: list[Event]) -> None:
        self.accounts, self.account_count = accounts, count
        found.append(events.Accounts(now, accounts, count))
        self._maybe_ready(now, found)

    def _error(self, message: messages.ErrorMessage, now: float, found: list[Event]) -> None:
        kind, farms = classify(message.code), farms_named(message.code, message.text)
        self.heard = self.heard.and_then(message.code, farms)
        if kind is Kind.FATAL:
            self.fatal = (message.code, now)
        found.append(events.Notice(now, message.code, kind, message.request_id, farms))

    def _maybe_ready(self, now: float, found: list[Event]) -> None:
        if self.ready_at is None and self.has_order_id and self.account_count != 0:
            self.ready_at, self.stage = now, Stage.READY
            found.append(events.Ready(now))
