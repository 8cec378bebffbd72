"""How many connections the open-files limit of this process allows."""

from __future__ import annotations

import resource
import sys

from relay.entry.admission import most_connections


def descriptor_budget(wanted: int, survives: bool) -> int:
    """Connections the open-files limit allows; raises the soft limit to the hard one first.

    `survives`: each is written down, too, so that it outlives this process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.platform == "darwin":
        hard = min(hard, 10_240) if hard != resource.RLIM_INFINITY else 10_240  # OPEN_MAX: setrlimit refuses more
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    return most_connections(wanted, soft if soft != resource.RLIM_INFINITY else 1 << 20, survives)
