"""Which server versions the client libraries ask for: only what was seen on the wire or read in a release's source."""

from __future__ import annotations

from typing import NamedTuple


class ClientLibrary(NamedTuple):
    """One release and the range in its hello. A gateway answers with none above `newest`, however new it is itself."""

    name: str
    release: str
    oldest: int
    newest: int
    source: str  # where the range can be read

    def __str__(self) -> str:
        return f"{self.name} {self.release} ({self.oldest}..{self.newest})"


# ib_insync and ib_async disconnect below their oldest, @stoqey/ib outside of its range; rust-ibapi reads protobuf only.
CLIENT_LIBRARIES = (
    ClientLibrary("ib_insync", "0.9.86", 157, 176, "client.py MinClientVersion, MaxClientVersion; recorded"),
    ClientLibrary("ib_async", "2.1.0", 157, 178, "client.py MinClientVersion, MaxClientVersion; recorded"),
    ClientLibrary("ibapi", "9.81.1", 100, 157, "server_versions.py MIN_CLIENT_VER, MAX_CLIENT_VER; recorded"),
    ClientLibrary("ibapi", "10.30.1", 100, 187, "server_versions.py MIN_CLIENT_VER, MAX_CLIENT_VER; recorded"),
    ClientLibrary("ibapi", "10.46.1", 100, 225, "recorded (nautilus-ibapi)"),
    ClientLibrary("ibapi", "10.51.1", 100, 226, "server_versions.py MIN_CLIENT_VER, MAX_CLIENT_VER; recorded"),
    ClientLibrary("@stoqey/ib", "1.6.10", 100, 193, "api.js MAX_SUPPORTED_SERVER_VERSION, socket.js; recorded"),
    ClientLibrary("ib-tws-api", "1.3.0", 100, 151, "recorded"),
    ClientLibrary("rust-ibapi", "3.3.0", 213, 225, "src/connection/common.rs ConnectionHandler at v3.3.0"),
    ClientLibrary("scmhub/ibapi", "0.10.47", 100, 225, "server_versions.go MIN_CLIENT_VER, MAX_CLIENT_VER at v0.10.47"),
)


def needing_more_than(version: int) -> tuple[ClientLibrary, ...]:
    """The releases that ask for no version this old."""
    return tuple(library for library in CLIENT_LIBRARIES if library.oldest > version)
