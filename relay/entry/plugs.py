"""What is plugged into a bridge: containers of Docker or Podman and nothing else, or something that may lead further.

The port of the relay must not open to a network nobody meant: libvirt's virbr0 (virtual machines), a bridge with the
machine's own network card, one of an overlay that leads to other machines, one that LXC, systemd-nspawn or a person
made. So a bridge without an engine's name counts only if there is a container on it, and every port of it
 - has a name that Docker (veth and 7 hexadecimal digits) or netavark (veth0, veth1, ...) gives,
 - is a virtual cable (veth) by what its driver says,
 - and has its other end in another network namespace, as in a container, or in no bridge: a container that is being
   started, whose end is on its way.
"""

import errno
import os
import re
import socket
import struct
from array import array

try:
    import fcntl
except ImportError:  # not on Unix
    fcntl = None  # type: ignore[assignment]  # no bridges there: has_containers_only finds no ports

ENDS = re.compile(r"veth[0-9a-f]{7}|veth[0-9]{1,4}")
SIOCETHTOOL = 0x8946  # linux/sockios.h
ETHTOOL_GDRVINFO = 0x3  # linux/ethtool.h; anybody may ask
GONE = (errno.ENODEV, errno.ENOENT)  # what an ioctl and a file say of an interface that was there just now
DRVINFO = struct.Struct("I32s160x")  # struct ethtool_drvinfo: the question, the driver's name, and what is not read


def has_containers_only(sys_folder: str, bridge: str) -> bool:
    """Is a container plugged into this bridge, and nothing that is none? Never raises."""
    try:
        ports = os.listdir(f"{sys_folder}/{bridge}/brif")
    except OSError:  # the bridge has gone meanwhile
        return False
    if not all(map(ENDS.fullmatch, ports)):
        return False
    contained = False
    for port in ports:
        try:
            if _driver_of(port) != b"veth":
                return False
            other_end = _other_end_here(sys_folder, port)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in GONE:  # its container has just ended
                continue
            return False
        if not other_end:
            contained = True
        elif os.path.exists(f"{sys_folder}/{other_end}/master"):  # plugged in as well: from bridge to bridge
            return False
    return contained


def _other_end_here(sys_folder: str, port: str) -> str:
    """The interface at the other end, "" if that is in another namespace. A pair in one names each other by number."""
    try:
        name = socket.if_indextoname(_number(sys_folder, port, "iflink"))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return ""
    return name if _number(sys_folder, name, "iflink") == _number(sys_folder, port, "ifindex") else ""


def _number(sys_folder: str, name: str, what: str) -> int:
    with open(f"{sys_folder}/{name}/{what}", encoding="ascii") as file:
        return int(file.read())


def _driver_of(port: str) -> bytes:
    answer = array("B", DRVINFO.pack(ETHTOOL_GDRVINFO, b""))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", port.encode(), answer.buffer_info()[0]))
    name: bytes = DRVINFO.unpack(answer.tobytes())[1]
    return name.partition(b"\0")[0]
