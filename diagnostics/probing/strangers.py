"""What a peer is that answers and is no gateway, by its first bytes."""

from __future__ import annotations

from relay.wire.hello import FirstBytes, recognise

# The same as relay.wire.hello names them, in words. What a load balancer would say to us has no name of its own.
STRANGERS = {
    "http": "HTTP",
    "tls": "TLS",
    "ssh": "SSH",
    "vnc": "VNC",
    "text": "the text of some other service",
    "garbage": "no protocol we know",
}


def stranger(data: bytes) -> str:
    """The key of STRANGERS for the first bytes of a peer that is no gateway."""
    name = recognise(data, answer=True).value
    return name if name in STRANGERS else FirstBytes.GARBAGE.value
