"""Which process has a port that is taken, as far as this user may see."""

from __future__ import annotations

import contextlib

from relay.printable import printable

MOST_NAMED = 3


def holders_of(port: int) -> str:
    """A clause, `it is held by socat (process 4711)`; empty where psutil is missing or nothing can be seen."""
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:  # the single file has none
        return ""
    named: list[str] = []
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                with contextlib.suppress(psutil.Error):
                    name = printable(psutil.Process(connection.pid).name(), 40)
                    named.append(f"{name} (process {connection.pid})")
    unique = list(dict.fromkeys(named))[:MOST_NAMED]
    return f"it is held by {' and '.join(unique)}" if unique else ""
