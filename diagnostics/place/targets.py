"""What people type as a target: HOST, HOST:PORT and IPv6 in both spellings; anything else is told what is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass

from diagnostics.place.addresses import SIBLINGS, parse_address

LABEL = re.compile(  # "_": compose services have it
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE
)
FORM = "HOST or HOST:PORT was expected"
NUMBER = r"0x[0-9a-f]{1,16}|[0-9]{1,16}"  # of an address; no name ends in one (WHATWG URL: "ends in a number")


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What the user wants probed; without a port the one of the run is meant."""

    host: str
    port: int | None = None
    origin: str = "--target"  # or IB_HOST


def parse_target(text: str, origin: str = "--target") -> ProbeTarget:
    """HOST, HOST:PORT, [IPV6]:PORT or IPV6 as a target; ValueError with one line that says what is wrong with it."""
    where = f"{origin} {quoted(text)}"
    if not text.strip():
        raise ValueError(f"{origin} is empty: {FORM}")
    text = text.strip()
    scheme, sign, _ = text.partition("://")
    if sign:
        raise ValueError(f"{where}: {FORM}, without {quoted(scheme + sign)}")
    for unwanted, advice in (("/", "without a path"), ("@", "without a user"), (",", "one at a time")):
        if unwanted in text:
            raise ValueError(f"{where}: {FORM}, {advice}")
    if re.search(r"\s", text):
        raise ValueError(f"{where}: {FORM}, without spaces")
    host, port = _split(text, where)
    return ProbeTarget(_checked_host(host, where), None if port is None else parse_port(port, f"{where}: port"), origin)


def parse_port(text: str, origin: str = "--port") -> int:
    """1 to 65535; ValueError with one line otherwise."""
    if not re.fullmatch(r"\s*[0-9]{1,5}\s*", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{origin} {quoted(text)}: a number from 1 to 65535 was expected")
    return int(text)


def _split(text: str, where: str) -> tuple[str, str | None]:
    """Host and port."""
    if text.startswith("["):
        match = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text)
        if match is None:
            raise ValueError(f"{where}: [IPV6] or [IPV6]:PORT was expected")
        if ":" not in match[1]:
            raise ValueError(f"{where}: brackets are for IPv6 addresses")
        return match[1], match[2]
    if text.count(":") < 2:
        host, sign, port = text.partition(":")
        return host, port if sign else None
    head, _, last = text.rpartition(":")
    if any(last == str(port) for port, _ in SIBLINGS) and parse_address(head) is not None:
        raise ValueError(f"{where}: is {last} a port? Write [{head}]:{last}, or [{text}] for the address")
    return text, None


def _checked_host(host: str, where: str) -> str:
    if not host:
        raise ValueError(f"{where}: the host is missing, {FORM}")
    if ":" in host:
        address = parse_address(host)
        if address is None or not re.fullmatch(r"[^%]*(%[\w.-]+)?", host, re.ASCII):
            raise ValueError(f"{where}: not an IPv6 address; write [IPV6]:PORT or HOST:PORT")
        return str(address)
    if re.fullmatch(r"[0-9]+", host, re.ASCII):
        raise ValueError(f"{where}: a number is no host; a port goes to --port or behind a host")
    if re.fullmatch(NUMBER, host.rpartition(".")[2], re.ASCII | re.IGNORECASE):
        numbers = short_address(host)
        if numbers is None:
            raise ValueError(f"{where}: not an IPv4 address, four numbers from 0 to 255 were expected")
        return numbers
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{where}: not a host name (letters, digits, '-', '_' and '.'; others in their xn-- form)")
    return host


def short_address(host: str) -> str | None:
    """The IPv4 address that a resolver (inet_aton) reads in 127.1, 0x7f.0.0.1 or 0177.0.0.1; None where it reads none.

    One to four numbers, 0x for base 16 and 0 for base 8; the last one fills all bytes that are left.
    """
    parts = host.split(".")
    if len(parts) > 4 or not all(re.fullmatch(NUMBER, part, re.ASCII | re.IGNORECASE) for part in parts):
        return None
    try:
        *first, last = (_number(part) for part in parts)
        return ".".join(map(str, bytes(first) + last.to_bytes(4 - len(first), "big")))
    except (OverflowError, ValueError):  # a number that its bytes do not hold, or an 8 or 9 in base 8
        return None


def _number(text: str) -> int:
    return int(text, 16 if text[:2] in ("0x", "0X") else 8 if text[0] == "0" else 10)


def quoted(text: str) -> str:
    """What was typed, on one line, not all of it when it is long, and without what may be a password."""
    _, sign, after = text.rpartition("@")
    text = f"***@{after}" if sign else text
    return ascii(text if len(text) <= 60 else text[:57] + "...")
