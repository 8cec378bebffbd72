"""Rules for what answers behind an accepted connection (3xx), and whether it is an IB gateway (4xx)."""

from __future__ import annotations

from diagnostics.evidence import Asked, Outcome, Probe, ProbeStage, StageResult
from diagnostics.findings.client_libraries import needing_more_than
from diagnostics.place.addresses import is_loopback
from diagnostics.rules.between import answering, between, dial_in_vain
from diagnostics.rules.log_view import DONE, LISTENING, is_logged_in, log_name, log_view, seen_at, when
from diagnostics.rules.rulebook import (
    Match,
    Rule,
    counted,
    ended_by_hello,
    ended_early,
    half_answered,
    match,
    milliseconds_after,
    refused,
    silent,
    time_at,
    was_reset,
)
from diagnostics.rules.run_view import RunView, failure, failures, name_of, ok
from relay.wire.hello import hello_part

# 3xx: what is behind an accepted connection.


def _no_backend(run: RunView) -> Match | None:
    probes = ended_early(run)
    if not probes:
        return None
    how = "reset" if was_reset(probes[0]) else "closed"
    after = milliseconds_after(probes[0].result(ProbeStage.QUIET).seconds, "it was accepted")
    return match(probes, f"connected, and {how}{after}, before a byte was said{_passed_on(run, probes[0])}")


def _passed_on(run: RunView, probe: Probe) -> str:
    """What the place to which a forwarder here passes this on did with us; "" where none is known."""
    forwarder, end = run.forwarder(probe), run.behind(probe)
    failed = None if end is None else failure(end)
    if forwarder is None or end is None or failed is None:
        return ""
    does = "gives no answer, either"
    if failed.outcome is Outcome.REFUSED:
        does = "refuses"
    elif failed.outcome in (Outcome.CLOSED, Outcome.RESET):
        does = "ends it, too"
    return f"; {forwarder.program} passes it on to {name_of(end)}, which {does}"


def _peer_rejected(run: RunView) -> Match | None:
    """Turned away, while from another source address it is not: by way of loopback the same machine's port answers."""
    ended = ended_early(run) + ended_by_hello(run)
    inside = [probe for probe in run.counted if is_loopback(probe.address or "") and ok(probe, ProbeStage.HELLO)]
    ports = {probe.route.port for probe in inside}
    away = tuple(probe for probe in ended if run.is_local(probe) and not is_loopback(probe.address or ""))
    probes = tuple(probe for probe in away if probe.route.port in ports)
    if not probes or not inside:
        return None
    return match(probes, f"connected and closed; from 127.0.0.1 ({name_of(inside[0])}) the handshake works")


def _silence(run: RunView) -> Match | None:
    probes = silent(run)
    if not probes:
        return None
    first = probes[0]
    arrived = "whether our bytes were acknowledged is not known"
    if first.kernel is not None and first.kernel.unacknowledged is not None:
        arrived = "our bytes were acknowledged"
    tries = f", {first.attempts} handshakes" if first.attempts > 1 else ""
    answer = f"no byte in answer to the hello{time_at(probes, ProbeStage.HELLO)}{tries}"
    return match(probes, f"connected, {answer}; {arrived}{_passed_on(run, first)}")


def _wedged(run: RunView) -> Match | None:
    """The gateway's own sockets: what it never accepted or never closed."""
    for probe in silent(run):
        host, waiting = run.host((probe,)), _waiting(run, probe)
        left = (host.close_wait or 0) if host else 0
        if waiting or (left and dial_in_vain(run, probe) is None):
            signs = [f"{counted(waiting, 'connection')} not accepted yet{_where_behind(run, probe)}"] if waiting else []
            signs += [f"{counted(left, 'socket')} in CLOSE_WAIT"] if left else []
            return match((probe,), f"no answer to the hello, and here {' and '.join(signs)}")
    return None


def _waiting(run: RunView, probe: Probe) -> int:
    """Connections that the program which has to answer has not accepted."""
    return sum(listener.queue or 0 for listener in answering(run, probe))


def _where_behind(run: RunView, probe: Probe) -> str:
    behind = between(run, probe)
    return f" at {behind.upstream}, where {behind.program} leads" if behind is not None and behind.is_sure else ""


def _proxy_dialing(run: RunView) -> Match | None:
    """It accepts, so it is not the one that hangs; and it, or somebody beside it, dials such a port in vain."""
    probes = tuple(probe for probe in silent(run) if not _waiting(run, probe))
    dialling = {id(probe): place for probe in probes if (place := dial_in_vain(run, probe)) is not None}
    if dialling:
        place = next(iter(dialling.values()))
        before = tuple(probe for probe in probes if id(probe) in dialling)
        return match(before, f"no answer to the hello, and a dial to {place} gets no answer here (SYN_SENT)")
    if "forwarder_timed_out" in run.evidence.log_states:
        return match(probes, "no answer to the hello, and the forwarder's log says that its own dial timed out")
    return None


def _first_slow(run: RunView) -> Match | None:
    probes = tuple(probe for probe in run.judged if probe.attempts > 1 and ok(probe, ProbeStage.HELLO))
    if not probes:
        return None
    return match(probes, f"the first handshake got no answer, number {probes[0].attempts} did")


def _never_opened(run: RunView) -> Match | None:
    """The log says that it is up, and the machine that nobody listens: only the two together show it."""
    port = log_view(run).api_port
    probes = tuple(probe for probe in _closed_here(run) if port in (None, probe.route.port))
    said = f"{log_name(run)} says that {_is_up(run)}, and nothing listens on the port here"
    if port is not None:
        since = when(run, seen_at(run, LISTENING))
        closed = "nothing listens on it here: it is closed now, or the log is another machine's"
        said = f"{log_name(run)} says that the API listened on port {port}{since}, and {closed}"
    return match(probes, said)


def _port_not_of_the_log(run: RunView) -> Match | None:
    """Nobody listens on the port that was dialled, and the log names another."""
    port = log_view(run).api_port
    probes = tuple(probe for probe in _closed_here(run) if port not in (None, probe.route.port))
    said = f"{log_name(run)} says that the API listens on port {port}{when(run, seen_at(run, LISTENING))}"
    return match(probes, f"nothing listens on the port here; {said}")


def _closed_here(run: RunView) -> tuple[Probe, ...]:
    """Refused by this machine, on which nobody listens on the port, while the log tells of a gateway that is up."""
    if not is_logged_in(run.evidence.log_states):
        return ()
    return tuple(probe for probe in refused(run) if run.listeners(probe) == ())


def _is_up(run: RunView) -> str:
    at = next((state for state in reversed(run.evidence.log_states) if state in DONE), "")
    return f"{'the API listens' if at == LISTENING else 'the login is complete'}{when(run, seen_at(run, at))}"


# 4xx: the first bytes.

PROTOCOLS = {
    "http": "HTTP",
    "tls": "TLS",
    "ssh": "the greeting of an SSH server",
    "vnc": "the greeting of a VNC server",
    "text": "text",
}


def _bad_peer(run: RunView) -> tuple[Probe, ...]:
    return tuple(probe for probe in run.failed_at(ProbeStage.HELLO, Outcome.BAD_PEER) if probe.redirect is None)


def _banner(run: RunView) -> Match | None:
    probes = run.failed_at(ProbeStage.QUIET, Outcome.BAD_PEER)
    probes += tuple(probe for probe in _bad_peer(run) if probe.spoke_first or probe.first_bytes in ("ssh", "vnc"))
    if not probes:
        return None
    protocol = PROTOCOLS.get(probes[0].first_bytes or "", "bytes of no protocol known here")
    when = " before we had said anything" if probes[0].spoke_first else ""
    return match(probes, f"{protocol} came{when}")


def _not_ib(protocol: str, message: str) -> Rule:
    def rule(run: RunView) -> Match | None:
        answering = tuple(probe for probe in _bad_peer(run) if not probe.spoke_first)
        return match(tuple(probe for probe in answering if probe.first_bytes == protocol), message)

    return rule


def _closed_after_hello(run: RunView) -> Match | None:
    probes = ended_by_hello(run)
    if not probes:
        return None
    how = "reset" if was_reset(probes[0]) else "closed (FIN)"
    after = _after(probes[0].result(ProbeStage.HELLO).seconds)
    asked = run.evidence.asked
    range_asked = f"{asked.min_version}..{asked.max_version} was asked for, of which it may speak none"
    none_of_them = f"; {range_asked}" if asked.as_a_client else ""
    seen = f"quiet until our hello, then {how}{after} without an answer"
    return match(probes, f"{seen}{none_of_them}{_passed_on(run, probes[0])}")


def _after(seconds: float | None) -> str:
    """Whether it came at once tells more than anything else about such an end."""
    if seconds is None:
        return ""
    return f" after {seconds * 1000:.0f} ms" if seconds < 1.0 else f" after {seconds:.1f} s"


def _bad_frame(run: RunView) -> Match | None:
    named = ("http", "tls", "ssh", "vnc")
    strange = tuple(
        probe
        for probe in _bad_peer(run)
        if not probe.spoke_first and probe.first_bytes not in named and probe.server_version is None
    )
    strange += run.failed_at(ProbeStage.START_API, Outcome.BAD_PEER) + run.failed_at(ProbeStage.SYNC, Outcome.BAD_PEER)
    return match(strange, _strange_answer(failures(strange)[0])) if strange else None


def _strange_answer(failed: StageResult) -> str:
    return failed.detail or f"the bytes at {failed.stage.name} are not the IB protocol"


TELLING = 5  # bytes of a hello: its length, and the first digit of the version (relay/wire/hello.py)


def _half_a_hello(run: RunView) -> Match | None:
    """A gateway's hello as far as it came. That something else has the port cannot be said of it.

    Nor that it is a gateway, before the length and the first digit have come: many services begin with a NUL.
    """
    probes = half_answered(run)
    if not probes:
        return None
    first = probes[0]
    few = first.bytes_received < TELLING
    part = (
        f"{counted(first.bytes_received, 'byte')} came" if few else hello_part(first.bytes_received, first.hello_length)
    )
    failed = failures(probes[:1])[0]
    ends = {Outcome.CLOSED: ", then it was closed (FIN)", Outcome.RESET: ", then it was reset"}
    end = ends.get(failed.outcome)
    when = time_at(probes, ProbeStage.HELLO) if end is None else f"{end}{_after(failed.seconds)}"
    doubt = "; a gateway's hello may begin so" if few else ""
    return match(probes, f"{'only ' if end is None else ''}{part}{when}{doubt}")


_NAMED = 4  # client libraries in one message


def _other_version(run: RunView) -> Match | None:
    """By the range that was asked for as a client does, else by those of the libraries known here."""
    asked = run.evidence.asked
    versions = [(probe, probe.server_version) for probe in run.judged if probe.server_version is not None]
    unfit = [(probe, version) for probe, version in versions if version > asked.max_version or _is_old(version, asked)]
    if not unfit:
        return None
    version = unfit[0][1]
    wanted = f"{asked.min_version}..{asked.max_version} was asked for"
    if not asked.as_a_client and version < asked.max_version:
        needing = needing_more_than(version)
        more = f" and {len(needing) - _NAMED} more" if len(needing) > _NAMED else ""
        wanted = f"newer ones are needed by {', '.join(map(str, needing[:_NAMED]))}{more}"
    return match(tuple(probe for probe, _ in unfit), f"server version {version}; {wanted}")


def _is_old(version: int, asked: Asked) -> bool:
    if asked.as_a_client:
        return version < asked.min_version
    # An answer with our own maximum may be that of any newer one.
    return version < asked.max_version and bool(needing_more_than(version))


def _redirected(run: RunView) -> Match | None:
    probes = tuple(probe for probe in run.judged if probe.redirect is not None)
    return match(probes, f"the answer to the hello was: ask {probes[0].redirect}") if probes else None


PEER_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD301", _no_backend),
    ("IBD302", _peer_rejected),
    ("IBD303", _silence),
    ("IBD305", _wedged),
    ("IBD307", _proxy_dialing),
    ("IBD308", _first_slow),
    ("IBD310", _never_opened),
    ("IBD311", _port_not_of_the_log),
    ("IBD401", _banner),
    ("IBD402", _not_ib("http", "the answer to the hello was HTTP")),
    ("IBD403", _not_ib("tls", "the answer to the hello was TLS")),
    ("IBD404", _closed_after_hello),
    ("IBD405", _bad_frame),
    ("IBD406", _other_version),
    ("IBD407", _redirected),
    ("IBD408", _half_a_hello),
)
