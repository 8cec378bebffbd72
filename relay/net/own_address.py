"""Is an address this machine's own? Then whoever comes from it is a program of this machine, like one from loopback.

Programs of this machine do not always come from loopback. A rootless container dials from the address it dials. Who
dials 172.17.0.1 on the host itself (a container with the host's network, too) comes from the address of the network
card: Docker's rule for what leaves its networks (-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE) takes that in as well.
Nobody can claim such an address from outside: the answer to the first packet would never leave this machine.
"""

import socket

ANY_PORT = 9  # nothing is sent


def is_own_address(address: str) -> bool:
    """By the kernel's own choice: it dials one of its addresses from that very address, and no other one ever.

    Binding to it would tell less: a host with ip_nonlocal_bind lets anything be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, ANY_PORT))
            return bool(sock.getsockname()[0] == address)
    except OSError:  # no way there, no such family, no address at all
        return False
