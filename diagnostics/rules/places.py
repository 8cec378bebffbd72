"""Rules about the place itself: what its network cannot do, and what is open in it."""

from __future__ import annotations

from diagnostics.evidence import Forwarder, Outcome, ProbeStage
from diagnostics.place.setting import ROOTLESS
from diagnostics.rules.rulebook import Match, Rule, error_of, failing_at, match
from diagnostics.rules.run_view import WILDCARDS, RunView, failure_is


def _no_host_loopback(run: RunView) -> Match | None:
    """A user-mode network answers "no network" for its host's loopback, although there is a default route."""
    rootless = run.fact("rootless") == "yes" or run.fact("network_mode") == "slirp4netns"
    gateway = run.fact("default_gateway")
    if not rootless or not gateway:
        return None
    probes = failing_at(ProbeStage.CONNECT, Outcome.UNREACHABLE, errors=("ENETUNREACH",))(run)
    return match(
        probes, f"refused by the rootless engine's network{error_of(probes)}; the default gateway is {gateway}"
    )


def _port_exposed(run: RunView) -> Match | None:
    """Of a container's own processes nothing is said: its network is no machine's, and images forward inside.

    A rootless engine's "host" is a network of its own, too. Nor of a port that was seen to lead to another service.
    """
    host = run.evidence.host
    if host is None or not run.shares_the_host or run.setting in ROOTLESS:
        return None
    open_to_all = [
        one for one in host.forwarders if one.open and one.address in WILDCARDS and not _leads_astray(run, one)
    ]
    told = ", ".join(dict.fromkeys(f"{one.program} for port {one.port}" for one in open_to_all[:4]))
    return Match(f"on all addresses of this machine, for everybody: {told}") if told else None


def _leads_astray(run: RunView, forwarder: Forwarder) -> bool:
    """Whether this run was answered there by something that is no gateway."""
    through = (probe for probe in run.evidence.probes if run.forwarder(probe) == forwarder)
    return any(
        failure_is(probe, stage, Outcome.BAD_PEER) and probe.server_version is None and probe.redirect is None
        for probe in through
        for stage in (ProbeStage.QUIET, ProbeStage.HELLO)
    )


PLACE_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD211", _no_host_loopback),
    ("IBD901", _port_exposed),
)
