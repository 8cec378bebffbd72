"""relay/entry/link_events.py: the kernel says that an interface has come or gone."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay.entry import link_events
from relay.entry.link_events import LinkEvents
from relay.net.poller import new_event_loop

ROOT = Path(__file__).resolve().parents[3]
netlink = pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="no netlink here")

HEAR = """
import subprocess, sys
from relay.entry.link_events import LinkEvents
from relay.net.poller import new_event_loop
loop = new_event_loop()
heard = []
events = LinkEvents(loop.poller, lambda: (heard.append(1), loop.stop()))
for command in sys.argv[1:]:
    subprocess.run(["ip", *command.split()], check=True)
    loop.call_later(10, loop.stop)
    loop.run_forever()
    print(bool(heard), command)
    heard.clear()
events.close()
events.close()
loop.close()
"""
CHANGES = [
    "link add br-0123456789ab type bridge",
    "address add 172.30.0.1/16 dev br-0123456789ab",
    "-6 address add fd00:7::1/64 dev br-0123456789ab nodad",
    "link set br-0123456789ab up",
    "link delete br-0123456789ab",
]


@netlink
def test_every_change_of_a_bridge_is_heard_of():
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs root on Linux with iproute2: makes a real bridge in a network namespace")
    if not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 on this host")
    inside = ["unshare", "--net", sys.executable, "-c", HEAR, *CHANGES]
    done = subprocess.run(inside, capture_output=True, timeout=60, cwd=ROOT, check=False, text=True)
    if "Operation not permitted" in done.stderr or "Operation not supported" in done.stderr:
        pytest.skip(f"no bridges in a namespace here: {done.stderr.strip()}")
    assert (done.stdout.splitlines(), done.stderr) == ([f"True {change}" for change in CHANGES], "")


class Full:
    """A netlink socket whose queue has overflowed: recv(2) says so once, then has what is left."""

    def __init__(self, real):
        self.real, self.overflows = real, 1

    def recv(self, size):
        if self.overflows:
            self.overflows -= 1
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return self.real.recv(size)


@netlink
def test_more_news_than_the_kernel_has_room_for_is_news():
    loop, heard = new_event_loop(), []
    try:
        events = LinkEvents(loop.poller, lambda: heard.append(1))
        real, events._sock = events._sock, Full(events._sock)
        assert events._ready(1) and heard == [1]
        events._sock = real
        events.close()
    finally:
        loop.close()


def test_a_system_without_netlink_says_so(monkeypatch):
    monkeypatch.delattr(link_events.socket, "AF_NETLINK", raising=False)
    with pytest.raises(OSError, match="no netlink"):
        LinkEvents(None, lambda: None)
