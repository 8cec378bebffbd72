"""Recognising a place from texts: what decides when the signs disagree. Whole places are in test_facts.py."""

import pytest

from diagnostics.place import surroundings as place
from diagnostics.place.reading import Reading
from diagnostics.place.recognise import Place, own_mounts, recognise
from diagnostics.place.surroundings import Surroundings

ID = "ab" * 32
ROOT = "1 0 0:1 / / rw - overlay overlay rw\n"
HOSTS = f"2 1 8:1 /var/lib/docker/containers/{ID}/hosts /etc/hosts rw master:1 - ext4 /dev/sda1 rw\n"
MACHINE = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"


def test_a_whole_place():
    here = Surroundings(
        {place.MOUNTINFO: ROOT + HOSTS, place.UID_MAP: "0 0 4294967295\n"},
        ("lo", "eth0"),
        ("172.17.0.2",),
        peered=True,
    )
    assert recognise(here) == Place(
        Reading("yes", place.MOUNTINFO),
        Reading("docker", place.MOUNTINFO),
        Reading(None, place.VERSION),
        Reading("default bridge", "/etc/resolv.conf, /etc/hosts", "likely"),
        Reading("no", place.UID_MAP, "likely"),
        Reading("ab" * 6, place.MOUNTINFO),
    )


MOUNTS = [
    ("the root", ROOT, "/ / overlay"),
    ("a file of a container", HOSTS, f"/etc/hosts /var/lib/docker/containers/{ID}/hosts ext4"),
    ("something else", "3 1 8:1 /data /data rw - ext4 /dev/sda1 rw\n", ""),
    ("the mounts of other containers", f"3 1 8:1 / /var/lib/docker/overlay2/{ID}/merged rw - overlay overlay rw\n", ""),
    ("no separator", "3 1 8:1 / / rw ext4 /dev/sda1 rw\n", ""),
    ("no fields", " - \n-\n\n", ""),
]


@pytest.mark.parametrize("text, expected", [row[1:] for row in MOUNTS], ids=[row[0] for row in MOUNTS])
def test_own_mounts(text, expected):
    assert own_mounts(text) == expected


RUNTIMES = [  # (name, texts, container, runtime)
    ("systemd says lxc", {place.MANAGER: "lxc\n", place.MOUNTINFO: MACHINE}, "yes", "lxc"),
    ("systemd says a runtime without a sign of its own", {place.MANAGER: "rkt\n"}, "yes", "rkt"),
    ("systemd says wsl", {place.MANAGER: "wsl\n", place.MOUNTINFO: MACHINE}, "no", "none"),
    (
        "a variable says something unprintable",
        {place.DECLARED: "\x1b[31m", place.MOUNTINFO: MACHINE},
        "no",
        "none",
    ),
    ("lxc by its cgroup", {place.CGROUP: "1:name=systemd:/lxc/box\n", place.MOUNTINFO: MACHINE}, "yes", "lxc"),
    ("incus by its socket", {"/dev/incus/sock": "", place.MOUNTINFO: MACHINE}, "yes", "lxc"),
    ("apptainer", {"/.singularity.d": "", place.MOUNTINFO: ROOT}, "yes", "apptainer"),
    ("docker by the cgroup of systemd", {place.CGROUP: f"0::/system.slice/docker-{ID}.scope\n"}, "yes", "docker"),
    ("podman by its cgroup", {place.CGROUP: f"0::/user.slice/libpod-{ID}.scope/container\n"}, "yes", "podman"),
    (
        "kubernetes before docker",
        {place.CGROUP: f"1:cpu:/kubepods/burstable/{ID}\n", place.DOCKERENV: ""},
        "yes",
        "kubernetes",
    ),
    (
        "podman inside docker",
        {place.DECLARED: "podman", place.DOCKERENV: "", place.MOUNTINFO: ROOT},
        "yes",
        "podman",
    ),
    ("litter of podman", {place.CONTAINERENV: "", place.MOUNTINFO: MACHINE}, "no", "none"),
    (
        "a docker marker on storage without layers",
        {place.DOCKERENV: "", place.MOUNTINFO: MACHINE + HOSTS},
        "yes",
        "docker",
    ),
    ("nothing known", {}, None, None),
]


@pytest.mark.parametrize("texts, container, runtime", [row[1:] for row in RUNTIMES], ids=[row[0] for row in RUNTIMES])
def test_runtime(texts, container, runtime):
    found = recognise(Surroundings(texts))
    assert (found.container.value, found.runtime.value) == (container, runtime)


def test_off_linux_there_is_no_container():
    found = recognise(Surroundings(linux=False, interfaces=("lo0", "en0"), addresses=("10.0.0.2",)))
    assert [reading.value for reading in (found.container, found.runtime, found.flavour, found.network_mode)] == [
        "no",
        "none",
        "none",
        "host",
    ]


ROOTLESS = [
    ("the whole range", "         0          0 4294967295\n", "no"),
    ("a shifted range, as userns-remap makes it", "0 100000 65536\n", "no"),
    ("pieced together from one user's ids", "0 1000 1\n1 100000 65536\n", "yes"),
    ("with the user's id kept", "0 1 1000\n1000 0 1\n1001 1001 64536\n", "yes"),
    ("garbage", "0 1000\n", None),
    ("nothing", "", None),
]


@pytest.mark.parametrize("text, expected", [row[1:] for row in ROOTLESS], ids=[row[0] for row in ROOTLESS])
def test_rootless(text, expected):
    assert recognise(Surroundings({place.MOUNTINFO: ROOT + HOSTS, place.UID_MAP: text})).rootless.value == expected


def test_a_home_network_with_the_numbers_of_a_desktop_is_no_desktop():
    texts = {
        place.MOUNTINFO: MACHINE,
        place.RESOLV: "nameserver 192.168.65.1\n",
        place.VERSION: "Linux version 6.1\n",
    }
    assert recognise(Surroundings(texts)).flavour.value == "none"


def test_a_shell_in_the_machine_of_lima_knows_it():
    texts = {
        place.MOUNTINFO: MACHINE,
        place.HOSTNAME: "lima-default\n",
        place.VERSION: "Linux version 6.1\n",
    }
    found = recognise(Surroundings(texts, ("lo", "eth0"), ("192.168.5.15",)))
    assert (found.container.value, found.flavour.value, found.network_mode.value) == ("no", "lima", "host")
