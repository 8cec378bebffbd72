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
    "CLIENT": "the name of the client's container",
    "NETWORK": "the name of the container network",
    "SUBNET": "the subnet of the client's network (`network inspect NETWORK` has it)",
}
OTHER_THINGS = (("kubectl ", "pod"), ("docker service ", "service"))  # whose name it is in their commands


def legend(commands: Iterable[str]) -> str:
    """A sentence about the placeholders that are in these commands; "" when there are none."""
    lines = {word: line for line in commands for word in re.findall(r"\b[A-Z]+\b", line)}
    meanings = [f"{name} is {_meaning(name, lines[name])}" for name in PLACEHOLDERS if name in lines]
    return f"In the commands {', '.join(meanings)}." if meanings else ""


def _meaning(name: str, line: str) -> str:
    thing = next((thing for program, thing in OTHER_THINGS if line.startswith(program)), "container")
    return PLACEHOLDERS[name].replace("'s container", f"'s {thing}")
