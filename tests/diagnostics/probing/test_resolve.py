"""Names to addresses: what the resolver says, and nothing without a bound."""

import errno
import socket
import threading
from time import monotonic

import pytest

from diagnostics.probing import resolve
from diagnostics.probing.resolve import Resolution
from tests.diagnostics.peers import LINUX_ONLY

LITERALS = (
    ("an IPv4 address", "192.0.2.1", ("192.0.2.1",)),
    ("an IPv6 address", "2001:db8::1", ("2001:db8::1",)),
    ("the short form inet_aton knows", "127.1", ("127.0.0.1",)),
)


@pytest.mark.parametrize("host, addresses", [case[1:] for case in LITERALS], ids=[case[0] for case in LITERALS])
def test_an_address_needs_no_resolver(host, addresses, monkeypatch):
    monkeypatch.setattr(resolve, "look_up", None)
    assert resolve.resolve(host, 4003) == Resolution(addresses, 0.0)


@LINUX_ONLY
def test_the_zone_of_an_address_is_kept():
    number = socket.if_nametoindex("lo")
    assert resolve.resolve("fe80::1%lo", 4003).addresses == (f"fe80::1%{number}",)


def test_a_name_is_looked_up():
    assert "127.0.0.1" in resolve.resolve("localhost", 4003).addresses


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "nul\0byte", ".", ""])
def test_what_cannot_be_a_name_is_unknown_or_nothing(host):
    resolution = resolve.resolve(host, 4003)
    assert resolution.addresses == () or host == ""  # getaddrinfo takes "" for this host
    assert resolution.error is not None or host == ""


ERRORS = (
    ("an unknown name", socket.gaierror(socket.EAI_NONAME, "x"), "EAI_NONAME", "the name is not known"),
    ("no resolver", socket.gaierror(socket.EAI_AGAIN, "x"), "EAI_AGAIN", "no name server answered"),
    ("a name without addresses", socket.gaierror(socket.EAI_NODATA, "x"), "EAI_NODATA", "the name has no address"),
    ("a number nobody knows", socket.gaierror(-99, "strange"), "EAI -99", "strange"),
    ("an error of the system", OSError(errno.EMFILE, "too many files"), "EMFILE", "too many files"),
)


@pytest.mark.parametrize("raised, name, detail", [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_the_resolvers_errors_have_names(raised, name, detail, monkeypatch):
    def fail(*args, **more):
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    resolution = resolve.resolve("gate.example", 4003)
    assert (resolution.addresses, resolution.error, resolution.detail) == ((), name, detail)


def test_a_resolver_that_hangs_is_left_to_its_thread(monkeypatch):
    release, known = threading.Event(), socket.getaddrinfo

    def hang(host, *args, **more):
        if more.get("flags"):
            return known(host, *args, **more)
        release.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "x")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = monotonic()
    resolution = resolve.resolve("gate.example", 4003, timeout=0.05)
    release.set()
    assert monotonic() - started < 1.0
    assert (resolution.addresses, resolution.error) == ((), None)
    assert resolution.detail.startswith("the resolver did not answer in 0.")


def test_a_name_with_a_hundred_addresses_is_cut(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{at}", 4003)) for at in range(100)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found * 2)
    assert resolve.look_up("many.example", 4003).addresses == tuple(
        f"10.0.0.{at}" for at in range(resolve.MAX_ADDRESSES)
    )
