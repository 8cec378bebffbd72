import errno

import pytest

from relay.net.dial_errors import why_unreachable

TABLE = [
    (errno.ENETUNREACH, 0.0, False, "no route to gw:4002: this machine knows no way to that network"),
    (errno.EHOSTUNREACH, 0.02, False, "gw:4002 cannot be reached: a router or a firewall says so"),
    (
        errno.EHOSTUNREACH,
        3.07,
        False,
        "gw:4002 cannot be reached: no machine answers for that address in its network (ARP), 3.1 s",
    ),
    (
        errno.EHOSTUNREACH,
        0.0004,
        True,
        (
            "gw:4002 cannot be reached: refused at once, as macOS does without the right to the local network "
            "(Privacy & Security)"
        ),
    ),
    (errno.EHOSTUNREACH, 1.0, True, "gw:4002 cannot be reached: a router or a firewall says so"),
    *(
        (
            code,
            0.0,
            False,
            (
                "the dial of gw:4002 is forbidden on this machine: by a firewall, or by IPAddressDeny= of the "
                "service's unit, which `ib-relay service install` writes for the upstream of then"
            ),
        )
        for code in (errno.EACCES, errno.EPERM)
    ),
    *(
        (code, 0.0, False, "gw:4002 cannot be dialled from here: no interface or address of this machine fits it")
        for code in (errno.EINVAL, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    ),
    (errno.EIO, 0.0, False, "gw:4002 cannot be reached"),
]


@pytest.mark.parametrize(("code", "seconds", "macos", "said"), TABLE)
def test_each_error_of_a_dial_has_words_of_its_own(code, seconds, macos, said):
    assert why_unreachable(code, "gw:4002", seconds, macos=macos) == said
