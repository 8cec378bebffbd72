"""Log lines: a Record or LogEvent as one line of text for people, or as one JSON object for tools. Pure."""

from __future__ import annotations

import json
from functools import lru_cache
from time import gmtime, strftime

from relay.config.addresses import host_port
from relay.logs.backlog import Backlog, not_taken
from relay.logs.ends import Ends, waiting_said
from relay.logs.explain import announced_said, end_code, explain
from relay.logs.record import CLEAN_ENDS, EndPhase, LogEvent, Reason, Record, end_of
from relay.logs.units import duration, size
from relay.printable import LONGEST_LINE, printable
from relay.wire.events import accounts_said
from relay.wire.heard import Said, code_said, farms_of, holding_said

_WARN = frozenset(
    {
        Reason.CONNECTION_REFUSED,
        Reason.CONNECT_TIMEOUT,
        Reason.UNREACHABLE,
        Reason.DNS_ERROR,
        Reason.LOOP_DETECTED,
        Reason.CONNECTION_LIMIT,
        Reason.ACL_DENIED,
        Reason.CLIENT_DEAD,
        Reason.UPSTREAM_DEAD,
        Reason.WRITE_STALLED,
        Reason.UPSTREAM_RESET,
        Reason.HALF_CLOSE_TIMEOUT,
        Reason.RESOURCE_EXHAUSTED,
        Reason.CLIENT_LEFT_IN_HANDSHAKE,
        Reason.CLIENT_LEFT_WHILE_CONNECTING,
        Reason.CLIENT_LEFT_WHILE_QUEUED,
    }
)

_SIDES = ("gateway", "client")  # as the backlogs of a record are


def severity(record: Record) -> str:
    """INFO for ordinary records, WARN for those a user will want to know of, ERROR for a fault of ours."""
    if record.event != "close":
        return "INFO"
    cause, phase = end_of(record)
    reason = cause.reason
    if reason is Reason.INTERNAL_ERROR:
        return "ERROR"
    if reason is Reason.CLIENT_LEFT_IN_HANDSHAKE and record.ib_stage in ("nothing", "server_hello"):
        return "WARN" if cause.detail is not None else "INFO"  # a port check, or a probe that asked for the hello only
    if reason in (*CLEAN_ENDS, Reason.CLIENT_RESET) and phase is EndPhase.HANDSHAKE:
        return "WARN"  # the gateway took the connection and did not serve it, or is none
    if announced_said(record) or (record.ends is not None and not record.ends.clean):
        return "WARN"
    return "WARN" if reason in _WARN else "INFO"


def timestamp(at: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    milliseconds = int(at * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


@lru_cache(maxsize=2)
def _second(at: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(at))


# JSON


def json_event(event: LogEvent) -> str:
    """One JSON object for an event that is not about one connection."""
    head = {"timestamp": timestamp(event.at), "severity_text": event.severity, "event.name": f"ib_relay.{event.name}"}
    return json.dumps({**head, "message": event.message, **event.fields})


def json_record(record: Record, dropped: int) -> str:
    """One JSON object; the value null means "known to be absent", a missing key means "does not apply".

    The text is built by hand: this runs twice a connection, beside the data path, and is three times as fast as a dict
    and json.dumps. tests/relay/logs/test_lines.py compares the two.
    """
    peer = "null" if record.peer_address is None else _quote(record.peer_address)
    parts = [
        (
            f'{{"timestamp": "{timestamp(record.at)}", "severity_text": "{severity(record)}", '
            f'"event.name": "ib_relay.connection.{record.event}", "connection.id": "{record.connection_id}", '
            f'"ib_relay.map": "{record.map_name}", '
            f'"client.address": {_quote(record.client_address)}, "client.port": {record.client_port}, '
            f'"server.address": {_quote(record.server_address)}, "server.port": {record.server_port}, '
            f'"network.peer.address": {peer}, "network.peer.port": {_number(record.peer_port)}, '
            f'"network.local.port": {record.local_port}, "network.transport": "tcp", '
            f'"network.type": "{"ipv6" if ":" in record.client_address else "ipv4"}"'
        )
    ]
    if record.event != "open":
        parts.append(_json_progress(record))
        if record.ib_stage is not None:
            parts.append(_json_session(record))
    if record.event == "close":
        parts.append(_json_end(record))
    if record.ends is not None:
        parts.append(_json_ends(record.ends))
    parts.append(f'"connections.active": {record.active}, "log.dropped": {dropped}}}')
    return ", ".join(parts)


def _json_progress(record: Record) -> str:
    return (
        f'"ib_relay.bytes.up": {record.bytes_up}, "ib_relay.bytes.down": {record.bytes_down}, '
        f'"duration_s": {_number(record.duration)}, "connect_s": {_number(record.connect)}, '
        f'"first_byte_up_s": {_number(record.first_byte_up)}, "first_byte_down_s": {_number(record.first_byte_down)}, '
        f'"idle_s": {_number(record.idle)}'
    ) + "".join(map(_json_backlog, ("up", "down"), _ways(record), record.backlogs))


def _ways(record: Record) -> tuple[int, int]:
    """Bytes handed to our kernel for the gateway and for the client, as the backlogs are."""
    return record.bytes_up, record.bytes_down


def _json_backlog(way: str, count: int, backlog: Backlog) -> str:
    if backlog.unacknowledged is None:
        return ""
    line = f', "ib_relay.delivered.{way}": {count - backlog.unacknowledged}'
    line += f', "ib_relay.waiting.{way}": {backlog.waiting}, "ib_relay.queued.{way}": {backlog.queued}'
    return line + (f', "ib_relay.blocked.{way}_s": {_number(backlog.still)}' if backlog.blocked else "")


def _json_session(record: Record) -> str:
    versions = f"[{record.client_versions[0]}, {record.client_versions[1]}]" if record.client_versions else "null"
    accounts = ", ".join(map(_quote, record.accounts))
    line = (
        f'"ib.stage": "{record.ib_stage}", "ib.opaque": {"null" if record.opaque is None else _quote(record.opaque)}, '
        f'"ib.client_id": {_number(record.client_id)}, "ib.client_versions": {versions}, '
        f'"ib.server_version": {_number(record.server_version)}, "ib.accounts": [{accounts}], '
        f'"ib.account_count": {_number(record.account_count)}, '
        f'"ib.handshake_s": {_number(record.handshake)}, '
        f'"ib.messages.up": {_number(record.messages_up)}, "ib.messages.down": {_number(record.messages_down)}, '
        f'"ib.requests_peak": {_number(record.requests_peak)}, "ib.last_error_code": {_number(record.last_error_code)}'
    )
    line += _json_codes(record.holding, record.error_codes)
    return line + _optional("ib.redirect", record.redirect) + _optional("ib.not_understood", record.not_understood)


def _json_codes(holding: tuple[Said, ...], error_codes: tuple[int, ...]) -> str:
    line = ""
    if holding:
        codes = dict.fromkeys(said.code for said in holding)
        named = ((code, ", ".join(map(_quote, farms_of(holding, code)))) for code in codes)
        each = (f'{{"code": {code}, "farms": [{farms}]}}' for code, farms in named)
        line += f', "ib.holding": [{", ".join(each)}]'
    return line + (f', "ib.error_codes": [{", ".join(map(str, error_codes))}]' if error_codes else "")


def _optional(name: str, value: str | None) -> str:
    return f', "{name}": {_quote(value)}' if value is not None else ""


def _json_end(record: Record) -> str:
    cause, phase = end_of(record)
    line = (
        f'"end.by": "{cause.by}", "end.how": "{cause.how}", "end.phase": "{phase.value}", '
        f'"end.reason": "{cause.reason.value}", "end.code": "{end_code(cause, phase, record.ends)}", '
        f'"message": {_quote(explain(record))}'
    )
    if record.announced is not None:
        line += f', "end.ib_code": {record.announced}'
    if cause.detail is not None:
        line += f', "end.detail": {_quote(cause.detail)}'
    if cause.error_type is not None:
        line += f', "error.type": {_quote(cause.error_type)}'
    return line


def _json_ends(ends: Ends) -> str:
    first = ends.first
    line = f'"end.first_by": "{first.by}", "end.first_how": "{first.how}", "end.first_s": {_number(first.after)}'
    if first.waited is not None:
        line += f', "end.waited_s": {_number(first.waited)}'
    if ends.later:
        then = (f'{{"by": "{by}", "what": "{what}", "after_s": {_number(after)}}}' for by, what, after in ends.later)
        line += f', "end.then": [{", ".join(then)}]'
    if ends.late_messages or ends.late_bytes:
        late = ", ".join(f"{_quote(name)}: {count}" for name, count in ends.late_messages)
        line += f', "end.late_messages": {{{late}}}, "end.late_bytes": {ends.late_bytes}'
    return line


_quote = json.encoder.encode_basestring_ascii


def _number(value: float | None) -> str:
    """Microseconds are enough; a float must not become 1e-05, which some readers of logs do not accept."""
    if value is None:
        return "null"
    return f"{value:.6f}" if isinstance(value, float) else str(value)


# Text


def text_event(event: LogEvent) -> str:
    """A line for people."""
    return printable(f"{timestamp(event.at)} {event.severity:<5} {event.name}: {event.message}", LONGEST_LINE)


def text_record(record: Record, dropped: int) -> str:
    """A line for people: what happened to which connection, then the numbers."""
    body = _TEXT_BODIES[record.event](record)
    lost = f" ({dropped} log lines dropped)" if dropped else ""
    head = f"{timestamp(record.at)} {severity(record):<5} {record.map_name} #{short_id(record.connection_id)}"
    return printable(f"{head} {body}{lost}", LONGEST_LINE)


def short_id(connection_id: str) -> str:
    """Of `20250101T143000-000412` the time of the first start and the number: `143000-412`.

    The number alone comes again after the next start, and a file of text lines may have many of them.
    """
    start, _, number = connection_id.rpartition("-")
    return f"{start.rpartition('T')[2]}-{number.lstrip('0') or '0'}"


def _text_open(record: Record) -> str:
    return f"open: {host_port(record.client_address, record.client_port)} on port {record.local_port}"


def _text_ready(record: Record) -> str:
    client_id = "unknown" if record.client_id is None else record.client_id
    accounts = accounts_said(record.accounts, record.account_count)
    return (
        f"ready: client id {client_id}, server version {record.server_version}, {accounts}, "
        f"{record.handshake:.3f} s after accept{_holding(record.holding)}"
    )


def _text_progress(record: Record) -> str:
    stage = f", {record.ib_stage}" if record.ib_stage else ""
    idle = _blocked(record) or (f", quiet for {record.idle:.1f} s" if record.idle is not None else "")
    left = f", {waiting_said(record.ends, record.duration)}" if record.ends is not None else ""
    return f"live: {duration(record.duration)}{stage}{left}, {_traffic(record)}{idle}{_holding(record.holding)}"


def _text_close(record: Record) -> str:
    cause, phase = end_of(record)
    how = f"{cause.reason.value}: by {cause.by}, {cause.how}, phase {phase.value}"
    if record.ib_stage is not None:
        how += f", stage {record.ib_stage}"
    why = explain(record) + (f" ({cause.detail})" if cause.detail else "")
    extra = _codes(record)
    extra += f"; not understood: {record.not_understood}" if record.not_understood is not None else ""
    moved = f"{_traffic(record)}{_left_behind(record)}"
    return f"closed after {duration(record.duration)}: {why} [{how}]; {_whose(record)}, {moved}{extra}"


def _whose(record: Record) -> str:
    """The client, as far as it has said who it is: the line of its start may be in another file by now."""
    known = [f"from {host_port(record.client_address, record.client_port)}"]
    if record.client_id is not None:
        known.append(f"client id {record.client_id}")
    if record.client_versions is not None:
        known.append("versions {}..{}".format(*record.client_versions))
    if record.server_version is not None:
        known.append(f"server version {record.server_version}")
    return ", ".join(known)


def _holding(holding: tuple[Said, ...]) -> str:
    return f", the gateway reports {holding_said(holding)}" if holding else ""


def _codes(record: Record) -> str:
    """The last code, the answers before it, and what else still holds."""
    last = record.last_error_code
    if last is None:
        return ""
    others = tuple(said for said in record.holding if said.code != last)
    before = ", ".join(str(code) for code in record.error_codes if code != last)
    said = code_said(last, farms_of(record.holding, last))
    still = f"; still reported: {holding_said(others)}" if others else ""
    return f", last code {said}{f' after {before}' if before else ''}{still}"


_TEXT_BODIES = {"open": _text_open, "ready": _text_ready, "progress": _text_progress, "close": _text_close}


def _traffic(record: Record) -> str:
    up, down = size(record.bytes_up), size(record.bytes_down)
    taken_up, taken_down = map(_delivered, _ways(record), record.backlogs or (None, None))
    if record.messages_up is None:
        return f"up {up}{taken_up}, down {down}{taken_down}"
    return f"up {up} in {record.messages_up} messages{taken_up}, down {down} in {record.messages_down}{taken_down}"


def _delivered(count: int, backlog: Backlog | None) -> str:
    """What of it has arrived, where that is another matter."""
    if backlog is None or backlog.unacknowledged is None or not (backlog.stuck or backlog.queued):
        return ""
    return f" ({size(count - backlog.unacknowledged)} delivered)"


def _blocked(record: Record) -> str:
    """Clauses on the sides that take nothing; where the kernel tells less, on what waits."""
    said = ""
    for side, sender, backlog in zip(_SIDES, reversed(_SIDES), record.backlogs, strict=False):
        left = not_taken(backlog, sender)
        if backlog.blocked:
            since = timestamp(record.at - (backlog.still or 0.0))
            said += f"; the {side} does not read: {left}, nothing taken since {since}"
        elif backlog.stuck or (backlog.shut is None and backlog.queued):
            said += f"; for the {side}: {left}"
    return said


def _left_behind(record: Record) -> str:
    """What a close has left behind, but for what was on its way in that moment."""
    said = ""
    for side, sender, backlog in zip(_SIDES, reversed(_SIDES), record.backlogs, strict=False):
        if backlog.stuck or backlog.queued:
            said += f"; for the {side}: {not_taken(backlog, sender)}"
    return said
