"""One route walked stage by stage: RESOLVE, CONNECT, QUIET, HELLO, START_API, SYNC, until one of them fails.

    tcp          the first three: costs a gateway one connection without a word. Run for all routes at once
    handshake    the last three, on a connection of its own. Run for one route after the other, and for few of them
    walk         as far as asked on a single connection, for a caller who wants to know whether one route works

Manners, after what is reported to have hung gateways: our hello first, nothing else before its answer, a client id
nobody uses, everything read to the end, FIN and not RST, and no handshake that was not asked for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import fields, replace
from time import monotonic

from diagnostics.evidence import Asked, Outcome, Probe, Route, Stage, StageResult
from diagnostics.probing import dial
from diagnostics.probing.dial import CONNECT_TIMEOUT, QUIET, RESOLVE_TIMEOUT, Dialled, Heard, Resolution, resolve
from diagnostics.probing.talk import STRANGERS, Told, stranger, talk

__all__ = (
    "CONNECT_TIMEOUT",
    "QUIET",
    "RESOLVE_TIMEOUT",
    "Resolution",
    "handshake",
    "opened",
    "resolve",
    "tcp",
    "untouched",
    "walk",
)

BRIEF = 0.03  # seconds of quiet in `walk`: the slowest proxy with nothing behind it took 21 ms to close

ONE_IS_ENOUGH = "not asked for: one handshake, on the best route"
NO_SESSION = "no session was asked for"
NO_MORE = "not asked for"


def tcp(route: Route, resolution: Resolution, timeout: float = CONNECT_TIMEOUT, quiet: float = QUIET) -> Probe:
    """The route up to QUIET, and goodbye. `timeout` is for the connect."""
    probe, dialled = opened(route, resolution, timeout, quiet)
    if dialled.sock is not None:
        dial.leave(dialled.sock)
    return probe


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
    before = probe.result(Stage.HELLO)
    first = before.outcome is Outcome.SKIPPED
    dialled = dial.dial((probe.address,), probe.route.port, connect_timeout)
    if dialled.sock is None:
        return _not_accepted(probe, dialled) if first else _not_again(probe, before, dialled)
    told = talk(dialled.sock, asked, timeout or asked.timeout, reset=dialled.reset, on_silence=on_silence)
    if first:
        return _with(probe, told)
    told = replace(told, results=(_after(before, told.results[0]), *told.results[1:]))
    return replace(_with(probe, told), attempts=probe.attempts + 1)


def walk(
    route: Route,
    asked: Asked,
    until: Stage = Stage.HELLO,
    *,
    limit: float = float("inf"),
    connect_timeout: float = CONNECT_TIMEOUT,
) -> Probe:
    """One route up to a stage on one connection, within `limit` seconds and a goodbye of at most one more.

    `until` CONNECT or QUIET stops after the whole QUIET, since a connection that is closed at once is worth nothing.
    Beyond, QUIET is only BRIEF: a healthy gateway says more by its hello. SYNC needs `asked.session`, HELLO ignores it.
    """
    ends = monotonic() + limit
    further = until not in (Stage.RESOLVE, Stage.CONNECT, Stage.QUIET)
    resolution = resolve(route.host, route.port, min(RESOLVE_TIMEOUT, limit))
    left = ends - monotonic()
    probe, dialled = opened(
        route,
        resolution,
        min(connect_timeout, left),
        BRIEF if further else min(QUIET, left),
        "" if further else NO_MORE,
    )
    if dialled.sock is None:
        return probe
    if not further or probe.result(Stage.QUIET).outcome is not Outcome.OK:
        dial.leave(dialled.sock)
        return probe
    timeout = max(0.001, min(asked.timeout, ends - monotonic()))
    asked = replace(asked, session=asked.session and until is not Stage.HELLO, timeout=timeout)
    return _with(probe, talk(dialled.sock, asked, timeout, reset=dialled.reset))


def opened(
    route: Route,
    resolution: Resolution,
    timeout: float = CONNECT_TIMEOUT,
    quiet: float = QUIET,
    why: str = ONE_IS_ENOUGH,
) -> tuple[Probe, Dialled]:
    """As `tcp`, and the connection, which may still be there: leaving it is the caller's.

    `why` there is no more to it.
    """
    if not resolution.addresses:
        return untouched(route, resolution), Dialled(Outcome.UNREACHABLE, 0.0)
    dialled = dial.dial(resolution.addresses, route.port, timeout)
    results = [_resolved(resolution), _connected(dialled)]
    probe = Probe(route, (), resolution.addresses, dialled.address)
    if dialled.sock is None:
        return replace(probe, stages=stages(results)), dialled
    heard = Heard(Outcome.RESET, 0.0, error="ECONNRESET") if dialled.reset else dial.listen(dialled.sock, quiet)
    results.append(StageResult(Stage.QUIET, heard.outcome, heard.seconds, _heard(heard), heard.error))
    probe = replace(
        probe,
        stages=stages(results, why),
        source=_source(dialled.sock),
        first_bytes=stranger(heard.data) if heard.data else None,
        spoke_first=bool(heard.data),
        bytes_received=len(heard.data),
    )
    return probe, dialled


def untouched(route: Route, resolution: Resolution, same_as: str | None = None) -> Probe:
    """A route as far as its name goes: it has no address, or that of the earlier route `same_as`."""
    first = _resolved(resolution)
    why = f"the same address as {same_as}" if same_as else "not dialled"
    return Probe(route, stages([first], why), resolution.addresses, same_as=same_as)


def late(route: Route, resolution: Resolution) -> Probe:
    """A route whose dialling did not come to an end in its own time: of our making, and nothing was learnt."""
    failed = StageResult(Stage.CONNECT, Outcome.TIMED_OUT, detail="this machine was too busy to dial")
    return Probe(route, stages([_resolved(resolution), failed]), resolution.addresses)


# Results.


def stages(results: list[StageResult], why: str = "") -> tuple[StageResult, ...]:
    """All six: those that were walked, and the rest skipped because of the one that failed, or else of `why`."""
    failed = next((one for one in results if one.outcome is not Outcome.OK), None)
    because = f"{failed.stage.name} failed" if failed else why
    walked = {one.stage: one for one in results}
    return tuple(walked.get(stage) or StageResult(stage, Outcome.SKIPPED, detail=because) for stage in Stage)


_AT = {stage: at for at, stage in enumerate(Stage)}


def _with(probe: Probe, told: Told) -> Probe:
    """The probe with what a conversation gave."""
    values = {one.name: getattr(told, one.name) for one in fields(Told) if one.name != "results"}
    return replace(probe, stages=stages([*probe.stages[: _AT[Stage.HELLO]], *told.results], NO_SESSION), **values)


def _not_accepted(probe: Probe, dialled: Dialled) -> Probe:
    """The first connection was accepted, the next one not: the queue is full now, or the gateway went away."""
    failed = _connected(dialled)
    failed = replace(failed, detail=f"a first connection was accepted, another one not: {failed.detail}")
    return replace(probe, stages=stages([*probe.stages[: _AT[Stage.CONNECT]], failed]))


def _not_again(probe: Probe, hello: StageResult, dialled: Dialled) -> Probe:
    """The same after a handshake that was had: that one remains the result."""
    hello = _and(hello, f"another connection after it was not accepted: {dialled.detail}")
    at = _AT[Stage.HELLO]
    return replace(probe, stages=(*probe.stages[:at], hello, *probe.stages[at + 1 :]), attempts=probe.attempts + 1)


def _after(before: StageResult, hello: StageResult) -> StageResult:
    """The second answer to a hello, and what is to be kept of the first: of two silences, the longer one."""
    if before.outcome is hello.outcome is Outcome.TIMED_OUT:
        return _and(before, f"nor to a second handshake in {hello.seconds:.1f} s")
    return _and(hello, f"the handshake before this one: {before.outcome.value}")


def _and(one: StageResult, more: str) -> StageResult:
    return replace(one, detail=f"{one.detail}; {more}" if one.detail else more)


def _resolved(resolution: Resolution) -> StageResult:
    outcome = Outcome.OK if resolution.addresses else Outcome.UNREACHABLE if resolution.error else Outcome.TIMED_OUT
    return StageResult(Stage.RESOLVE, outcome, resolution.seconds, resolution.detail, resolution.error)


def _connected(dialled: Dialled) -> StageResult:
    return StageResult(Stage.CONNECT, dialled.outcome, dialled.seconds, dialled.detail, dialled.error)


def _heard(heard: Heard) -> str:
    after = f"{heard.seconds * 1000:.0f} ms after the connection was made"
    if heard.outcome is Outcome.OK:
        return ""
    if heard.outcome is Outcome.BAD_PEER:
        return f"it spoke first, {STRANGERS[stranger(heard.data)]}, {after}; a gateway waits for its client"
    how = {Outcome.CLOSED: "closed", Outcome.RESET: "reset"}.get(heard.outcome, "lost")
    return f"{how} before anything was said, {after}"


def _source(sock: socket.socket) -> str | None:
    try:
        return sock.getsockname()[0]
    except OSError:
        return None
