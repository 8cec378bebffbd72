"""How words that are right for Docker on Linux read elsewhere: a table of replacements, each with where it holds.

A text of the catalogue is written for Docker on Linux. Where a code needs other words in a kind of place, elsewhere.py
has them; what is said in many entries, above all in commands, is replaced here. "" takes a command away.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from diagnostics.place.setting import HOST_NETWORK, IN_VM, NO_CONTAINER, NO_NETWORK, PODMANS, WSL, Setting

MAC = frozenset({Setting.MACOS})
POD = frozenset({Setting.POD})
MIRRORED = frozenset({Setting.WSL_MIRRORED})
SWARM = frozenset({Setting.DOCKER_SWARM})
SYSTEM = frozenset({Setting.SYSTEM_CONTAINER, Setting.SYSTEM_CONTAINER_HOST})
NOT_ON_LINUX = IN_VM | WSL  # the host, which is where most commands are to be typed, is Windows or a Mac
NO_NAME = NO_CONTAINER | HOST_NETWORK | NO_NETWORK | POD | SYSTEM  # host.docker.internal does not exist there


class Replacement(NamedTuple):
    """Where it holds, what is replaced (a pattern), and by what."""

    where: frozenset[Setting]
    pattern: str
    by: str


COMMANDS = (  # of a whole command; the first that matches, and only that
    # What starts or joins this container, where this is none, or its engine is told otherwise.
    Replacement(NO_CONTAINER | POD | SYSTEM, r".*\bCLIENT\b.*|docker (run|compose|network) .*", ""),
    Replacement(NO_NAME - NO_NETWORK, r".*host\.docker\.internal.*", ""),
    Replacement(HOST_NETWORK, r"docker run .*|docker network connect .*", ""),
    Replacement(SWARM, r"docker run .*|docker network connect bridge .*|docker compose .*", ""),
    Replacement(SWARM, r"docker network connect (.*)", r"docker service update --network-add \1"),
    Replacement(SWARM, r"docker (inspect|exec) .*CLIENT.*", "docker service inspect --pretty CLIENT"),
    Replacement(frozenset({Setting.DOCKER_ROOTLESS}), r"docker run --add-host .*", ""),
    Replacement(PODMANS, r"docker run --add-host .*|docker compose .*", ""),
    Replacement(
        PODMANS,
        r"docker network create --opt com\.docker\.network\.driver\.mtu=(.*)",
        r"podman network create --opt mtu=\1",
    ),
    Replacement(PODMANS, r"docker (.*)", r"podman \1"),
    Replacement(PODMANS, r"grep host\.docker\.internal (.*)", r"grep host.containers.internal \1"),
    Replacement(POD, r"docker (logs .*)", r"kubectl \1"),
    Replacement(POD, r"docker exec GATEWAY (.*)", r"kubectl exec GATEWAY -- \1"),
    Replacement(POD, r"docker inspect .*", "kubectl describe pod GATEWAY"),
    Replacement(POD, r"docker ps.*", "kubectl get pods"),
    Replacement(POD, r"docker .*", ""),
    Replacement(POD, r"ufw .*", "kubectl get networkpolicies"),
    # What the host has no program for.
    Replacement(MAC | NOT_ON_LINUX, r"(ufw|nft|iptables) .*", ""),
    Replacement(IN_VM, r"ss .*", "netstat -an"),
    Replacement(WSL, r"ss .*", "netstat.exe -ano -p TCP"),
    Replacement(MAC, r"ss .*close-wait.*:(\w+).*", r"lsof -nP -iTCP:\1 -sTCP:CLOSE_WAIT"),
    Replacement(MAC, r"ss .*syn-sent.*", "lsof -nP -iTCP -sTCP:SYN_SENT"),
    Replacement(MAC, r"ss .*-ltn.*:(\w+).*", r"lsof -nP -iTCP:\1 -sTCP:LISTEN"),
    Replacement(MAC, r"ss .*:(\w*PORT).*", r"lsof -nP -iTCP:\1"),
    Replacement(MAC, r"ss .*", "netstat -an -p tcp"),
    Replacement(MAC, r"ip neigh show (.*)", r"arp -n \1"),
    Replacement(MAC, r"ip route get (.*)", r"route -n get \1"),
    Replacement(MAC, r"ip route", "netstat -rn"),
    Replacement(MAC, r"ip .*", "ifconfig"),
    Replacement(MAC, r"getent \w+ (.*)", r"dscacheutil -q host -a name \1"),
    Replacement(MAC, r"ps -o pid,stat,comm -C java", "ps -axo pid,stat,comm"),
)
PROSE = (  # of a part of a sentence; all that match, in order
    Replacement(PODMANS, r"\bdocker (exec|inspect|logs)\b", r"podman \1"),
    Replacement(POD, r"\bdocker exec GATEWAY ss", "kubectl exec GATEWAY -- ss"),
    Replacement(POD, r"\bdocker inspect says paused", "kubectl describe says that it is not running"),
    Replacement(POD, r"\bdocker inspect GATEWAY says paused", "kubectl describe pod GATEWAY says not running"),
    Replacement(PODMANS | POD | NO_CONTAINER | SYSTEM, r", not at Docker\b", ", not at the network"),
    Replacement(MAC, r"\bss -ltnp? 'sport = :PORT' on the gateway's host", "netstat -an on the gateway's host"),
    Replacement(MAC | NOT_ON_LINUX, r"\bss -ltn?p?( 'sport = :PORT')?", "netstat -an"),
    Replacement(MAC | NOT_ON_LINUX, r"\bss -t?i?n\b", "netstat -an"),
    # Neither Windows nor macOS shows in netstat -an who waits at a listening socket.
    Replacement(
        MIRRORED,
        r"^On the gateway's host Recv-Q .*",
        "netstat.exe -ano has a line for the port; without one it is closed, which mirrored mode swallows.",
    ),
    Replacement(
        MAC | NOT_ON_LINUX,
        r"^On the gateway's host Recv-Q of the listening socket is low \(netstat -an\), and",
        "On the gateway's machine itself the port takes connections on 127.0.0.1, and",
    ),
    Replacement(
        MAC | NOT_ON_LINUX,
        r"^netstat -an: Recv-Q of the listening socket is above Send-Q",
        "On the gateway's machine itself a connection to the port on 127.0.0.1 fails as well",
    ),
    Replacement(
        MAC | NOT_ON_LINUX,
        r"^netstat -an on the gateway's host: Recv-Q above Send-Q is a full queue \(IBD207\), else packets are dropped",
        "On the gateway's machine itself 127.0.0.1 works: then packets are dropped; else it is the gateway (IBD207)",
    ),
    Replacement(MAC | NOT_ON_LINUX, r"\bip route\b", "netstat -rn"),
    Replacement(MAC | NOT_ON_LINUX, r" \(nft list ruleset\)", ""),
    Replacement(MAC, r"\bgetent hosts HOST", "dscacheutil -q host -a name HOST"),
    Replacement(MAC, r" If it is IPv6, the line precedence .*", ""),  # only glibc has gai.conf
    Replacement(NO_CONTAINER | SYSTEM, r" inside the container\b", " here"),
    Replacement(POD, r" inside the container\b", " in the pod"),
    Replacement(POD, r"the published port leads to the", "the Service's targetPort is the"),
    Replacement(POD, r"a paused container\b", "a stopped process"),
    Replacement(MAC | WSL | IN_VM, r"the line for all addresses", "a line for all addresses"),
    Replacement(PODMANS - HOST_NETWORK - NO_NETWORK, r"\bhost\.docker\.internal\b", "host.containers.internal"),
    Replacement(NO_NAME, r", or host\.docker\.internal\b", ""),
    Replacement(NO_NAME, r"\bhost\.docker\.internal, or (the default gateway)", r"\1"),
)


def commands_for(setting: Setting, commands: tuple[str, ...]) -> tuple[str, ...]:
    """The commands as they are typed there, each once."""
    return tuple(dict.fromkeys(filter(None, (_command_for(setting, command) for command in commands))))


def _command_for(setting: Setting, command: str) -> str:
    for row in COMMANDS:
        if setting in row.where and (match := re.fullmatch(row.pattern, command)):
            return match.expand(row.by)
    return command


def worded(setting: Setting, text: str) -> str:
    """A fix or a check as it reads there."""
    for row in PROSE:
        if setting in row.where:
            text = re.sub(row.pattern, row.by, text)
    return text
