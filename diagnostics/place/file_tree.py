"""Files of the machine, or of a copy of one: every read is bounded, and what cannot be read is None."""

from __future__ import annotations

import os

from diagnostics.place.netfiles import default_ipv4, default_ipv6, ipv4_routes

MAX_FILE = 128 << 10  # bytes; only the mount and route tables of a busy host are longer, and what counts comes first


class FileTree:
    """Files below a root; whatever cannot be read is None."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.is_this_machine = not self.root  # then system calls tell about it, too
        self._texts: dict[str, str | None] = {}
        self.routes = ipv4_routes(self.read("/proc/net/route") or "")  # IPv4
        self.interface = self._default_interface()  # of the default route

    def read(self, path: str) -> str | None:
        """The text, MAX_FILE bytes of it at most; a pipe or a device does not block."""
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str | None:
        chunks, left = [], MAX_FILE
        try:
            handle = os.open(self.root + path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        except (OSError, ValueError):
            return None
        try:
            while left > 0 and (chunk := os.read(handle, left)):  # files of /proc come in pages
                chunks.append(chunk)
                left -= len(chunk)
        except OSError:
            return None
        finally:
            os.close(handle)
        return b"".join(chunks).decode("utf-8", "replace")

    def _default_interface(self) -> str | None:
        on_ipv4 = [route.interface for route in default_ipv4(self.routes)]
        on_ipv6 = [interface for interface, _ in default_ipv6(self.read("/proc/net/ipv6_route") or "")]
        return next(iter(on_ipv4 + on_ipv6), None)

    def exists(self, path: str) -> bool:
        """Whether there is something, readable or not."""
        return os.path.lexists(self.root + path)

    def names(self, path: str) -> tuple[str, ...] | None:
        """What is in a folder."""
        try:
            return tuple(sorted(os.listdir(self.root + path)))
        except (OSError, ValueError):
            return None
