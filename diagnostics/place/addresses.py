"""Hosts and ports as texts: what is an address, what is loopback, how a route is called, which ports are usual."""

from __future__ import annotations

import ipaddress

from diagnostics.evidence import Route

DEFAULT_PORT = 4003  # where our relay listens
DEFAULT_UPSTREAM = "127.0.0.1:4002"  # and where it leads, as long as nobody says otherwise

SIBLINGS = (  # (port, whose it usually is): the image's README, or IBKR's default
    (4001, "IB Gateway, live; with the gnzsnz image the published live port"),
    (4002, "IB Gateway, paper; with the gnzsnz image the published paper port"),
    (4003, "ib-relay; inside the gnzsnz image the live port"),
    (4004, "inside the gnzsnz image the paper port"),
    (7496, "TWS, live"),
    (7497, "TWS, paper"),
    (4000, "the ibga image; inside the UnusualAlpha image the gateway itself"),
    (8888, "the extrange image"),
)


def label(route: Route) -> str:
    """HOST:PORT, with brackets around IPv6: how a route is called everywhere."""
    return host_and_port(route.host, route.port)


def host_and_port(host: str, port: int | None) -> str:
    """HOST:PORT, with brackets around IPv6; without the port where there is none."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether it means the machine that dials. The wildcard counts: Linux connects it to itself."""
    address = parse_address(host)
    if address is None:
        name = host_key(host)
        return name in ("localhost", "ip6-localhost") or name.endswith(".localhost")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def host_key(host: str) -> str:
    """The same for spellings of the same host."""
    address = parse_address(host)
    return host.lower().rstrip(".") if address is None else str(address)


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
