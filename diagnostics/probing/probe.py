"""One route walked stage by stage: RESOLVE, CONNECT, QUIET, HELLO, START_API, SYNC, until one of them fails.

    opened       the first three: costs a gateway one connection without a word. Run for all routes at once
    handshake    the last three, on a connection of its own. Run for one route after the other, and for few of them
    walk         as far as asked on a single connection, for a caller who wants to know whether one route works

Manners, after what is reported to have hung gateways: our hello first, nothing else before its answer, a client id
nobody uses, everything read to the end, FIN and not RST, and no handshake that was not asked for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from diagnostics.evidence import Asked, Outcome, Probe, ProbeStage, Route, StageResult
from diagnostics.probing.connection import QUIET, QuietResult, leave, listen
from diagnostics.probing.dial import CONNECT_TIMEOUT, DialResult, dial
from diagnostics.probing.resolve import RESOLVE_TIMEOUT, Resolution, resolve
from diagnostics.probing.strangers import STRANGERS, stranger
from diagnostics.probing.talk import TalkResult, talk

BRIEF = 0.03  # seconds of quiet in `walk`: the slowest proxy with nothing behind it took 21 ms to close
LEAST = 0.001  # seconds for a handshake whose time is up already

ONE_HANDSHAKE = "not asked for: one handshake, on the best route"
NO_SESSION = "no session was asked for"
NO_MORE = "not asked for"

STAGES = tuple(ProbeStage)


def handshake(
    probe: Probe,
    asked: Asked,
    *,
    timeout: float | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    on_silence: Callable[[], None] | None = None,
) -> Probe:
    """A probe that got through QUIET, taken further on a new connection to the same address.

    `timeout` is for the hello, by default `asked.timeout`. `on_silence` is called when a stage timed out, while the
    connection is still there. A probe that already has a handshake gets the result of the new one, and one attempt
    more.
    """
    before = probe.result(ProbeStage.HELLO)
    is_first = before.outcome is Outcome.SKIPPED
    addresses = () if probe.address is None else (probe.address,)
    dialled = dial(addresses, probe.route.port, connect_timeout)
    if dialled.sock is None:
        return _not_accepted(probe, dialled) if is_first else _not_again(probe, before, dialled)
    conversation = talk(dialled.sock, asked, timeout or asked.timeout, reset=dialled.reset, on_silence=on_silence)
    return _with(probe, conversation) if is_first else _with_another(probe, before, conversation)


def walk(
    route: Route,
    asked: Asked,
    until: ProbeStage = ProbeStage.HELLO,
    *,
    limit: float = float("inf"),
    connect_timeout: float = CONNECT_TIMEOUT,
    settle: bool = False,
) -> Probe:
    """One route up to a stage on one connection, within `limit` seconds and a short goodbye.

    `until` CONNECT or QUIET stops after the whole QUIET, since a connection that is closed at once is worth nothing.
    Beyond, QUIET is only BRIEF: a healthy gateway says more by its hello. SYNC needs `asked.session`, HELLO ignores it.
    With `settle` a session's notices are heard out.
    """
    ends = monotonic() + limit
    beyond_quiet = STAGES.index(until) > STAGES.index(ProbeStage.QUIET)
    resolution = resolve(route.host, route.port, min(RESOLVE_TIMEOUT, limit))
    left = ends - monotonic()
    quiet, why = (BRIEF, "") if beyond_quiet else (min(QUIET, left), NO_MORE)
    probe, dialled = opened(route, resolution, min(connect_timeout, left), quiet, why)
    if dialled.sock is None:
        return probe
    if not beyond_quiet or probe.result(ProbeStage.QUIET).outcome is not Outcome.OK:
        leave(dialled.sock)
        return probe
    timeout = max(LEAST, min(asked.timeout, ends - monotonic()))
    asked = replace(asked, session=asked.session and until is not ProbeStage.HELLO, timeout=timeout)
    return _with(probe, talk(dialled.sock, asked, timeout, reset=dialled.reset, settle=settle, until=ends))


def opened(
    route: Route,
    resolution: Resolution,
    timeout: float = CONNECT_TIMEOUT,
    quiet: float = QUIET,
    why: str = ONE_HANDSHAKE,
) -> tuple[Probe, DialResult]:
    """The route up to QUIET, and the connection, which may still be there: leaving it is the caller's.

    `timeout` is for the connect; `why` there is no more to it.
    """
    if not resolution.addresses:
        return untouched(route, resolution), DialResult(Outcome.UNREACHABLE, 0.0)
    dialled = dial(resolution.addresses, route.port, timeout)
    results = [_resolve_result(resolution), _connect_result(dialled)]
    probe = Probe(route, (), resolution.addresses, dialled.address, answering=dialled.answering)
    if dialled.sock is None:
        return replace(probe, stages=all_stages(results)), dialled
    heard = QuietResult(Outcome.RESET, 0.0, error="ECONNRESET") if dialled.reset else listen(dialled.sock, quiet)
    results.append(StageResult(ProbeStage.QUIET, heard.outcome, heard.seconds, _quiet_detail(heard), heard.error))
    probe = replace(
        probe,
        stages=all_stages(results, why),
        source=_source(dialled.sock),
        first_bytes=stranger(heard.data) if heard.data else None,
        spoke_first=bool(heard.data),
        bytes_received=len(heard.data),
    )
    return probe, dialled


def untouched(route: Route, resolution: Resolution, same_as: str | None = None) -> Probe:
    """A route as far as its name goes: it has no address, or that of the earlier route `same_as`."""
    why = f"the same address as {same_as}" if same_as else "not dialled"
    return Probe(route, all_stages([_resolve_result(resolution)], why), resolution.addresses, same_as=same_as)


def late(route: Route, resolution: Resolution) -> Probe:
    """A route whose dialling did not come to an end in its own time: of our making, and nothing was learnt."""
    failed = StageResult(ProbeStage.CONNECT, Outcome.TIMED_OUT, detail="this machine was too busy to dial")
    return Probe(route, all_stages([_resolve_result(resolution), failed]), resolution.addresses)


# Results.


def all_stages(results: list[StageResult], why: str = "") -> tuple[StageResult, ...]:
    """All six: those that were walked, and the rest skipped because of the one that failed, or else of `why`."""
    failed = next((result for result in results if result.outcome is not Outcome.OK), None)
    reason = f"{failed.stage.name} failed" if failed else why
    walked = {result.stage: result for result in results}
    return tuple(walked.get(stage) or StageResult(stage, Outcome.SKIPPED, detail=reason) for stage in ProbeStage)


def _before(probe: Probe, stage: ProbeStage) -> list[StageResult]:
    """The results of the stages before this one."""
    return [probe.result(earlier) for earlier in STAGES[: STAGES.index(stage)]]


def _with(probe: Probe, conversation: TalkResult) -> Probe:
    """The probe with what a conversation gave."""
    return replace(
        probe,
        stages=all_stages([*_before(probe, ProbeStage.HELLO), *conversation.results], NO_SESSION),
        kernel=conversation.kernel,
        first_bytes=conversation.first_bytes,
        bytes_received=conversation.bytes_received,
        server_version=conversation.server_version,
        redirect=conversation.redirect,
        accounts=conversation.accounts,
        account_count=conversation.account_count,
        codes=conversation.codes,
        farms=conversation.farms,
        hello_length=conversation.hello_length,
    )


def _not_accepted(probe: Probe, dialled: DialResult) -> Probe:
    """The first connection was accepted, the next one not: the queue is full now, or the gateway went away."""
    failed = _connect_result(dialled)
    failed = replace(failed, detail=f"a first connection was accepted, another one not: {failed.detail}")
    return replace(probe, stages=all_stages([*_before(probe, ProbeStage.CONNECT), failed]))


def _not_again(probe: Probe, hello: StageResult, dialled: DialResult) -> Probe:
    """The same after a handshake that was had: that one remains the result."""
    hello = _with_more(hello, f"another connection after it was not accepted: {dialled.detail}")
    return replace(_with_hello(probe, hello), attempts=probe.attempts + 1)


def _with_another(probe: Probe, before: StageResult, conversation: TalkResult) -> Probe:
    """With a second handshake: all that is told is of one of the two, with a word about the other.

    Of two that got no whole answer it is the one that got more of it, else the first, which waited longer.
    """
    hello, *others = conversation.results
    both_timed_out = before.outcome is hello.outcome is Outcome.TIMED_OUT
    if both_timed_out and conversation.bytes_received <= probe.bytes_received:
        came = f" but {conversation.bytes_received} bytes" if conversation.bytes_received else ""
        before = _with_more(before, f"nor to a second handshake{came} in {hello.seconds or 0.0:.1f} s")
        return replace(_with_hello(probe, before), attempts=probe.attempts + 1)
    hello = _with_more(hello, f"the handshake before this one: {before.outcome.value}")
    conversation = replace(conversation, results=(hello, *others))
    return replace(_with(probe, conversation), attempts=probe.attempts + 1)


def _with_hello(probe: Probe, hello: StageResult) -> Probe:
    stages = tuple(hello if result.stage is ProbeStage.HELLO else result for result in probe.stages)
    return replace(probe, stages=stages)


def _with_more(result: StageResult, detail: str) -> StageResult:
    return replace(result, detail=f"{result.detail}; {detail}" if result.detail else detail)


def _resolve_result(resolution: Resolution) -> StageResult:
    outcome = Outcome.OK if resolution.addresses else Outcome.UNREACHABLE if resolution.error else Outcome.TIMED_OUT
    return StageResult(ProbeStage.RESOLVE, outcome, resolution.seconds, resolution.detail, resolution.error)


def _connect_result(dialled: DialResult) -> StageResult:
    return StageResult(ProbeStage.CONNECT, dialled.outcome, dialled.seconds, dialled.detail, dialled.error)


def _quiet_detail(heard: QuietResult) -> str:
    after = f"{heard.seconds * 1000:.0f} ms after the connection was made"
    if heard.outcome is Outcome.OK:
        return ""
    if heard.outcome is Outcome.BAD_PEER:
        return f"it spoke first, {STRANGERS[stranger(heard.data)]}, {after}; a gateway waits for its client"
    how = {Outcome.CLOSED: "closed", Outcome.RESET: "reset"}.get(heard.outcome, "lost")
    return f"{how} before anything was said, {after}"


def _source(sock: socket.socket) -> str | None:
    try:
        return str(sock.getsockname()[0])
    except OSError:
        return None
