"""Does this process have a network of its own, as in a container? There `auto` is a loopback that nobody else has."""

from __future__ import annotations

import os
from collections.abc import Sequence

from relay.config.load import PortMap

MARKS = ("/.dockerenv", "/run/.containerenv")  # Docker's and Podman's


def said_of_loopback_only(maps: Sequence[PortMap], has_bridges: bool, inside: bool) -> str:
    """A warning where no client outside of this container can come; "" elsewhere. With the host's network are bridges.

    A map whose socket a service manager bound is none of them: who made that socket knows where it is.
    """
    if has_bridges or not inside:
        return ""
    alone = [one for one in maps if one.listen and all(listen.auto for listen in one.listen)]
    if not alone:
        return ""
    return (
        f"map {', '.join(one.name for one in alone)}: this looks like a container: there auto listens on loopback, "
        "which only programs in its network reach; --listen 0.0.0.0:PORT with --allow NETWORK lets others in"
    )


def is_container(marks: Sequence[str] = MARKS) -> bool:
    """By the files that Docker and Podman leave; other runtimes are not recognised."""
    return any(map(os.path.exists, marks))
