"""A container bridge that appears while the relay runs is listened on at once; only its subnet may come in.

Everything happens in network namespaces: one is the Docker host (with a bridge named docker0, as the engine would make
it), one a container behind the bridge, one a machine on another network. Run it as root:

    python -X dev -W error -m pytest tests/host/test_bridges.py
"""

import contextlib
from dataclasses import dataclass

import pytest

from tests.host.namespaces import Namespace, join, why_not
from tests.relay.kit.blackbox import LISTENING, RelayProcess
from tests.relay.kit.scripted import LOOPBACK, Peer, Upstream, free_port, wait_until

reason = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(reason), reason=reason)]

BRIDGE, CONTAINER, ELSEWHERE = "172.17.0.1", "172.17.0.2", "10.98.0.2"


@dataclass
class Scene:
    host: Namespace
    container: Namespace
    elsewhere: Namespace
    relay: RelayProcess
    upstream: Upstream
    cable: str  # the host's end of the container's cable, to be plugged into the bridge

    def raise_bridge(self) -> None:
        """What the Docker engine does at its start."""
        self.host.ip("link", "add", "docker0", "type", "bridge")
        self.host.ip("address", "add", f"{BRIDGE}/16", "dev", "docker0")
        self.host.ip("link", "set", "docker0", "up")
        self.host.ip("link", "set", self.cable, "master", "docker0")

    def visit(self, namespace: Namespace) -> Peer:
        """A connection to the relay's port at the bridge's address."""
        with namespace.inside():
            return Peer.dial((BRIDGE, self.relay.port))


@pytest.fixture
def scene():
    """A relay with the default `auto` on a host without a bridge; a container-to-be and a stranger are cabled to it."""
    with contextlib.ExitStack() as stack:
        host, container, elsewhere = (
            stack.enter_context(Namespace(role)) for role in ("host", "container", "elsewhere")
        )
        cable, _ = join(host, "", container, f"{CONTAINER}/16")
        join(host, "10.98.0.1/24", elsewhere, f"{ELSEWHERE}/24")
        elsewhere.ip("route", "add", BRIDGE, "via", "10.98.0.1")
        with host.inside():
            upstream = stack.enter_context(Upstream())
            port = free_port()
            relay = RelayProcess(upstream.port, listen=f"auto:{port}", port=port, through=host.through)
            stack.enter_context(relay)
        yield Scene(host, container, elsewhere, relay, upstream, cable)


def test_a_bridge_that_appears_later_is_listened_on_and_admits_its_containers_only(scene):
    assert {one["network.local.address"] for one in scene.relay.records(LISTENING)} <= {LOOPBACK, "::1"}
    with scene.host.inside():
        early = scene.relay.connect()
    early_gateway = scene.upstream.accept()
    scene.raise_bridge()
    record = scene.relay.record(LISTENING, within=10, **{"network.local.address": BRIDGE})
    assert "docker0" in record["message"]

    with scene.visit(scene.container) as client:
        gateway = scene.upstream.accept()
        client.sendall(b"from a container")
        assert gateway.read_exactly(16) == b"from a container"
        gateway.close()
    closed = scene.relay.end_of(client)
    assert closed["client.address"] == CONTAINER

    with scene.visit(scene.elsewhere) as stranger:
        assert stranger.ending() == "rst"
    refused = scene.relay.end_of(stranger)
    assert (refused["end.reason"], refused["client.address"]) == ("acl_denied", ELSEWHERE)
    assert scene.upstream.hears_nothing(0.1)

    early.sendall(b"still here")
    assert early_gateway.read_exactly(10) == b"still here"


def test_a_bridge_that_goes_away_is_let_go_and_picked_up_again_when_it_comes_back(scene):
    scene.raise_bridge()
    scene.relay.record(LISTENING, within=10, **{"network.local.address": BRIDGE})
    scene.host.ip("link", "delete", "docker0")
    assert BRIDGE in scene.relay.record("ib_relay.listener.closed", within=10)["message"]
    scene.raise_bridge()
    again = {"network.local.address": BRIDGE}
    wait_until(lambda: len(scene.relay.records(LISTENING, **again)) == 2, "the bridge is listened on again")
    with scene.visit(scene.container) as client:
        client.sendall(b"back")
        assert scene.upstream.accept().read_exactly(4) == b"back"
