"""Targets as people type them: what is read, and the one line for what cannot be."""

import re
import socket

import pytest

from diagnostics.place.addresses import host_and_port
from diagnostics.place.targets import ProbeTarget, parse_port, parse_target

GOOD = [
    ("gate", ProbeTarget("gate")),
    (" gate:4003\n", ProbeTarget("gate", 4003)),
    ("Gate.example.com.:1", ProbeTarget("Gate.example.com.", 1)),
    ("ib_gateway-1:65535", ProbeTarget("ib_gateway-1", 65535)),
    ("10.0.0.1:4002", ProbeTarget("10.0.0.1", 4002)),
    ("0.0.0.0", ProbeTarget("0.0.0.0")),
    ("::1", ProbeTarget("::1")),
    ("[::1]", ProbeTarget("::1")),
    ("[::1]:4003", ProbeTarget("::1", 4003)),
    ("[FD00:0::1]:4003", ProbeTarget("fd00::1", 4003)),
    ("fe80::1%eth0", ProbeTarget("fe80::1%eth0")),
    ("[fe80::1%eth0.5]:4003", ProbeTarget("fe80::1%eth0.5", 4003)),
    ("2606:4700::1111", ProbeTarget("2606:4700::1111")),
    ("xn--bcher-kva.example", ProbeTarget("xn--bcher-kva.example")),
    ("1and1.com", ProbeTarget("1and1.com")),
    ("a" * 63 + ".b", ProbeTarget("a" * 63 + ".b")),
]


@pytest.mark.parametrize("text, expected", GOOD)
def test_targets(text, expected):
    assert parse_target(text) == expected
    assert parse_target(host_and_port(expected.host, expected.port)) == expected


# (as typed, what a resolver makes of it)
SHORT = [
    ("127.1", "127.0.0.1"),
    ("10.1.258", "10.1.1.2"),
    ("0x7f.0.0.1", "127.0.0.1"),
    ("0X7F.1", "127.0.0.1"),
    ("0x7f000001", "127.0.0.1"),
    ("010.0.0.1", "8.0.0.1"),
    ("127.16777215", "127.255.255.255"),
    ("0.0", "0.0.0.0"),
]


@pytest.mark.parametrize("typed, address", SHORT)
def test_an_address_is_read_as_a_resolver_reads_it(typed, address):
    assert parse_target(f"{typed}:4003") == ProbeTarget(address, 4003)
    assert socket.inet_ntoa(socket.inet_aton(typed)) == address


FORM = "HOST or HOST:PORT was expected"
NAME = "not a host name (letters, digits, '-', '_' and '.'; others in their xn-- form)"
PORT = "a number from 1 to 65535 was expected"
BAD = [
    ("", f"--target is empty: {FORM}"),
    (" \t", f"--target is empty: {FORM}"),
    ("tcp://gate:4003", f"--target 'tcp://gate:4003': {FORM}, without 'tcp://'"),
    ("gate/path", f"--target 'gate/path': {FORM}, without a path"),
    ("me:secret@gate:4003", f"--target '***@gate:4003': {FORM}, without a user"),
    ("http://me:secret@gate", f"--target '***@gate': {FORM}, without 'http://'"),
    ("a,b", f"--target 'a,b': {FORM}, one at a time"),
    ("a b", f"--target 'a b': {FORM}, without spaces"),
    ("gate :4003", f"--target 'gate :4003': {FORM}, without spaces"),
    (":4003", f"--target ':4003': the host is missing, {FORM}"),
    ("4003", "--target '4003': a number is no host; a port goes to --port or behind a host"),
    ("gate:", f"--target 'gate:': port '': {PORT}"),
    ("gate:0", f"--target 'gate:0': port '0': {PORT}"),
    ("gate:70000", f"--target 'gate:70000': port '70000': {PORT}"),
    ("gate:-1", f"--target 'gate:-1': port '-1': {PORT}"),
    ("gate:4_003", f"--target 'gate:4_003': port '4_003': {PORT}"),
    ("gate:\u0664", f"--target 'gate:\\u0664': port '\\u0664': {PORT}"),
    ("gate:" + "9" * 5000, f"--target 'gate:{'9' * 52}...': port '{'9' * 57}...': {PORT}"),
    ("[::1]4003", "--target '[::1]4003': [IPV6] or [IPV6]:PORT was expected"),
    ("[::1", "--target '[::1': [IPV6] or [IPV6]:PORT was expected"),
    ("[::1]:", f"--target '[::1]:': port '': {PORT}"),
    ("[]:1", "--target '[]:1': brackets are for IPv6 addresses"),
    ("[10.0.0.1]:1", "--target '[10.0.0.1]:1': brackets are for IPv6 addresses"),
    ("::1:4003", "--target '::1:4003': is 4003 a port? Write [::1]:4003, or [::1:4003] for the address"),
    ("gate:1:2", "--target 'gate:1:2': not an IPv6 address; write [IPV6]:PORT or HOST:PORT"),
    ("fe80::1%\x1b[31m", "--target 'fe80::1%\\x1b[31m': not an IPv6 address; write [IPV6]:PORT or HOST:PORT"),
    ("127.0.0.0.1", "--target '127.0.0.0.1': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("127.16777216", "--target '127.16777216': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("gate.1", "--target 'gate.1': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("256.0.0.1", "--target '256.0.0.1': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("08.0.0.1:4003", "--target '08.0.0.1:4003': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("a..b", f"--target 'a..b': {NAME}"),
    ("-a", f"--target '-a': {NAME}"),
    ("*", f"--target '*': {NAME}"),
    ("b\u00fccher", f"--target 'b\\xfccher': {NAME}"),
    ("gate\x00", f"--target 'gate\\x00': {NAME}"),
    ("a" * 64, f"--target '{'a' * 57}...': {NAME}"),
    (".".join(["abc"] * 64), f"--target '{('abc.' * 20)[:57]}...': {NAME}"),
]


@pytest.mark.parametrize("text, expected", BAD)
def test_a_bad_target_gets_one_line_that_says_what_is_wrong(text, expected):
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$") as caught:
        parse_target(text)
    assert str(caught.value) == expected


def test_the_line_names_where_the_target_came_from():
    with pytest.raises(ValueError, match=r"^IB_HOST 'a b': "):
        parse_target("a b", "IB_HOST")
    assert parse_target("gate", "IB_HOST") == ProbeTarget("gate", None, "IB_HOST")


@pytest.mark.parametrize("text, expected", [("4003", 4003), (" 1\n", 1), ("65535", 65535)])
def test_ports(text, expected):
    assert parse_port(text) == expected


@pytest.mark.parametrize("text", ["0", "65536", "", "-1", "4e3", "4003 4004", "70000"])
def test_a_bad_port_names_its_origin(text):
    expected = f"IB_PORT {text!r}: {PORT}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$") as caught:
        parse_port(text, "IB_PORT")
    assert str(caught.value) == expected
