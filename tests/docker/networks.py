"""Container networks that have just been made, and what their first client gets from a relay or its service."""

import json

from tests.docker.engine import DOCKER0


def first_clients(engine, count, *options):
    """Make `count` networks one after the other, each with a client at once; what was not answered.

    Each client knocks at its own network's gateway address and at docker0's, where "host-gateway" leads.
    """
    failed = []
    for number in range(count):
        name = f"fresh{number}"
        engine("network", "create", *options, name)
        try:
            network = json.loads(engine("network", "inspect", name))[0]["IPAM"]["Config"]
            gateways = [one["Gateway"].partition("/")[0] for one in network]
            addresses = [f"[{one}]:4003" if ":" in one else f"{one}:4003" for one in (*gateways, DOCKER0)]
            said = engine.run("/src/tests/docker/knock.py", *addresses, options=("--network", name))
            failed += [f"{name}: {line}" for line in said.splitlines() if not line.endswith("  answered")]
        finally:
            engine("network", "rm", name)
    return failed
