"""What a finding could be where the container alone cannot tell: explanations in order, with the check that decides.

A table of orders, likely ones first. What is seen of the gateway's side, of this place, or in its log removes what it
excludes and moves up what it supports; it never makes one certain, that is what rules are for.
"""

from __future__ import annotations

from collections.abc import Callable

from diagnostics.evidence import Outcome, Probe, Stage
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.place.routes import HOST_NAMES, is_loopback
from diagnostics.rules.diagnosis import Candidate
from diagnostics.rules.logins import DONE
from diagnostics.rules.seen import Seen, failure, stage_of

Doubt = Callable[[Seen, tuple[Probe, ...]], bool]

# Finding -> what it could be, itself among them where it is one of the explanations.
ORDERS: dict[str, tuple[str, ...]] = {
    "IBD201": ("IBD201", "IBD202", "IBD106", "IBD104", "IBD601", "IBD602", "IBD310", "IBD208"),
    "IBD205": ("IBD205", "IBD207", "IBD206", "IBD105"),
    "IBD206": ("IBD206", "IBD208"),
    "IBD301": ("IBD301", "IBD302", "IBD601", "IBD602", "IBD605", "IBD607", "IBD310", "IBD505"),
    "IBD303": ("IBD305", "IBD304", "IBD306", "IBD307", "IBD210", "IBD309"),
    "IBD305": ("IBD305", "IBD306"),
    "IBD404": ("IBD302", "IBD301", "IBD307", "IBD404", "IBD601", "IBD505"),
    "IBD501": ("IBD501", "IBD506"),
    "IBD502": ("IBD501", "IBD602", "IBD505", "IBD502"),
    "IBD503": ("IBD602", "IBD605", "IBD607", "IBD309", "IBD601"),
    "IBD701": ("IBD703", "IBD611", "IBD607"),
}

# What decides, where it differs from the catalogue's own check of that code: said from the point of view of the
# finding.
CHECKS: dict[tuple[str, str], str] = {
    ("IBD201", "IBD201"): "ss -ltn 'sport = :PORT' on the gateway's host shows nothing.",
    ("IBD201", "IBD202"): "ss -ltn 'sport = :PORT' on the gateway's host shows 127.0.0.1 or [::1] only.",
    (
        "IBD201",
        "IBD208",
    ): "ss -ltn on the gateway's host shows a line for all addresses: a firewall rejects (nft list ruleset).",
    ("IBD201", "IBD106"): "Is the gateway really in this container? If not, 127.0.0.1 is the wrong target.",
    (
        "IBD201",
        "IBD104",
    ): "Remove the extra_hosts line for this name; the runtime's own answer should be another address.",
    (
        "IBD205",
        "IBD205",
    ): "On the gateway's host Recv-Q of the listening socket is low (ss -ltn), and the firewall logs drops.",
    ("IBD205", "IBD206"): "Wait longer than 3.2 s: then it says that nobody has the address.",
    ("IBD301", "IBD301"): "docker exec GATEWAY ss -ltn: nothing listens on the inner port, or only on 127.0.0.1.",
    ("IBD301", "IBD302"): "The same port on 127.0.0.1 where the gateway runs works; or a relay has the port, and its "
    "log says acl_denied or connection_limit.",
    ("IBD303", "IBD210"): "ss -tin during the attempt: unacked and retrans above zero.",
    ("IBD303", "IBD306"): "docker inspect GATEWAY says paused, or ps shows the state T.",
    (
        "IBD303",
        "IBD305",
    ): "ss on the gateway's side: sockets in CLOSE_WAIT on the API port, or Recv-Q of its listener above zero.",
    ("IBD404", "IBD301"): "The relay's log (its terminal, or ib-relay service status) says connection_refused; or "
    "nothing listens where it dials (ss -ltn there).",
    ("IBD404", "IBD302"): "From 127.0.0.1 beside the gateway, without a forwarder, the handshake works.",
    ("IBD404", "IBD307"): "The relay's log says connect_timeout or unreachable; ss -tn beside it shows SYN-SENT.",
    ("IBD404", "IBD404"): "From 127.0.0.1 beside the gateway it ends the same way: look who has the port (ss -ltnp), "
    "then at versions.",
    ("IBD404", "IBD601"): "The gateway's log goes on, and 'Login has completed' has not come yet.",
    ("IBD501", "IBD501"): "Another client id works: the old one belongs to a program that is running.",
    ("IBD502", "IBD501"): "Another client id works.",
    ("IBD502", "IBD502"): "No other id works, and the log says that the login is complete: restart the gateway.",
    ("IBD503", "IBD601"): "The log goes on, and the login is not complete yet: wait.",
}
# The same for an end with FIN: ib-relay passes a refused dial on as a reset, so it did reach somebody.
CHECKS_OF_FIN: dict[tuple[str, str], str] = {
    ("IBD404", "IBD301"): "A relay's log says upstream_closed, and what it dials is a forwarder itself (docker-proxy, "
    "socat): nothing listens on its inner port.",
}

# What an explanation is, where its title does not say it: a title tells what was seen elsewhere, in its own finding.
MEANINGS: dict[tuple[str, str], str] = {
    ("IBD301", "IBD302"): "the gateway, or the relay before it, turns this address away",
    ("IBD404", "IBD301"): "a relay or another forwarder took the connection, and no gateway is behind it",
    ("IBD404", "IBD404"): "what listens there is no IB gateway, or one that speaks none of the versions offered",
}


def candidates(seen: Seen, code: str, probes: tuple[Probe, ...]) -> tuple[Candidate, ...]:
    """The explanations of this finding; () where what was seen leaves only one, or the finding is the explanation."""
    possible = [one for one in ORDERS.get(code, ()) if not _excluded(seen, probes, one)]
    possible.sort(key=lambda one: _weight(seen, probes, one))  # stable: the order of the table otherwise
    if possible in ([], [code]):
        return ()
    return tuple(Candidate(one, _check(code, one, probes)) for one in possible)


def _check(code: str, candidate: str, probes: tuple[Probe, ...]) -> str:
    fin = CHECKS_OF_FIN.get((code, candidate)) if _ended_by_hello(probes, Outcome.CLOSED) else None
    check = fin or CHECKS.get((code, candidate)) or CATALOGUE[candidate].check
    return check.replace("PORT", str(probes[0].route.port)) if probes else check


def _excluded(seen: Seen, probes: tuple[Probe, ...], candidate: str) -> bool:
    rule = EXCLUDED.get(candidate)
    return rule is not None and rule(seen, probes)


def _weight(seen: Seen, probes: tuple[Probe, ...], candidate: str) -> int:
    supported, doubted = SUPPORTED.get(candidate), DOUBTED.get(candidate)
    if supported is not None and supported(seen, probes):
        return 0
    return 2 if doubted is not None and doubted(seen, probes) else 1


# What is known of the other end. Each is False while it is not known.


def _logged_in(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return bool(set(DONE) & set(seen.evidence.log_states))


def _listens_here(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """On this machine, which is the other end, somebody has the port."""
    return bool(probes) and all(seen.listeners(one) for one in probes)


def _nobody_listens_here(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return bool(probes) and all(seen.listeners(one) == () for one in probes)


def _not_only_loopback(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """The rule for IBD202 would have found it, or a runtime carries connections to the host's loopback."""
    return _nobody_listens_here(seen, probes) or seen.in_vm or all(is_loopback(one.address or "") for one in probes)


def _own_loopback_known(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    shared = seen.contained is False or seen.fact("network_mode") == "host"
    return shared or not any(is_loopback(one.route.host) for one in probes)


def _no_vm_name(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return not (seen.in_vm and any(one.route.host in HOST_NAMES for one in probes))


def _not_a_name(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return not any(one.route.host in HOST_NAMES for one in probes)


def _arrived(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """Our bytes were acknowledged."""
    return bool(probes) and all(one.kernel is not None and one.kernel.unacknowledged == 0 for one in probes)


def _queue_short(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """The queue of the listener is seen and has room."""
    rows = [row for one in probes for row in seen.serving(one)]
    return bool(rows) and all(row.queue == 0 for row in rows)


def _took_a_second(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return any((stage_of(one, Stage.CONNECT).seconds or 0.0) > 3.2 for one in probes)


def _clean(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """Nothing is left over on the gateway's side; one that accepts and then does nothing shows it only later."""
    host = seen.host(probes)
    return bool(host) and host.close_wait == 0 and _queue_short(seen, probes)


def _nobody_dials(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """The sockets were looked at while we waited; not so for an end that came at once, but that was no wait, either."""
    if _ended_by_hello(probes):
        return not _ended_late(seen, probes)
    host = seen.host(probes)
    return bool(host) and host.syn_sent == 0


# Seconds from our hello to the end. A refusal that a relay passes on takes milliseconds, or 1.02 s where it was heard
# at the second attempt only; an address nobody has takes it 3.06 s, and a dial without an answer five
# (connect_timeout).
AT_ONCE = 2.0


def _ended_by_hello(probes: tuple[Probe, ...], *outcomes: Outcome) -> bool:
    """They were quiet until our hello and ended then, in one of these ways if any are named."""
    wanted = outcomes or (Outcome.CLOSED, Outcome.RESET)
    ends = [failure(one) for one in probes]
    return bool(ends) and all(one and one.stage is Stage.HELLO and one.outcome in wanted for one in ends)


def _reset_at_accept(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """As ib-relay turns away whom it does not admit.

    Forwarders with nobody behind them, and gateways, close with FIN.
    """
    ends = [failure(one) for one in probes]
    return bool(ends) and all(one and one.stage is Stage.QUIET and one.outcome is Outcome.RESET for one in ends)


def _ended_late(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return _ended_by_hello(probes) and all((failure(one).seconds or 0.0) >= AT_ONCE for one in probes)


def _reset_at_once(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """As ib-relay passes on that its own dial was refused."""
    return _ended_by_hello(probes, Outcome.RESET) and not _ended_late(seen, probes)


def _from_loopback(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """The other end sees a loopback address, which a gateway trusts; but a forwarder may be in between."""
    return bool(probes) and all(is_loopback(one.address or "") for one in probes)


def _few_clients(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    host = seen.host(probes)
    return bool(host) and host.established is not None and host.established < 32


def _accepted_before(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    """A first connection was accepted: the address exists, and the queue had room then."""
    return any(one.source is not None for one in probes)


def _forwarder_found_nobody(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return "forwarder_refused" in seen.evidence.log_states


def _forwarder_waits(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return "forwarder_timed_out" in seen.evidence.log_states


def _accepted_before_or_waits(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return _accepted_before(seen, probes) or _forwarder_waits(seen, probes)


def _leftovers(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    host = seen.host(probes)
    return bool(host and host.close_wait)


def _session_elsewhere(seen: Seen, probes: tuple[Probe, ...]) -> bool:
    return "existing_session" in seen.evidence.log_states


EXCLUDED: dict[str, Doubt] = {
    "IBD104": _no_vm_name,
    "IBD105": _not_a_name,
    "IBD106": _own_loopback_known,
    "IBD201": _listens_here,
    "IBD202": _not_only_loopback,
    "IBD206": lambda seen, probes: _took_a_second(seen, probes) or _accepted_before(seen, probes),
    "IBD207": _queue_short,
    "IBD208": _nobody_listens_here,
    "IBD210": _arrived,
    "IBD302": _forwarder_found_nobody,
    "IBD307": _nobody_dials,
    "IBD310": lambda seen, probes: not _logged_in(seen, probes),
    "IBD505": _few_clients,
    "IBD506": lambda seen, probes: not _leftovers(seen, probes),
    "IBD601": _logged_in,
    "IBD602": _logged_in,
    "IBD605": _logged_in,
    "IBD607": lambda seen, probes: _logged_in(seen, probes) and not _session_elsewhere(seen, probes),
}

SUPPORTED: dict[str, Doubt] = {
    "IBD106": lambda seen, probes: any(is_loopback(one.route.host) for one in probes),
    "IBD207": _accepted_before_or_waits,
    "IBD208": _listens_here,
    "IBD301": lambda seen, probes: _forwarder_found_nobody(seen, probes) or _reset_at_once(seen, probes),
    "IBD302": _reset_at_accept,
    "IBD307": lambda seen, probes: _forwarder_waits(seen, probes) or _ended_late(seen, probes),
    "IBD310": _logged_in,
    "IBD607": _session_elsewhere,
}

DOUBTED: dict[str, Doubt] = {
    "IBD309": lambda seen, probes: True,  # seldom, and IBC answers that dialog by default
    "IBD302": _from_loopback,
    "IBD304": _from_loopback,
    "IBD305": _clean,
    "IBD306": _queue_short,  # of the listener that is seen, which may be a relay's
}
