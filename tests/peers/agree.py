"""Does ib-diagnose tell the truth? `python -m tests.peers.agree`: at every practice behaviour, ib_async decides.

Where ib-diagnose says usable, ib_async must connect and synchronize over the same route; where it says not, ib_async
must fail, too. Each of the two meets a gateway of its own, because some behaviours depend on how often they were met.
"""

import asyncio
import dataclasses
import json
import sys

from relay.practice import BEHAVIOURS, Practice, PracticeGateway
from tests.peers.clients import CHECKOUT, CLIENTS, PEERS, install_all
from tests.peers.driver_common import Task

HOST = "127.0.0.1"
PATIENCE = 4.0  # seconds: ib_async's own for connect
TOGETHER = 4  # behaviours at a time

# What needs a value to be played, or other clients; and the one that treats the first connection differently from the
# next: ib-diagnose makes two, one to listen and one to speak.
VALUES = {"redirect": "redirect=gateway.example:4001", "client-limit": "client-limit=0", "slow-sync": "slow-sync=1"}
LEFT_OUT = {"fail-first"}
CONNECTED = ("connect", "hello", "ready", "sync")  # stages of ib_async's connectAsync


async def main():
    client = next(one for one in CLIENTS if one.name == "ib_async")
    missing = await install_all([client], PEERS)
    if missing:
        print(f"cannot install {client.requirement}: {missing[client]}", file=sys.stderr)
        return 1
    bound = asyncio.Semaphore(TOGETHER)
    names = [VALUES.get(name, name) for name in BEHAVIOURS if name not in LEFT_OUT]
    wrong = sum(await asyncio.gather(*(_compare(name, client, bound) for name in names)))
    print(f"{len(names)} behaviours, {len(names) - wrong} agree, {wrong} do not")
    return 1 if wrong or not names else 0


async def _compare(name, client, bound):
    """True when the two do not agree."""
    async with bound:
        async with PracticeGateway(Practice.named(name)) as gateway:
            said = await _diagnose(gateway.port)
        async with PracticeGateway(Practice.named(name)) as gateway:
            got = await _ib_async(client, gateway.port)
    usable, connected = said["verdict"]["level"] == "usable", got["failed_at"] not in CONNECTED
    codes = " ".join(finding["code"] for finding in said["findings"]) or "-"
    ended = "synchronized" if connected else f"failed at {got['failed_at']}"
    word = "ok  " if usable == connected else "FAIL"
    print(f"{word} {name:30} {said['verdict']['level']:13} {codes:20} ib_async {ended}", flush=True)
    return usable != connected


async def _diagnose(port):
    words = ("-m", "diagnostics", "--target", f"{HOST}:{port}", "--format", "json", "--timeout", str(PATIENCE))
    return json.loads((await _output(None, sys.executable, *words))[0])


async def _ib_async(client, port):
    task = dataclasses.asdict(Task(HOST, port, 7, PATIENCE, ticks=1, burst=0, watch=0.0, deadline=6 * PATIENCE))
    for line in reversed(await _output(client.environment(PEERS), *client.command(task))):
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError(f"{client.name} said nothing")


async def _output(environment, *command):
    """What the process writes to its standard output: one JSON text, or lines."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=CHECKOUT,
        env=environment,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    text = said.decode()
    return [text] if environment is None else text.splitlines()


if __name__ == "__main__":
    from relay.net.poller import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(main()))
