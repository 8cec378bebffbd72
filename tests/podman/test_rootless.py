"""An ordinary user's Podman (4.3: slirp4netns): what of it reaches a relay, and what does not.

Its containers have no bridge of the host's. Their traffic is made by a program of the host: it comes from loopback
where that is allowed, and else from the very address it dials.
"""

import pytest

from tests.docker.engine import HOST_ADDRESS
from tests.docker.networks import refused

KNOCK = "/src/tests/docker/knock.py"
NAME = "host.containers.internal"  # the host's own address
SLIRP = "10.0.2.2"  # the host, as slirp4netns shows it
ON_THE_HOST = ("--listen", "auto:4003", "--listen", f"{HOST_ADDRESS}:4003")
NAMED = (f"IB_HOST={NAME}", "IB_PORT=4003")
LOOPBACK_ALLOWED = ("--network", "slirp4netns:allow_host_loopback=true")


@pytest.fixture
def options(request, rootless):
    """Options of `podman run`; the network of its own is there meanwhile."""
    words = request.param
    if "strategies" in words:
        rootless("network", "create", "strategies")
    yield words
    if "strategies" in words:
        rootless("network", "rm", "--force", "strategies")


OWN_NETWORK = ("--network", "strategies")
EVERY = [(), LOOPBACK_ALLOWED, OWN_NETWORK, ("--network", "host")]
EVERY_IDS = ["slirp4netns", "slirp4netns and loopback", "user network", "host"]


@pytest.mark.parametrize("options", EVERY, ids=EVERY_IDS, indirect=True)
def test_all_are_served_where_the_relay_listens_on_the_host_s_address(rootless, diagnose, relay, options):
    records = relay(*ON_THE_HOST)
    assert rootless.run(KNOCK, NAME, options=options).split() == [NAME, "answered"]
    run = diagnose(rootless, options=options, environment=NAMED)
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []


@pytest.mark.parametrize(
    ("options", "where"),
    [(LOOPBACK_ALLOWED, SLIRP), (("--network", "host"), "127.0.0.1")],
    ids=["slirp4netns and loopback", "host"],
    indirect=["options"],
)
def test_a_relay_as_it_comes_serves_those_that_reach_the_host_s_loopback(rootless, diagnose, relay, options, where):
    records = relay()
    assert rootless.run(KNOCK, where, options=options).split() == [where, "answered"]
    run = diagnose(rootless, options=options)
    assert (run.status, run.codes, run.line.split(":")[0]) == (0, [], f"Works via {where}")
    assert refused(records()) == []


@pytest.mark.parametrize("options", [(), OWN_NETWORK], ids=["slirp4netns", "user network"], indirect=True)
def test_a_relay_as_it_comes_is_out_of_reach_for_the_others_and_ib_diagnose_says_so(rootless, diagnose, relay, options):
    relay()
    assert "ConnectionRefusedError" in rootless.run(KNOCK, NAME, options=options)
    run = diagnose(rootless, options=options)
    assert run.status == 2, run
    assert "IBD202" in (*run.codes, *run.candidates), run
