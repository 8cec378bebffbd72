"""relay/net/own_dials.py: which accepted connection is one of our own, by the two addresses both ends have."""

import socket

import pytest

from relay.net.own_dials import OwnDials, place
from tests.relay.kit.loopback import HOST

PLACES = [
    (("127.0.0.1", 4003), ("127.0.0.1", 4003)),
    (("::1", 4003, 0, 0), ("::1", 4003)),
    (("::ffff:127.0.0.1", 4003, 0, 0), ("127.0.0.1", 4003)),
    (("::ffff:1", 4003, 0, 0), ("::ffff:1", 4003)),
    (("fe80::1%eth0", 4003, 0, 2), ("fe80::1", 4003)),
]


@pytest.mark.parametrize("address, expected", PLACES, ids=lambda value: str(value[0]))
def test_a_place_has_one_spelling(address, expected):
    assert place(address) == expected


# How we listen, what we dial. A listener of a service manager may take both families.
ROADS = [
    ("the same address", "127.0.0.1", "127.0.0.1"),
    ("another loopback address", "0.0.0.0", "127.0.1.1"),
    ("no address at all", "0.0.0.0", "0.0.0.0"),
    ("IPv6", "::1", "::1"),
    ("no IPv6 address at all", "::", "::"),
    ("IPv4 in IPv6 form", "0.0.0.0", "::ffff:127.0.0.1"),
    ("IPv4 on a listener for both", "both", "127.0.0.1"),
]


@pytest.mark.parametrize("listen, dialled", [road[1:] for road in ROADS], ids=[road[0] for road in ROADS])
def test_our_own_connection_is_known_by_whatever_name_it_came(listen, dialled):
    both = listen == "both"
    family = socket.AF_INET6 if both or ":" in listen else socket.AF_INET
    listening = socket.create_server(("::" if both else listen, 0), family=family, dualstack_ipv6=both)
    address = (dialled, listening.getsockname()[1])
    own, dials = socket.socket(socket.AF_INET6 if ":" in dialled else socket.AF_INET), OwnDials()
    with listening, own:
        own.connect(address)
        dials.add(own, address)
        accepted, peer = listening.accept()
        with accepted:
            assert dials.find(accepted, peer) is own
            own.close()
            assert dials.find(accepted, peer) is None


def test_a_strangers_connection_from_a_port_that_we_dial_from_is_a_strangers():
    with socket.create_server((HOST, 0)) as gateway, socket.create_server((HOST, 0)) as listening:
        own, stranger, dials = socket.socket(), socket.socket(), OwnDials()
        with own, stranger:
            for sock in (own, stranger):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind((HOST, 0))
            own.connect(gateway.getsockname())
            dials.add(own, gateway.getsockname())
            stranger.bind(own.getsockname())
            stranger.connect(listening.getsockname())
            accepted, peer = listening.accept()
            with accepted:
                assert peer == own.getsockname()
                assert dials.find(accepted, peer) is None
