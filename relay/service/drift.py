"""What is installed against what install would write now: the configuration or the program may have changed since."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator

from relay.config.addresses import Upstream, within
from relay.service.actions import actions_for
from relay.service.render import SERVICE, Manager, Scope
from relay.service.upgrade import kept_copy
from relay.service.wanted import Wanted


def drift(plan: Wanted) -> Iterator[str]:
    """One line a difference between the files there and the files install would write."""
    for name, text in plan.files.items():
        path = plan.where.units / name
        try:
            there = path.read_text()
        except OSError as error:
            yield f"{path}: {(error.strerror or str(error)).lower()}"
            continue
        for line in difflib.unified_diff(there.splitlines(), text.splitlines(), lineterm="", n=0):
            if line[:1] in "+-" and line[:3] not in ("+++", "---"):
                yield f"{name}: {'install would write' if line[0] == '+' else 'has now'} {line[1:]}"
    if (kept := kept_copy(plan.where.program)).exists():
        yield (
            f"{kept} is the program of before: an upgrade was cut short. `service upgrade`, run from the new file, "
            "finishes it; `service install`, run from the kept one, goes back"
        )
    for path in actions_for(plan.where, plan.target, print, True).definitions():
        if path.name not in plan.files:
            yield f"{path.name}: of a map that is no longer configured"
        dropped = path.with_name(path.name + ".d")
        for drop_in in sorted(dropped.glob("*.conf")) if dropped.is_dir() else ():
            yield f"{drop_in}: changes the unit"


def unit_forbids(plan: Wanted, upstream: Upstream) -> str:
    """Why the installed unit does not let the relay dial this gateway, though the configuration says so; "" if it does.

    The kernel drops what a unit's IPAddressAllow= does not have: from outside it looks like a gateway that is mute.
    """
    if plan.where.manager is not Manager.SYSTEMD or plan.where.scope is not Scope.SYSTEM:
        return ""
    try:
        lines = (plan.where.units / SERVICE).read_text().splitlines()
    except OSError:
        return ""
    allowed = [line.partition("=")[2] for line in lines if line.startswith("IPAddressAllow=")]
    if not allowed or "any" in allowed or _lets_through(allowed, upstream.host):
        return ""
    return (
        f"the installed unit lets the relay dial only {', '.join(allowed)}, and the configuration now says {upstream}: "
        "`ib-relay service install` writes it anew"
    )


def _lets_through(allowed: list[str], host: str) -> bool:
    """Whether a list of IPAddressAllow= has this host; a name can mean any address, so only "any" has it."""
    if host == "localhost":
        return "localhost" in allowed
    try:
        address = ipaddress.ip_network(host.partition("%")[0])
    except ValueError:
        return False
    networks = [ipaddress.ip_network(item) for item in allowed if item != "localhost"]
    return within(address, networks) or ("localhost" in allowed and address.is_loopback)
