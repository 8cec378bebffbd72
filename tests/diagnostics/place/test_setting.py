"""From facts to the kind of place: every kind is reached, and what is not known is not guessed."""

import pytest

from diagnostics.place.setting import Setting, here, setting_of

DOCKER = {"container": "yes", "runtime": "docker", "os": "Linux 6.8"}
PODMAN = {"container": "yes", "runtime": "podman", "os": "Linux 6.8"}
HOST = {"container": "no", "runtime": "none", "network_mode": "host"}
WSL = {"container": "no", "runtime": "wsl", "os": "Linux 5.15-microsoft-standard-WSL2"}

PLACES = [
    (HOST | {"os": "Linux 6.8"}, Setting.LINUX),
    (HOST | {"os": "Linux 6.8", "network_mode": "none"}, Setting.LINUX),
    (HOST | {"os": "Darwin 24.1.0"}, Setting.MACOS),
    ({"os": "Darwin 24.1.0"}, Setting.MACOS),
    (WSL | {"network_mode": "wsl nat"}, Setting.WSL_NAT),
    (WSL | {"network_mode": "wsl mirrored"}, Setting.WSL_MIRRORED),
    (DOCKER, Setting.DOCKER),
    (DOCKER | {"network_mode": "user network", "rootless": "no"}, Setting.DOCKER),
    (DOCKER | {"network_mode": "overlay", "rootless": "no"}, Setting.DOCKER_SWARM),
    (DOCKER | {"network_mode": "host"}, Setting.DOCKER_HOST),
    (DOCKER | {"network_mode": "none"}, Setting.DOCKER_NO_NETWORK),
    (DOCKER | {"network_mode": "default bridge", "rootless": "yes"}, Setting.DOCKER_ROOTLESS),
    (DOCKER | {"network_mode": "host", "rootless": "yes"}, Setting.DOCKER_ROOTLESS),
    (DOCKER | {"network_mode": "default bridge", "flavour": "colima"}, Setting.DOCKER_DESKTOP),
    (PODMAN | {"network_mode": "default bridge", "rootless": "no"}, Setting.PODMAN),
    (PODMAN | {"network_mode": "host", "rootless": "no"}, Setting.PODMAN_HOST),
    (PODMAN | {"network_mode": "host", "rootless": "yes"}, Setting.PODMAN_HOST),
    (PODMAN | {"network_mode": "none", "rootless": "yes"}, Setting.PODMAN_NO_NETWORK),
    (PODMAN | {"network_mode": "pasta"}, Setting.PODMAN_ROOTLESS),
    (PODMAN | {"network_mode": "slirp4netns"}, Setting.PODMAN_ROOTLESS),
    (PODMAN | {"network_mode": "user network", "rootless": "yes"}, Setting.PODMAN_ROOTLESS),
    (PODMAN | {"flavour": "podman machine"}, Setting.PODMAN_MACHINE),
    ({"container": "yes", "runtime": "kubernetes", "network_mode": "host"}, Setting.POD),
    ({"container": "yes", "runtime": "lxc"}, Setting.SYSTEM_CONTAINER),
    ({"container": "yes", "runtime": "systemd-nspawn"}, Setting.SYSTEM_CONTAINER),
    ({"container": "yes", "runtime": "systemd-nspawn", "network_mode": "none"}, Setting.SYSTEM_CONTAINER),
    ({"container": "yes", "runtime": "systemd-nspawn", "network_mode": "host"}, Setting.SYSTEM_CONTAINER_HOST),
    ({"container": "yes", "runtime": "apptainer"}, Setting.UNKNOWN),
    ({"container": "no", "os": "FreeBSD 14"}, Setting.UNKNOWN),
    ({}, Setting.UNKNOWN),
]


@pytest.mark.parametrize(("known", "setting"), PLACES)
def test_the_kind_of_place(known, setting):
    assert setting_of(known.get) is setting


HERE = [
    ("this machine", Setting.LINUX),
    ("this machine", Setting.WSL_MIRRORED),
    ("this container", Setting.DOCKER_HOST),
    ("this container", Setting.PODMAN_ROOTLESS),
    ("this container", Setting.SYSTEM_CONTAINER),
    ("this pod", Setting.POD),
    ("this place", Setting.UNKNOWN),
]


@pytest.mark.parametrize(("called", "setting"), HERE)
def test_what_it_is_called_by_those_who_are_there(called, setting):
    assert here(setting) == called


def test_every_kind_is_reached():
    assert {setting for _, setting in PLACES} == set(Setting)
