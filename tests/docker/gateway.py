"""A practice gateway as a program of its own, of the standard library only: `gateway.py HOST PORT [BEHAVIOUR]`."""

import asyncio
import sys

from relay.practice import Practice, PracticeGateway, parse_behaviour


async def serve(host: str, port: int, behaviour: str) -> None:
    name, value = parse_behaviour(behaviour)
    gateway = PracticeGateway(Practice(behaviour=name, value=value))
    await gateway.start(host, port)
    print("listening", flush=True)
    await asyncio.Event().wait()  # until it is killed


if __name__ == "__main__":
    from relay.net.poller import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "normal"))
