"""Why a connection ended: the sentence for people, and the two letters HAProxy users know."""

from __future__ import annotations

from relay.logs.ends import NOTABLE, Ends, first_end_said, sequel
from relay.logs.record import CLEAN_ENDS, Cause, EndPhase, Reason, Record
from relay.wire.codes import CODES

_PHASE_LETTERS = {
    EndPhase.HANDSHAKE: "H",
    EndPhase.CONNECT: "C",
    EndPhase.DATA: "D",
    EndPhase.HALF_CLOSED: "L",
    EndPhase.DRAIN: "D",
    None: "-",
}
_REFUSALS = (Reason.ACL_DENIED, Reason.CONNECTION_LIMIT, Reason.NOT_IB)


def end_code(cause: Cause, phase: EndPhase | None, ends: Ends | None = None) -> str:
    """The two letters HAProxy users know (its manual, section 8.5): who ended it, and where; `--` for a clean end."""
    if cause.reason in CLEAN_ENDS and (ends is None or ends.clean):
        return "--"
    if cause.reason is Reason.RESOURCE_EXHAUSTED:
        first = "R"
    elif cause.reason is Reason.INTERNAL_ERROR:
        first = "I"
    elif cause.reason is Reason.SHUTDOWN:
        first = "K"
    elif cause.reason in _REFUSALS:
        first = "P"
    elif cause.how == "timeout":
        server_side = cause.by == "upstream" or cause.reason is Reason.CONNECT_TIMEOUT
        first = "s" if server_side else "c"
    else:
        first = {"client": "C", "upstream": "S"}.get(cause.by, "P")
    return first + _PHASE_LETTERS[phase]


_EXPLANATIONS = {
    Reason.CLIENT_CLOSED: "the client closed its session",
    Reason.UPSTREAM_CLOSED: "the gateway closed the session",
    Reason.CLIENT_RESET: "the client aborted (reset)",
    Reason.UPSTREAM_RESET: "the gateway aborted (reset)",
    Reason.CLIENT_LEFT_WHILE_CONNECTING: "the client left while the gateway was being dialled",
    Reason.CLIENT_LEFT_WHILE_QUEUED: "the client left before it was its turn to reach the gateway",
    Reason.CONNECTION_REFUSED: "nothing listens at the gateway's address: not started, not logged in, or another port",
    Reason.CONNECT_TIMEOUT: "the gateway's host did not answer the dial: packets dropped, or the gateway "
    "stopped accepting",
    Reason.UNREACHABLE: "the gateway's address cannot be reached",
    Reason.DNS_ERROR: "the gateway's name could not be looked up",
    Reason.LOOP_DETECTED: "upstream leads back to this relay: a fault of the configuration",
    Reason.HANDSHAKE_TIMEOUT: "the client sent no complete hello; the gateway was not dialled",
    Reason.NOT_IB: "the client did not speak the IB API; the gateway was not dialled",
    Reason.CONNECTION_LIMIT: "too many connections",
    Reason.ACL_DENIED: "the client's address is not on the access list",
    Reason.IDLE_TIMEOUT: "no byte moved either way, and none waited, for the configured idle time",
    Reason.HALF_CLOSE_TIMEOUT: "one side had finished and the other stayed silent",
    Reason.CLIENT_DEAD: "the client vanished without a word",
    Reason.UPSTREAM_DEAD: "the gateway vanished without a word",
    Reason.WRITE_STALLED: "the remaining bytes could not be delivered: the receiver does not read",
    Reason.SHUTDOWN: "the relay was stopped",
    Reason.RESOURCE_EXHAUSTED: "the relay ran out of descriptors or memory",
    Reason.INTERNAL_ERROR: "a fault in the relay itself",
}

_LEFT_AT_STAGE = {
    "nothing": "the client left before it said anything (a port check looks like this); the gateway was not dialled",
    "server_hello": "the client left after the gateway's hello, before it sent START_API",
}
_UNANSWERED = {
    "client_hello": ("its hello", "the gateway takes connections but does not serve them"),
    "start_api": ("START_API", "not logged in, still starting, or a dialog is open"),
}

# Ends of a session that was under way. All other reasons end a connection that never became a session.
_UNDER_WAY = frozenset(
    {
        Reason.CLIENT_CLOSED,
        Reason.UPSTREAM_CLOSED,
        Reason.CLIENT_RESET,
        Reason.UPSTREAM_RESET,
        Reason.CLIENT_DEAD,
        Reason.UPSTREAM_DEAD,
        Reason.IDLE_TIMEOUT,
        Reason.HALF_CLOSE_TIMEOUT,
        Reason.WRITE_STALLED,
        Reason.SHUTDOWN,
        Reason.INTERNAL_ERROR,
    }
)
_RELAYS_OWN = frozenset({Reason.HALF_CLOSE_TIMEOUT, Reason.WRITE_STALLED, Reason.SHUTDOWN, Reason.INTERNAL_ERROR})
_GATEWAY_WENT = frozenset({Reason.UPSTREAM_CLOSED, Reason.UPSTREAM_RESET, Reason.UPSTREAM_DEAD})
_UNREADY = ("client_hello", "server_hello", "start_api")


def explain(record: Record) -> str:
    """One sentence for people: why this connection ended."""
    cause = record.cause
    if cause is None:
        return "still open"
    if cause.reason is Reason.CLIENT_LEFT_IN_HANDSHAKE:
        if record.redirect is not None:
            return f"the gateway redirected the client to {record.redirect}, which only IB's Java client follows"
        return _left(record) + _sequel(record)
    text = _EXPLANATIONS[cause.reason]
    if cause.reason not in _UNDER_WAY:
        return text
    if (left := _left_a_stranger(record, cause)) is not None:
        return f"what answered is no IB gateway ({record.opaque}); {left}" + _sequel(record)
    announced = announced_said(record)
    text += announced
    if cause.reason in _GATEWAY_WENT and not announced and record.ib_stage in _UNREADY:
        text += f" at stage {record.ib_stage}, before the session was ready"
    if record.redirect is not None:
        text += f"; the gateway had redirected the client to {record.redirect}"
    if record.opaque is not None:
        text += f"; the session was not understood: {record.opaque}"
    return text + _sequel(record)


_STRANGER_WENT = {Reason.UPSTREAM_CLOSED: "it closed the connection", Reason.UPSTREAM_RESET: "it reset the connection"}


def _left_a_stranger(record: Record, cause: Cause) -> str | None:
    """Who ended a connection whose first bytes from upstream were no gateway's; None where they were, or none came."""
    if record.server_version is not None or not (record.opaque or "").startswith("gateway"):
        return None
    return "the client left" if cause.by == "client" else _STRANGER_WENT.get(cause.reason)


_ID_IN_USE = 326


def announced_said(record: Record) -> str:
    """By which code the gateway announced an end that one of the two sides made: " after error 326: ..."; or ""."""
    code, cause = record.announced, record.cause
    if code is None or cause is None or cause.by == "relay":
        return ""
    if code == _ID_IN_USE:
        which = f"client id {record.client_id}" if record.client_id is not None else "the client id"
        return f" after error {code}: {which} is in use"
    return f" after code {code}: {CODES[code].meaning}" if code in CODES else f" after code {code}"


def _sequel(record: Record) -> str:
    """What else is to be said of the two sides."""
    if record.ends is None or record.cause is None:
        return ""
    if record.cause.reason in _RELAYS_OWN:
        return f"; {first_end_said(record.ends)}"
    after = record.ends.first.after
    when = f", {after:.1f} s after accept" if after is not None and record.duration - after >= NOTABLE else ""
    return when + sequel(record.ends)


def _left(record: Record) -> str:
    """Of a client that went before its session was ready: what it waited for, and whether that came too late."""
    if record.ib_stage == "nothing" and record.cause is not None and record.cause.detail is not None:
        return "the client left in the middle of its hello; the gateway was not dialled"
    if record.ib_stage not in _UNANSWERED:
        return _LEFT_AT_STAGE.get(record.ib_stage or "", "the client left during the API handshake")
    if announced := announced_said(record):
        return f"the client left{announced}"
    question, meaning = _UNANSWERED[record.ib_stage]
    first = record.ends.first if record.ends is not None else None
    answer = record.ends.find("upstream", "answer") if record.ends is not None else None
    waited = f" after {first.waited:.1f} s" if first is not None and first.waited is not None else ""
    if answer is not None:
        return f"the client gave up{waited} without an answer to {question}, which came {answer.after:.1f} s too late"
    if first is not None and first.answered is not None:
        return f"the client left{waited} without a whole answer to {question}: {first.answered}"
    return f"the client left{waited} before the gateway answered {question}: {meaning}"
