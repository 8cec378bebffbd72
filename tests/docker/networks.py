"""Container networks that have just been made, and what their first client gets from a relay or its service."""

import json

from tests.docker.engine import DOCKER0


def gateways(engine, network):
    """The host's addresses on a container network."""
    found = json.loads(engine("network", "inspect", network))[0]["IPAM"]["Config"]
    return [one["Gateway"].partition("/")[0] for one in found]


def first_clients(engine, count, *options):
    """Make `count` networks one after the other, each with a client at once; what was not answered.

    Each client knocks at its own network's gateway address and at docker0's, where "host-gateway" leads.
    """
    failed = []
    for number in range(count):
        name = f"fresh{number}"
        engine("network", "create", *options, name)
        try:
            where = (*gateways(engine, name), DOCKER0)
            addresses = [f"[{one}]:4003" if ":" in one else f"{one}:4003" for one in where]
            said = engine.run("/src/tests/docker/knock.py", *addresses, options=("--network", name))
            failed += [f"{name}: {line}" for line in said.splitlines() if not line.endswith("  answered")]
        finally:
            engine("network", "rm", name)
    return failed


def refused(records):
    """The records of clients that were turned away."""
    return [record for record in records if record.get("end.reason") == "acl_denied"]
