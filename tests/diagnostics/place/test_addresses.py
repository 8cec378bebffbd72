"""Hosts and ports as texts: what a route is called, and which hosts are loopback."""

import pytest

from diagnostics.evidence import Route
from diagnostics.place.addresses import host_and_port, is_loopback, label

LABELS = [
    ("gate", 4003, "gate:4003"),
    ("10.0.0.1", 1, "10.0.0.1:1"),
    ("::1", 4003, "[::1]:4003"),
    ("fe80::1%eth0", 4003, "[fe80::1%eth0]:4003"),
    ("gate", None, "gate"),
    ("::1", None, "[::1]"),
]


@pytest.mark.parametrize("host, port, expected", LABELS)
def test_label(host, port, expected):
    assert host_and_port(host, port) == expected
    if port:
        assert label(Route(host, port, "configured", "")) == expected


LOOPBACKS = [
    ("localhost", True),
    ("LOCALHOST.", True),
    ("a.localhost", True),
    ("127.0.0.1", True),
    ("127.9.9.9", True),
    ("::1", True),
    ("0.0.0.0", True),
    ("::", True),
    ("::ffff:127.0.0.1", True),
    ("10.0.0.1", False),
    ("gate", False),
    ("localhost.example.com", False),
    ("", False),
]


@pytest.mark.parametrize("host, expected", LOOPBACKS)
def test_is_loopback(host, expected):
    assert is_loopback(host) is expected
