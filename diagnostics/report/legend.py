"""The words in capitals in a command, and what a user puts there."""

from __future__ import annotations

import re
from collections.abc import Iterable

# HOST, PORT and ADDRESS are left only where no route is known.
PLACEHOLDERS = {
    "HOST": "the host that is dialled",
    "PORT": "the port that is dialled",
    "UPSTREAM": "the gateway's own host and port, as a forwarder in between dials it",
    "APIPORT": "the gateway's own port, which is another one than is dialled where a forwarder is in between",
    "ADDRESS": "the address that this host has",
    "HOSTIP": "the host's own address in its network",
    "GATEWAY": "the name of the gateway's container",
    "CLIENT": "the name of this container",
    "NETWORK": "the name of the Docker network",
    "SUBNET": "the subnet of this container's network (docker network inspect NETWORK)",
}


def legend(commands: Iterable[str]) -> str:
    """A sentence about the placeholders that are in these commands; "" when there are none."""
    used = {word for command in commands for word in re.findall(r"\b[A-Z]+\b", command)}
    meanings = [f"{name} is {meaning}" for name, meaning in PLACEHOLDERS.items() if name in used]
    return f"In the commands {', '.join(meanings)}." if meanings else ""
