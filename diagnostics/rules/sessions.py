"""Rules for the session (5xx), what IB behind the gateway has to say (7xx), and account, mode and rate (8xx)."""

from __future__ import annotations

from diagnostics.evidence import Outcome, Probe, ProbeStage
from diagnostics.rules.rulebook import Match, Rule, failing_at, match, milliseconds_after, time_at, was_reset
from diagnostics.rules.run_view import KIND_OF_PORT, RunView, failure, ok, works
from relay.wire.heard import Heard, replayed

MAX_CLIENTS = 32  # at a time; IBKR's documentation of the API, page on connections

ID_IN_USE, TOO_FAST, PORT_CHANGED, READ_ONLY, COMPETING = 326, 100, 1300, 321, 10197

_id_refused = failing_at(ProbeStage.START_API, Outcome.REFUSED)
_closed = failing_at(ProbeStage.START_API, Outcome.CLOSED, Outcome.RESET)
_closed_later = failing_at(ProbeStage.SYNC, Outcome.CLOSED, Outcome.RESET)
_start_timed_out = failing_at(ProbeStage.START_API, Outcome.TIMED_OUT)
_sync_timed_out = failing_at(ProbeStage.SYNC, Outcome.TIMED_OUT)


def _id_in_use(run: RunView) -> Match | None:
    refused = _id_refused(run)
    probes = refused + tuple(probe for probe in _with_code(run, ID_IN_USE) if probe not in refused)
    client_id = run.evidence.asked.client_id
    which = "of this run" if client_id is None else str(client_id)
    ready = bool(probes) and ok(probes[0], ProbeStage.START_API)
    said = "the session was ready, then came error 326" if ready else "the gateway answered START_API with error 326"
    return match(probes, f"{said}: client id {which} is in use")


def _ghost(run: RunView) -> Match | None:
    probes = _id_refused(run)
    host = run.host(probes)
    if not host or not host.close_wait:
        return None
    return match(probes, f"the id is taken, and {host.close_wait} sockets on the port are in CLOSE_WAIT")


def _start_closed(run: RunView) -> Match | None:
    probes = _closed(run)
    if not probes:
        ready = "the session was ready, and the gateway ended the connection before it answered a request"
        return match(_closed_later(run), ready)
    how = "reset" if was_reset(probes[0]) else "closed"
    after = milliseconds_after(probes[0].result(ProbeStage.START_API).seconds, "it was sent")
    return match(probes, f"the hello was answered, START_API was not: {how}{after}")


def _start_silent(run: RunView) -> Match | None:
    probes = _start_timed_out(run)
    if not probes:
        return None
    missing = probes[0].result(ProbeStage.START_API).detail
    missing = missing or f"order id and accounts did not both come{time_at(probes, ProbeStage.START_API)}"
    return match(probes, f"the hello was answered{_version(run, probes[0])}; after START_API: {missing}")


def _version(run: RunView, probe: Probe) -> str:
    return "" if probe.server_version is None else f" ({run.evidence.asked.server_version(probe.server_version)})"


def _partial_sync(run: RunView) -> Match | None:
    probes = tuple(probe for probe in _sync_timed_out(run) if ok(probe, ProbeStage.START_API))
    unanswered = f"the current time was not answered{time_at(probes, ProbeStage.SYNC)}"
    return match(probes, f"order id and accounts came, {unanswered}")


# Seconds for the hello and the answer to START_API together: client.py and ib.py of ib_insync and ib_async.
CLIENT_WAITS = 4.0


def _slow_answer(run: RunView) -> Match | None:
    """It works for us, who wait longer than the usual clients do."""
    for probe in run.judged:
        if not works(probe, run.evidence.asked.session):
            continue
        times = [probe.result(stage).seconds or 0.0 for stage in (ProbeStage.HELLO, ProbeStage.START_API)]
        if sum(times) >= CLIENT_WAITS:
            took = f"the hello was answered after {times[0]:.1f} s, START_API after {times[1]:.1f} s"
            patience = f"ib_async and ib_insync give up after {CLIENT_WAITS:g} s for the two together"
            return match((probe,), f"{took}; {patience}")
    return None


def _client_limit(run: RunView) -> Match | None:
    """As many established connections as the gateway takes, and a new one that gets nowhere."""
    for probe in run.failing:
        host, failed = run.host((probe,)), failure(probe)
        turned_away = failed is not None and failed.stage in (ProbeStage.QUIET, ProbeStage.HELLO, ProbeStage.START_API)
        if turned_away and host and (host.established or 0) >= MAX_CLIENTS:
            return match((probe,), f"turned away, and {host.established} connections to the port are established")
    return None


def _with_code(run: RunView, code: int) -> tuple[Probe, ...]:
    return tuple(probe for probe in run.judged if code in probe.codes)


def _heard(probe: Probe) -> Heard:
    return replayed(probe.codes, probe.farms)


def _upstream_lost(run: RunView) -> Match | None:
    probes = tuple(probe for probe in run.judged if _heard(probe).upstream_lost)
    return match(probes, f"the gateway says so itself (code {_heard(probes[0]).upstream_lost})") if probes else None


def _farm_broken(run: RunView) -> Match | None:
    for probe in run.judged:
        if broken := _heard(probe).broken_farms:
            return match((probe,), f"reported as broken: {broken}")
    return None


def _coded(code: int, message: str) -> Rule:
    return lambda run: match(_with_code(run, code), message)


def _paper_live_mix(run: RunView) -> Match | None:
    mode = run.fact("env.TRADING_MODE").lower()
    for probe in run.judged:
        account = next(iter(probe.accounts), "")
        if not account:
            continue
        kind = "paper" if account.startswith("D") else "live"
        expected = KIND_OF_PORT.get(probe.route.port)
        if expected not in (None, kind):
            return match((probe,), f"{expected} by its port, and account {account} is a {kind} account")
        if mode in ("paper", "live") and mode != kind:
            return match((probe,), f"TRADING_MODE is {mode}, and account {account} is a {kind} account")
    return None


def _read_only(run: RunView) -> Match | None:
    probes = _with_code(run, READ_ONLY)
    if probes:
        return match(probes, "error 321 came: a request is not valid, or the API is read-only")
    if run.working and "write_access" in run.evidence.log_states:
        return Match("the gateway's log has the dialog about write access of an API client")
    return None


SESSION_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD501", _id_in_use),
    ("IBD502", _start_closed),
    ("IBD503", _start_silent),
    ("IBD504", _partial_sync),
    ("IBD505", _client_limit),
    ("IBD506", _ghost),
    ("IBD507", _slow_answer),
    ("IBD701", _upstream_lost),
    ("IBD702", _farm_broken),
    ("IBD704", _coded(PORT_CHANGED, "the gateway announced that its API port has changed (1300)")),
    ("IBD801", _paper_live_mix),
    ("IBD802", _read_only),
    ("IBD803", _coded(COMPETING, "error 10197: market data are blocked by a competing live session")),
    ("IBD804", _coded(TOO_FAST, "the gateway sent error 100: more than 50 messages a second")),
)
