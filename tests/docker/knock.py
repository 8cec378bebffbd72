"""In a container: an IB hello to each address, once, at once: `knock.py HOST[:PORT] ...` prints a line an address."""

import socket
import sys

from relay.wire.hello import ClientHello

PATIENCE = 8.0  # seconds


def knock(where: str) -> str:
    """What came of it: "answered", or what the system says."""
    host, _, port = where.rpartition(":") if where.count(":") == 1 or where.startswith("[") else (where, "", "4003")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as sock:
            sock.sendall(ClientHello(100, 176).encode())
            return "answered" if b"176" in sock.recv(100) else "closed"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    for address in sys.argv[1:]:
        print(address, knock(address), sep="  ", flush=True)
