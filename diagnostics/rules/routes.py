"""Rules for the way to the gateway: names (1xx), and routes until the first byte has arrived (2xx)."""

from __future__ import annotations

from diagnostics.evidence import Outcome, Probe, Stage
from diagnostics.place.routes import HOST_NAMES, is_loopback
from diagnostics.rules.rulebook import Found, Rule, at, counted, detail, names, refused, seconds, silent, told
from diagnostics.rules.seen import WILDCARDS, Seen, failure, name, ok, reach, stage_of

# Seconds. Linux asks three times for the owner of an address, a second apart, and gives up after 3.06 to 3.08 s
# (measured). A rule that forbids answers within a millisecond; but an answer that comes while connect() is still at
# work, as from the bridge of the same machine, is heard only at the second attempt, 1.02 s later (net/ipv4/tcp_ipv4.c,
# tcp_v4_err).
ARP_GIVES_UP = 2.0

# 1xx: names.

# getaddrinfo's errors: the resolver says that there is no such name (or no address of it), or it says nothing.
NO_SUCH_NAME = ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", None)
NO_ANSWER = ("EAI_AGAIN", "EAI_FAIL", "EAI_SYSTEM")


def _name_unknown(seen: Seen) -> Found:
    found = seen.those(
        lambda one: one.stage is Stage.RESOLVE and one.outcome is Outcome.UNREACHABLE and one.error in NO_SUCH_NAME
    )
    return told(found, f"no such name{detail(found)}")


def _resolver_down(seen: Seen) -> Found:
    found = seen.those(
        lambda one: one.stage is Stage.RESOLVE and (one.outcome is Outcome.TIMED_OUT or one.error in NO_ANSWER)
    )
    words = "the look-up got no answer"
    if seen.fact("network_mode") == "none":
        words += "; this container has no network (network mode none)"
    elif seen.fact("resolver"):
        words += f"; name server {seen.fact('resolver')}"
    return told(found, words)


def _wrong_family(seen: Seen) -> Found:
    """A name whose first address is IPv6: it failed, while an IPv4 address takes connections."""
    works_v4 = [one for one in seen.counted if ok(one, Stage.CONNECT) and "." in (one.address or "")]
    for probe in seen.judged:
        first = probe.addresses[0] if probe.addresses else ""
        if probe.route.kind != "configured" or ":" not in first or first == probe.route.host or not works_v4:
            continue
        answered = next((one for one in works_v4 if one is probe), None)
        failed = failure(probe)
        if answered or (failed and failed.stage is Stage.CONNECT):
            other = probe.address if answered else works_v4[0].address
            return f"{name(probe)} is {first} first, which did not take the connection; {other} did", (probe,)
    return None


def _hostname_is_vm(seen: Seen) -> Found:
    """The host's name means the bridge of the virtual machine, and another way works."""
    if not seen.in_vm:
        return None
    for probe in seen.evidence.probes:
        if probe.route.host not in HOST_NAMES or not _is_docker0(seen, probe) or reach(probe) >= reach_of_best(seen):
            continue
        if failure(probe) is not None:
            where = seen.fact("flavour")
            return f"{name(probe)} is {probe.address}, the bridge inside the machine of {where}; another route works", (
                probe,
            )
    return None


def reach_of_best(seen: Seen) -> int:
    """How far the best route came, 0 if it does not do what was asked for."""
    return reach(seen.best) if seen.best is not None and seen.working else 0


def _is_docker0(seen: Seen, probe: Probe) -> bool:
    address = probe.address or (probe.addresses[0] if probe.addresses else "")
    return address == (seen.fact("docker0") or "172.17.0.1")


def _name_stale(seen: Seen) -> Found:
    found = tuple(
        one for one in at(Stage.CONNECT, Outcome.TIMED_OUT, Outcome.UNREACHABLE)(seen) if one.route.host in HOST_NAMES
    )
    if not found or not reach_of_best(seen):
        return None
    return f"{name(found[0])} is {found[0].address}, where nobody answers; {name(seen.best)} works", found[:1]


OWN_LOOPBACK = ("none", "default bridge", "user network", "pasta", "slirp4netns")


def _localhost_in_container(seen: Seen) -> Found:
    """Only where it is known that this is a container with a network of its own, and no pod with neighbours."""
    if seen.contained is not True or seen.fact("network_mode") not in OWN_LOOPBACK:
        return None
    found = tuple(one for one in at(Stage.CONNECT, Outcome.REFUSED)(seen) if is_loopback(one.route.host))
    return told(found, f"refused, and this container has its own loopback (network mode {seen.fact('network_mode')})")


# 2xx: the way there.


def _port_refuses(seen: Seen) -> Found:
    found = refused(seen)
    took = [stage_of(one, Stage.CONNECT).seconds for one in found]
    slowest = max((one for one in took if one is not None), default=None)
    after = "" if slowest is None else f" after {slowest * 1000:.1f} ms at most"
    return told(found, f"refused{after}: the other end answered that nobody takes connections there")


def _loopback_bind(seen: Seen) -> Found:
    """Refused on an address of this machine, whose only listener on the port is on loopback."""
    found = tuple(
        one
        for one in refused(seen)
        if not is_loopback(one.address or "") and _bound_to_loopback(seen.listeners(one) or ())
    )
    return (
        told(found, f"refused; on this machine port {found[0].route.port} is open on loopback only") if found else None
    )


def _bound_to_loopback(listeners) -> bool:
    return bool(listeners) and all(is_loopback(one.address) and one.address not in WILDCARDS for one in listeners)


def _other_bridge(seen: Seen) -> Found:
    """One bridge address of the host refuses and another works; not where the gateway is the virtual machine's."""
    if seen.in_vm or not reach_of_best(seen) or is_loopback(seen.best.address or ""):
        return None
    found = tuple(one for one in refused(seen) if not is_loopback(one.address or "") and _same_kind(seen, one))
    return told(found, f"refused, while {name(seen.best)} ({seen.best.address}) works") if found else None


def _same_kind(seen: Seen, probe: Probe) -> bool:
    """Both are addresses of the container's host: bridge, default gateway, or the host's name."""
    here = (
        *seen.fact("default_gateway").split(", "),
        *(one.partition("=")[2] for one in seen.fact("hosts_entries").split(", ")),
    )
    bridges = {one for one in (*here, seen.fact("docker0"), "172.17.0.1") if one}
    return probe.address in bridges and seen.best.address in bridges and probe.address != seen.best.address


def _sibling_port(seen: Seen) -> Found:
    closed = refused(seen)
    answering = tuple(one for one in seen.siblings if ok(one, Stage.QUIET) and failure(one) is None)
    if not closed or not answering:
        return None
    ports = ", ".join(str(port) for port in dict.fromkeys(one.route.port for one in answering))
    return (
        f"{names(closed)}: refused; on the same host port {ports} takes connections (nothing was said to it)",
        answering + closed,
    )


# Seconds. The second attempt of a connect is sent after one; with less time (a slow name took it) silence means little.
SECOND_SYN = 1.0


def _no_answer(seen: Seen) -> tuple[Probe, ...]:
    found = at(Stage.CONNECT, Outcome.TIMED_OUT)(seen)
    took = [(one, stage_of(one, Stage.CONNECT).seconds) for one in found]
    return tuple(one for one, spent in took if spent is None or spent >= SECOND_SYN)


def _filtered(seen: Seen) -> Found:
    found = _no_answer(seen)
    if any(
        one.source for one in found
    ):  # this end of an earlier connection: QUIET went well, then the handshake's dial
        return told(found, "a first connection was accepted, the next got no answer")
    return told(found, f"no answer to the connection attempt{seconds(found, Stage.CONNECT)}, neither yes nor no")


def _no_such_host(seen: Seen) -> Found:
    return told(_unreachable(seen, at_once=False), "no machine has this address (no answer to ARP, EHOSTUNREACH)")


def _prohibited(seen: Seen) -> Found:
    found = _unreachable(seen, at_once=True) + at(Stage.CONNECT, Outcome.UNREACHABLE, errors=("EACCES", "EPERM"))(seen)
    return told(found, f"forbidden at once{detail(found)}")


def _unreachable(seen: Seen, at_once: bool) -> tuple[Probe, ...]:
    found = at(Stage.CONNECT, Outcome.UNREACHABLE, errors=("EHOSTUNREACH", "EHOSTDOWN"))(seen)
    return tuple(
        one for one in found if ((stage_of(one, Stage.CONNECT).seconds or ARP_GIVES_UP) < ARP_GIVES_UP) is at_once
    )


def _queue_full(seen: Seen) -> Found:
    for probe in _no_answer(seen):
        for one in seen.serving(probe):
            if one.queue and (one.backlog is None or one.queue >= one.backlog):
                limit = "" if one.backlog is None else f" (the limit is {one.backlog})"
                return f"{name(probe)}: no answer, and {one.queue} connections wait to be accepted{limit}", (probe,)
    return None


def _no_route(seen: Seen) -> Found:
    found = at(Stage.CONNECT, Outcome.UNREACHABLE, errors=("ENETUNREACH", "ENETDOWN", "EADDRNOTAVAIL"))(seen)
    mode = "; network mode none" if seen.fact("network_mode") == "none" else ""
    return told(found, f"this system knows no way to the address{detail(found)}{mode}")


def _data_blackhole(seen: Seen) -> Found:
    found = tuple(one for one in silent(seen) if one.kernel and (one.kernel.unacknowledged or one.kernel.unsent))
    if not found:
        return None
    kernel = found[0].kernel
    signs = [counted(kernel.unacknowledged, "segment")] if kernel.unacknowledged else []
    signs += [f"sent again {counted(kernel.retransmits, 'time')}"] if kernel.retransmits else []
    signs += [f"{counted(kernel.unsent, 'byte')} waiting"] if kernel.unsent else []
    return told(found, f"connected, and our bytes were not acknowledged ({', '.join(signs)})")


ROUTE_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD101", _name_unknown),
    ("IBD102", _resolver_down),
    ("IBD103", _wrong_family),
    ("IBD104", _hostname_is_vm),
    ("IBD105", _name_stale),
    ("IBD106", _localhost_in_container),
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
