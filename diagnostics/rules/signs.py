"""How each Sign is recognised. A sign is False while what it is about is not known."""

from __future__ import annotations

from collections.abc import Callable

from diagnostics.evidence import Outcome, Probe, ProbeStage
from diagnostics.findings.entry import Sign
from diagnostics.place.addresses import is_loopback
from diagnostics.place.host_names import HOST_NAMES
from diagnostics.rules.between import answering, dial_in_vain, nobody_behind
from diagnostics.rules.log_view import is_logged_in, state_holds
from diagnostics.rules.run_view import KIND_OF_PORT, RunView, failure_is, ok
from diagnostics.rules.sessions import MAX_CLIENTS

Predicate = Callable[[RunView, tuple[Probe, ...]], bool]

ARP_TAKES = 3.2  # seconds, at most, until the system knows that nobody has an address
# Seconds from our hello to the end. A refusal that a relay passes on takes milliseconds, or 1.02 s where it was heard
# at the second attempt only.
AT_ONCE = 2.0
# A dial to an address that nobody has takes a relay 3.06 s, one without an answer five (connect_timeout, unless it was
# set). An end at another time may still be a dial's, but its time does not speak for it.
DIALS_TAKE = ((3.0, 3.6), (4.95, 5.6))


def is_shown(sign: Sign, run: RunView, probes: tuple[Probe, ...]) -> bool:
    """Whether the run, or these probes of it, show the sign."""
    return PREDICATES[sign](run, probes)


# The gateway's log.


def _logged_in(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return is_logged_in(run.evidence.log_states)


def _session_elsewhere(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return state_holds(run.evidence.log_states, ("existing_session",), ("session_kept",)) is not None


def _logged_in_alone(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return _logged_in(run, probes) and not _session_elsewhere(run, probes)


def _forwarder_found_nobody(run: RunView, probes: tuple[Probe, ...]) -> bool:
    told = "forwarder_refused" in run.evidence.log_states
    refused = _all_behind(run, probes, lambda end: failure_is(end, ProbeStage.CONNECT, Outcome.REFUSED))
    return told or refused or (bool(probes) and all(nobody_behind(run, probe) for probe in probes))


def _forwarder_waits(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return "forwarder_timed_out" in run.evidence.log_states


# The sockets of the gateway's side.


def _listens_here(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return bool(probes) and all(run.listeners(probe) for probe in probes)


def _nobody_listens_here(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return bool(probes) and all(run.listeners(probe) == () for probe in probes)


def _not_only_loopback(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """The rule for IBD202 would have matched, or a runtime carries connections to the host's loopback."""
    to_loopback = all(is_loopback(probe.address or "") for probe in probes)
    return _nobody_listens_here(run, probes) or run.in_vm or to_loopback


def _queue_has_room(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """Once connected, we do not wait in the queue of a forwarder, but for what it passes us on to."""
    if _may_lead_out(run, tuple(probe for probe in probes if ok(probe, ProbeStage.CONNECT))):
        return False
    serving = [listener for probe in probes for listener in answering(run, probe)]
    return bool(serving) and all(listener.queue == 0 for listener in serving)


def _nothing_left_over(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """A gateway that accepts and then does nothing leaves something only later; one in a container leaves it there."""
    host = run.host(probes)
    return host is not None and host.close_wait == 0 and _queue_has_room(run, probes)


def _leftovers(run: RunView, probes: tuple[Probe, ...]) -> bool:
    host = run.host(probes)
    return host is not None and bool(host.close_wait)


def _few_clients(run: RunView, probes: tuple[Probe, ...]) -> bool:
    host = run.host(probes)
    return host is not None and host.established is not None and host.established < MAX_CLIENTS


def _nobody_dials(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """The sockets are looked at while we wait for an answer. An end that came at once was no wait, but no dial."""
    if _ended_by_hello(probes):
        return _ended_at_once(probes)
    host = run.host(probes)
    known = host is not None and host.syn_sent is not None
    return known and all(dial_in_vain(run, probe) is None for probe in probes)


# The place and the targets.


def _own_loopback_known(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return run.shares_the_host or not _dials_loopback(run, probes)


def _dials_loopback(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return any(is_loopback(probe.route.host) for probe in probes)


def _has_host_name(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return any(probe.route.host in HOST_NAMES for probe in probes)


def _from_loopback(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """Not where nobody can see what has the port, as on a Mac, nor where a forwarder leads out of loopback."""
    if run.host(probes) is None or not all(is_loopback(probe.address or "") for probe in probes):
        return False
    return not _may_lead_out(run, probes)


def _may_lead_out(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """A forwarder of this machine takes them, and passes them on to another address than loopback, or nobody knows."""
    between = [one for probe in probes if (one := run.forwarder(probe)) is not None]
    return any(one.upstream_address is None or not is_loopback(one.upstream_address) for one in between)


# What forwarders of this machine pass on to.


def _gateway_port_ends(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """In most images that port is the gateway's, and their own forwarder, which may have nobody behind it, another.

    Not on loopback: what ends a connection from there does not do it because of the address.
    """

    def turns_away(end: Probe) -> bool:
        return end.route.port in KIND_OF_PORT and not is_loopback(end.address or "") and _is_ended(end)

    return _all_behind(run, probes, turns_away)


def _all_behind(run: RunView, probes: tuple[Probe, ...], wanted: Callable[[Probe], bool]) -> bool:
    ends = [run.behind(probe) for probe in probes]
    return bool(ends) and all(end is not None and wanted(end) for end in ends)


def _is_ended(probe: Probe) -> bool:
    ended = (Outcome.CLOSED, Outcome.RESET)
    return any(failure_is(probe, stage, *ended) for stage in (ProbeStage.QUIET, ProbeStage.HELLO))


# How the connections went.


def _accepted_before(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """The address exists, and the queue had room then."""
    return any(probe.source is not None for probe in probes)


def _connect_took_seconds(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return any((probe.result(ProbeStage.CONNECT).seconds or 0.0) > ARP_TAKES for probe in probes)


def _bytes_arrived(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return bool(probes) and all(probe.kernel is not None and probe.kernel.unacknowledged == 0 for probe in probes)


def _reset_at_accept(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """Forwarders with nobody behind them, and gateways, close with FIN instead; and where one leads, it is no relay."""
    if _all_behind(run, probes, lambda end: is_loopback(end.address or "") and _is_ended(end)):
        return False
    return _all_ended_at(ProbeStage.QUIET, probes, Outcome.RESET)


def _ended_by_hello(probes: tuple[Probe, ...]) -> bool:
    """They were quiet until our hello and ended then."""
    return _all_ended_at(ProbeStage.HELLO, probes, Outcome.CLOSED, Outcome.RESET)


def closed_by_hello(probes: tuple[Probe, ...]) -> bool:
    """They were quiet until our hello, and ended then with FIN."""
    return _all_ended_at(ProbeStage.HELLO, probes, Outcome.CLOSED)


def _all_ended_at(stage: ProbeStage, probes: tuple[Probe, ...], *outcomes: Outcome) -> bool:
    return bool(probes) and all(failure_is(probe, stage, *outcomes) for probe in probes)


def _ended_like_a_dial(run: RunView, probes: tuple[Probe, ...]) -> bool:
    times = [probe.result(ProbeStage.HELLO).seconds or 0.0 for probe in probes]
    return _ended_by_hello(probes) and all(any(low <= time <= high for low, high in DIALS_TAKE) for time in times)


def _ended_at_once(probes: tuple[Probe, ...]) -> bool:
    return any((probe.result(ProbeStage.HELLO).seconds or 0.0) < AT_ONCE for probe in probes)


def _reset_at_once(run: RunView, probes: tuple[Probe, ...]) -> bool:
    return _all_ended_at(ProbeStage.HELLO, probes, Outcome.RESET) and _ended_at_once(probes)


PREDICATES: dict[Sign, Predicate] = {
    Sign.ALWAYS: lambda run, probes: True,
    Sign.ASKED_AS_A_CLIENT: lambda run, probes: run.evidence.asked.as_a_client,
    Sign.ACCEPTED_BEFORE: _accepted_before,
    Sign.BYTES_ARRIVED: _bytes_arrived,
    Sign.CONNECT_TOOK_SECONDS: _connect_took_seconds,
    Sign.DIALS_LOOPBACK: _dials_loopback,
    Sign.ENDED_LIKE_A_DIAL: _ended_like_a_dial,
    Sign.FEW_CLIENTS: _few_clients,
    Sign.FORWARDER_FOUND_NOBODY: _forwarder_found_nobody,
    Sign.FORWARDER_WAITS: _forwarder_waits,
    Sign.FROM_LOOPBACK: _from_loopback,
    Sign.GATEWAY_PORT_ENDS: _gateway_port_ends,
    Sign.LISTENS_HERE: _listens_here,
    Sign.LOGGED_IN: _logged_in,
    Sign.LOGGED_IN_ALONE: _logged_in_alone,
    Sign.LOGIN_NOT_KNOWN: lambda run, probes: not _logged_in(run, probes),
    Sign.NOBODY_DIALS: _nobody_dials,
    Sign.NOBODY_LISTENS_HERE: _nobody_listens_here,
    Sign.NOTHING_LEFT_OVER: _nothing_left_over,
    Sign.NOT_ONLY_LOOPBACK: _not_only_loopback,
    Sign.NO_HOST_NAME: lambda run, probes: not _has_host_name(run, probes),
    Sign.NO_LEFTOVERS_KNOWN: lambda run, probes: not _leftovers(run, probes),
    Sign.NO_NAME_OF_A_VM_HOST: lambda run, probes: not (run.in_vm and _has_host_name(run, probes)),
    Sign.OWN_LOOPBACK_KNOWN: _own_loopback_known,
    Sign.QUEUE_HAS_ROOM: _queue_has_room,
    Sign.RESET_AT_ACCEPT: _reset_at_accept,
    Sign.RESET_AT_ONCE: _reset_at_once,
    Sign.SESSION_ELSEWHERE: _session_elsewhere,
}
