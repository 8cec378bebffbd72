"""Names whose look-up does not come back before the test lets it."""

import contextlib
import socket
import threading


class SlowNames:
    """getaddrinfo that waits to be released; a name server that hangs cannot be had without root.

    What is no name is answered at once, as by the real one.
    """

    def __init__(self, monkeypatch):
        self.asked, self.release, self.fail = [], threading.Event(), None
        self.real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host, port, *args, **more):
        with contextlib.suppress(socket.gaierror):
            return self.real(host, port, *args, **{**more, "flags": more.get("flags", 0) | socket.AI_NUMERICHOST})
        if more.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.asked.append((host, port))
        assert self.release.wait(10)
        if self.fail:
            raise self.fail
        return self.real("127.0.0.1", port, *args, **more)
