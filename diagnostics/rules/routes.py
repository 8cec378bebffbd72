"""Rules for the way to the gateway: names (1xx), and routes until the first byte has arrived (2xx)."""

from __future__ import annotations

from diagnostics.evidence import KernelView, Outcome, Probe, ProbeStage, StageResult
from diagnostics.place.addresses import is_loopback
from diagnostics.place.host_names import HOST_NAMES
from diagnostics.place.setting import here
from diagnostics.rules.rulebook import (
    Match,
    Rule,
    counted,
    ended_by_hello,
    ended_early,
    error_of,
    failing_at,
    match,
    names,
    refused,
    silent,
    time_at,
)
from diagnostics.rules.run_view import (
    USUAL_DOCKER0,
    RunView,
    failure,
    is_other_port,
    name_of,
    ok,
    only_loopback,
    reach,
)

# Seconds. Linux asks three times for the owner of an address, a second apart, and gives up after 3.06 to 3.08 s
# (measured). A rule that forbids answers within a millisecond; but an answer that comes while connect() is still at
# work, as from the bridge of the same machine, is heard only at the second attempt, 1.02 s later (net/ipv4/tcp_ipv4.c,
# tcp_v4_err).
ARP_GIVES_UP = 2.0

# 1xx: names.

# getaddrinfo's errors: the resolver says that there is no such name (or no address of it), or it says nothing.
NO_SUCH_NAME = ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", None)
NO_ANSWER = ("EAI_AGAIN", "EAI_FAIL", "EAI_SYSTEM")


def _name_unknown(run: RunView) -> Match | None:
    def unknown(result: StageResult) -> bool:
        at_resolve = result.stage is ProbeStage.RESOLVE and result.outcome is Outcome.UNREACHABLE
        return at_resolve and result.error in NO_SUCH_NAME

    probes = run.failed(unknown)
    return match(probes, f"no such name{error_of(probes)}")


def _resolver_down(run: RunView) -> Match | None:
    def unanswered(result: StageResult) -> bool:
        return result.stage is ProbeStage.RESOLVE and (result.outcome is Outcome.TIMED_OUT or result.error in NO_ANSWER)

    message = "the look-up got no answer"
    if run.fact("network_mode") == "none":
        message += f"; {here(run.setting)} has no network (network mode none)"
    elif run.fact("resolver"):
        message += f"; name server {run.fact('resolver')}"
    return match(run.failed(unanswered), message)


def _wrong_family(run: RunView) -> Match | None:
    """A name whose first address is IPv6: that one failed, while an IPv4 address takes connections."""
    on_ipv4 = [probe for probe in run.counted if ok(probe, ProbeStage.CONNECT) and "." in (probe.address or "")]
    for probe in run.judged:
        first = probe.addresses[0] if probe.addresses else ""
        if probe.route.kind != "configured" or ":" not in first or first == probe.route.host or not on_ipv4:
            continue
        answered = any(other is probe for other in on_ipv4)
        failed = failure(probe)
        if answered or (failed and failed.stage is ProbeStage.CONNECT):
            address = probe.address if answered else on_ipv4[0].address
            message = f"{name_of(probe)} is {first} first, which did not take the connection; {address} did"
            return Match(message, (probe,))
    return None


def _hostname_is_vm(run: RunView) -> Match | None:
    """The host's name means the bridge of the virtual machine, and another way works."""
    if not run.in_vm:
        return None
    for probe in run.evidence.probes:
        if probe.route.host not in HOST_NAMES or not _is_docker0(run, probe) or reach(probe) >= run.best_reach:
            continue
        if failure(probe) is not None:
            bridge = f"the bridge inside the machine of {run.fact('flavour')}"
            return Match(f"{name_of(probe)} is {probe.address}, {bridge}; another route works", (probe,))
    return None


def _is_docker0(run: RunView, probe: Probe) -> bool:
    address = probe.address or (probe.addresses[0] if probe.addresses else "")
    return address == (run.fact("docker0") or USUAL_DOCKER0)


def _name_stale(run: RunView) -> Match | None:
    unanswered = failing_at(ProbeStage.CONNECT, Outcome.TIMED_OUT, Outcome.UNREACHABLE)(run)
    probe = next((probe for probe in unanswered if probe.route.host in HOST_NAMES), None)
    if probe is None or run.best is None or not run.best_reach:
        return None
    message = f"{name_of(probe)} is {probe.address}, where nobody answers; {name_of(run.best)} works"
    return Match(message, (probe,))


OWN_LOOPBACK = ("none", "default bridge", "user network", "overlay", "pasta", "slirp4netns")


def _localhost_in_container(run: RunView) -> Match | None:
    """Only where it is known that this is a container with a network of its own, and no pod with neighbours."""
    mode = run.fact("network_mode")
    if run.contained is not True or mode not in OWN_LOOPBACK:
        return None
    probes = failing_at(ProbeStage.CONNECT, Outcome.REFUSED)(run)
    to_loopback = tuple(probe for probe in probes if is_loopback(probe.route.host))
    return match(to_loopback, f"refused, and {here(run.setting)} has its own loopback (network mode {mode})")


def _repaired_setting(run: RunView) -> Match | None:
    settings = run.evidence.asked.repaired
    if not settings:
        return None
    sentences = (f"{one.origin} {one.value} has {', '.join(one.wrong)}; {one.repaired} was used" for one in settings)
    configured = tuple(probe for probe in run.counted if probe.route.kind == "configured")
    return Match("; ".join(sentences), configured)


def _held_up(run: RunView) -> Match | None:
    """An address of the name is silent, and one behind it is not: clients do not come to that one."""
    probes = tuple(probe for probe in _without_answer(run) if probe.answering is not None)
    return Match("; ".join(_waiting(run, probe) for probe in probes[:2]), probes) if probes else None


def _waiting(run: RunView, probe: Probe) -> str:
    place = probe.answering, probe.route.port
    there = (one for one in run.evidence.probes if (one.route.host, one.route.port) == place)
    outcome = next((one.result(ProbeStage.CONNECT).outcome for one in there), Outcome.SKIPPED)
    heard = {Outcome.OK: "takes connections", Outcome.REFUSED: "refuses"}.get(outcome, "answers")
    return (
        f"{_stands_for(probe)}; {probe.address} does not answer{time_at((probe,), ProbeStage.CONNECT)}, and "
        f"{_dialling(probe)} wait there, although {probe.answering} {heard}{_for_ibapi(probe, probe.answering)}"
    )


def _stands_for(probe: Probe) -> str:
    return f"{name_of(probe)} stands for {', '.join(probe.addresses[:4])}, in this order"


def _dialling(probe: Probe) -> str:
    """The clients that come to this address of the name."""
    return "ib_async, ib_insync and ibapi" if _first_ipv4(probe) == probe.address else "ib_async and ib_insync"


def _for_ibapi(probe: Probe, other: str | None) -> str:
    first = _first_ipv4(probe)
    return f"; ibapi dials {first} at once" if first == other else ""


def _stays_with_the_wrong_one(run: RunView) -> Match | None:
    """An address of the name takes the connection, no handshake comes of it, and at another one it does.

    Clients go on to the next address after a refusal, and never after a connection that was taken.
    """
    stuck = [probe for probe in run.failing if probe.route.kind != "address" and _fails_after_connect(probe)]
    pairs = [(probe, other) for probe in stuck if (other := _other_address(run, probe)) is not None]
    said = (
        f"{_stands_for(probe)}; {probe.address} takes the connection and {_does_then(probe)}, and {_dialling(probe)} "
        f"stay with it; {_answered(other)}{_for_ibapi(probe, other.address)}"
        for probe, other in pairs[:2]
    )
    return Match("; ".join(said), tuple(probe for probe, _ in pairs)) if pairs else None


def _fails_after_connect(probe: Probe) -> bool:
    failed = failure(probe)
    return failed is not None and failed.stage in (ProbeStage.QUIET, ProbeStage.HELLO)


def _other_address(run: RunView, probe: Probe) -> Probe | None:
    """The best of the routes to another address of its name, on its port, that answer the handshake."""
    others = (
        one for one in run.evidence.probes if one.route.port == probe.route.port and one.address in probe.addresses
    )
    answering = (one for one in others if one.address != probe.address and ok(one, ProbeStage.HELLO))
    return max(answering, key=reach, default=None)


def _does_then(probe: Probe) -> str:
    failed = failure(probe)
    after = "before a byte was said" if failed is not None and failed.stage is ProbeStage.QUIET else "at the hello"
    ends = {Outcome.CLOSED: f"closes it {after}", Outcome.RESET: f"resets it {after}"}
    ends[Outcome.BAD_PEER] = "is no IB gateway"
    if probe.bytes_received and failed is not None and failed.outcome is not Outcome.BAD_PEER:
        return "gives no whole answer to the hello"
    silent_for = f"gives no answer to the hello{time_at((probe,), ProbeStage.HELLO)}"
    return silent_for if failed is None else ends.get(failed.outcome, silent_for)


def _first_ipv4(probe: Probe) -> str | None:
    return next((address for address in probe.addresses if ":" not in address), None)


def _not_for_ibapi(run: RunView) -> Match | None:
    """It works, for clients that dial every address of a name: ibapi dials the first IPv4 address and no other.

    Of a name that is ::1 nothing is said: glibc makes 127.0.0.1 of it where IPv4 is asked for (nss/nss_files).
    """
    for probe in run.counted:
        address, first = probe.address, _first_ipv4(probe)
        works = probe.route.kind == "configured" and ok(probe, ProbeStage.CONNECT)
        if not works or address is None or address not in probe.addresses or "::1" in probe.addresses:
            continue
        before = probe.addresses[: probe.addresses.index(address)]
        if first is None:
            return Match(f"{name_of(probe)} is {address} and has no IPv4 address, which ibapi needs", (probe,))
        if first in before:
            seen = f"{first} did not take the connection and {address} did; ibapi dials {first} only"
            return Match(f"{name_of(probe)}: {seen}", (probe,))
    return None


# 2xx: the way there.


def _port_refuses(run: RunView) -> Match | None:
    probes = refused(run)
    times = [probe.result(ProbeStage.CONNECT).seconds for probe in probes]
    slowest = max((seconds for seconds in times if seconds is not None), default=None)
    after = "" if slowest is None else f" after {slowest * 1000:.1f} ms at most"
    return match(probes, f"refused{after}: the other end answered that nobody takes connections there")


def _loopback_bind(run: RunView) -> Match | None:
    """Refused on an address of this machine, whose only listener on the port is on loopback."""
    probes = tuple(
        probe
        for probe in refused(run)
        if not is_loopback(probe.address or "") and only_loopback(run.listeners(probe) or ())
    )
    if not probes:
        return None
    return match(probes, f"refused; here port {probes[0].route.port} is open on loopback only")


def _other_bridge(run: RunView) -> Match | None:
    """One bridge address of the host refuses and another works; not where the gateway is the virtual machine's."""
    best = run.best
    bridges = run.host_addresses
    if best is None or run.in_vm or not run.best_reach:
        return None
    if is_loopback(best.address or "") or best.address not in bridges:
        return None
    away = tuple(probe for probe in refused(run) if not is_loopback(probe.address or ""))
    probes = tuple(probe for probe in away if probe.address != best.address and probe.address in bridges)
    return match(probes, f"refused, while {name_of(best)} ({best.address}) works")


def _sibling_port(run: RunView) -> Match | None:
    """Turned away, while another port of the same machine answers: told with what that one answered."""
    # An end at a hello that asked for the versions of a client may be theirs, at the right port.
    by_hello = () if run.evidence.asked.as_a_client else ended_by_hello(run)
    turned_away = (*refused(run), *ended_early(run), *by_hello)
    pairs = [
        (probe, other)
        for probe in turned_away
        for other in (*run.siblings, *run.counted)
        if is_other_port(run, probe, other) and ok(other, _enough_beside(probe))
    ]
    if not pairs:
        return None
    answering = sorted({name_of(other): other for _, other in pairs}.values(), key=reach, reverse=True)
    beside = tuple({name_of(probe): probe for probe, _ in pairs}.values())
    best = answering[0]
    how = dict.fromkeys("connected and ended" if ok(probe, ProbeStage.CONNECT) else "refused" for probe in beside)
    also = dict.fromkeys(str(probe.route.port) for probe in answering if probe.route.port != best.route.port)
    ports = f"; so {'do' if len(also) > 1 else 'does'} {', '.join(also)}" if also else ""
    taken = f"on the same host port {best.route.port} takes connections{ports}"
    return Match(f"{names(beside)}: {' or '.join(how)}; {taken} ({_answered(best)})", (*answering, *beside))


def _enough_beside(probe: Probe) -> ProbeStage:
    """Beside a port that refuses, one that takes connections; beside one that ends them, only one that answers."""
    return ProbeStage.HELLO if ok(probe, ProbeStage.CONNECT) else ProbeStage.QUIET


def _answered(probe: Probe) -> str:
    if ok(probe, ProbeStage.START_API):
        return f"{name_of(probe)} gives a session"
    if ok(probe, ProbeStage.HELLO):
        return f"{name_of(probe)} answers the handshake"
    return "nothing was said to it" if failure(probe) is None else "the handshake was not answered"


# Seconds. The second attempt of a connect is sent after one; with less time (a slow name took it) silence means little.
SECOND_SYN = 1.0


def _without_answer(run: RunView) -> tuple[Probe, ...]:
    probes = failing_at(ProbeStage.CONNECT, Outcome.TIMED_OUT)(run)
    times = [(probe, probe.result(ProbeStage.CONNECT).seconds) for probe in probes]
    return tuple(probe for probe, seconds in times if seconds is None or seconds >= SECOND_SYN)


def _filtered(run: RunView) -> Match | None:
    probes = _without_answer(run)
    # Our end of an earlier connection is known: QUIET went well, and the dial for the handshake got no answer.
    if any(probe.source for probe in probes):
        return match(probes, "a first connection was accepted, the next got no answer")
    return match(
        probes, f"no answer to the connection attempt{time_at(probes, ProbeStage.CONNECT)}, neither yes nor no"
    )


def _no_such_host(run: RunView) -> Match | None:
    probes = _unreachable(run, at_once=False)
    return match(probes, "no machine has this address (no answer to ARP, EHOSTUNREACH)")


def _prohibited(run: RunView) -> Match | None:
    by_policy = failing_at(ProbeStage.CONNECT, Outcome.UNREACHABLE, errors=("EACCES", "EPERM"))(run)
    probes = _unreachable(run, at_once=True) + by_policy
    return match(probes, f"forbidden at once{error_of(probes)}")


def _unreachable(run: RunView, at_once: bool) -> tuple[Probe, ...]:
    probes = failing_at(ProbeStage.CONNECT, Outcome.UNREACHABLE, errors=("EHOSTUNREACH", "EHOSTDOWN"))(run)
    times = [(probe, probe.result(ProbeStage.CONNECT).seconds or ARP_GIVES_UP) for probe in probes]
    return tuple(probe for probe, seconds in times if (seconds < ARP_GIVES_UP) is at_once)


def _queue_full(run: RunView) -> Match | None:
    for probe in _without_answer(run):
        for listener in run.serving(probe):
            if listener.queue and (listener.backlog is None or listener.queue >= listener.backlog):
                limit = "" if listener.backlog is None else f" (the limit is {listener.backlog})"
                waiting = f"{counted(listener.queue, 'connection')} not accepted yet{limit}"
                return Match(f"{name_of(probe)}: no answer, and {waiting}", (probe,))
    return None


def _no_route(run: RunView) -> Match | None:
    probes = failing_at(ProbeStage.CONNECT, Outcome.UNREACHABLE, errors=("ENETUNREACH", "ENETDOWN", "EADDRNOTAVAIL"))(
        run
    )
    mode = "; network mode none" if run.fact("network_mode") == "none" else ""
    return match(probes, f"this system knows no way to the address{error_of(probes)}{mode}")


def _data_blackhole(run: RunView) -> Match | None:
    probes = tuple(probe for probe in silent(run) if _got_stuck(probe.kernel))
    kernel = probes[0].kernel if probes else None
    if kernel is None:
        return None
    signs = [counted(kernel.unacknowledged, "segment")] if kernel.unacknowledged else []
    signs += [f"sent again {counted(kernel.retransmits, 'time')}"] if kernel.retransmits else []
    signs += [f"{counted(kernel.unsent, 'byte')} waiting"] if kernel.unsent else []
    return match(probes, f"connected, and our bytes were not acknowledged ({', '.join(signs)})")


def _got_stuck(kernel: KernelView | None) -> bool:
    return kernel is not None and bool(kernel.unacknowledged or kernel.unsent)


ROUTE_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD101", _name_unknown),
    ("IBD102", _resolver_down),
    ("IBD103", _wrong_family),
    ("IBD104", _hostname_is_vm),
    ("IBD105", _name_stale),
    ("IBD106", _localhost_in_container),
    ("IBD107", _repaired_setting),
    ("IBD108", _held_up),
    ("IBD109", _not_for_ibapi),
    ("IBD110", _stays_with_the_wrong_one),
    ("IBD201", _port_refuses),
    ("IBD202", _loopback_bind),
    ("IBD203", _other_bridge),
    ("IBD204", _sibling_port),
    ("IBD205", _filtered),
    ("IBD206", _no_such_host),
    ("IBD207", _queue_full),
    ("IBD208", _prohibited),
    ("IBD209", _no_route),
    ("IBD210", _data_blackhole),
)
