"""What is plugged into a bridge: containers of Docker or Podman and nothing else, or something that may lead further.

The port of the relay must not open to a network nobody meant: libvirt's virbr0 (virtual machines), a bridge with the
machine's own network card, one of an overlay that leads to other machines, one that LXC, systemd-nspawn or a person
made. So a bridge without an engine's name counts only if every port of it
 - has a name that Docker (veth and 7 hexadecimal digits) or netavark (veth0, veth1, ...) gives,
 - is a virtual cable (veth) by what its driver says,
 - and has its other end in another network namespace, as the end in a container is.
"""

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
DRVINFO = struct.Struct("I32s160x")  # struct ethtool_drvinfo: the question, the driver's name, and what is not read


def has_containers_only(sys_folder: str, bridge: str) -> bool:
    """Is there something plugged into this bridge, and is all of it a container's? Never raises."""
    try:
        ports = os.listdir(f"{sys_folder}/{bridge}/brif")
        if not ports or not all(map(ENDS.fullmatch, ports)):
            return False
        return all(_driver_of(port) == b"veth" and _leads_elsewhere(sys_folder, port) for port in ports)
    except (OSError, ValueError):  # it has gone meanwhile, or cannot be read: not known to be one
        return False


def _leads_elsewhere(sys_folder: str, port: str) -> bool:
    """Is no interface here its other end? A pair within one namespace names each other by its number."""
    try:
        namesake = socket.if_indextoname(_number(sys_folder, port, "iflink"))
    except OSError:
        return True
    return _number(sys_folder, namesake, "iflink") != _number(sys_folder, port, "ifindex")


def _number(sys_folder: str, name: str, what: str) -> int:
    with open(f"{sys_folder}/{name}/{what}", encoding="ascii") as file:
        return int(file.read())


def _driver_of(port: str) -> bytes:
    answer = array("B", DRVINFO.pack(ETHTOOL_GDRVINFO, b""))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", port.encode(), answer.buffer_info()[0]))
    name: bytes = DRVINFO.unpack(answer.tobytes())[1]
    return name.partition(b"\0")[0]
