"""One Podman of root's and one of an ordinary user's, on a "host" of our own; the rest is as beside Docker."""

import pytest

from tests.docker.conftest import Run, host, namespace, program, relay  # noqa: F401 (fixtures)
from tests.podman.podman import Podman, lay_out


@pytest.fixture(scope="session")
def laid_out(namespace):  # noqa: F811
    lay_out()


@pytest.fixture(scope="session")
def rootful(laid_out):
    with Podman() as podman:
        yield podman


@pytest.fixture(scope="session")
def rootless(laid_out):
    with Podman(rootless=True) as podman:
        yield podman


@pytest.fixture
def diagnose(program):  # noqa: F811
    """diagnose(podman, *words): ib-diagnose in a new container of that Podman."""

    def run(podman, *words, options=(), environment=()):
        return Run(*podman.diagnose(program, "--format", "json", *words, options=options, environment=environment))

    return run
