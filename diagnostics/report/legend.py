"""The words in capitals in a command, and what a user puts there."""

from __future__ import annotations

import re
from collections.abc import Iterable

# HOST, PORT and ADDRESS are left only where no route is known.
PLACEHOLDERS = {  # "container" is another word in the commands of WORDS
    "HOST": "the host that is dialled",
    "PORT": "the port that is dialled",
    "ADDRESS": "the address that this host has",
    "HOSTIP": "the host's own address in its network",
    "GATEWAY": "the name of the gateway's container",
    "CLIENT": "the name of the client's container",
    "NETWORK": "the name of the container network",
    "SUBNET": "the subnet of the client's network (`network inspect NETWORK` has it)",
}
WORDS = (("kubectl ", "pod"),)


def legend(commands: Iterable[str]) -> str:
    """A sentence about the placeholders that are in these commands; "" when there are none."""
    commands = tuple(commands)
    used = {word for command in commands for word in re.findall(r"\b[A-Z]+\b", command)}
    thing = next((word for program, word in WORDS if any(line.startswith(program) for line in commands)), "container")
    meanings = [
        f"{name} is {meaning.replace('container', thing)}" for name, meaning in PLACEHOLDERS.items() if name in used
    ]
    return f"In the commands {', '.join(meanings)}." if meanings else ""
