"""One ib_async session with streaming prices, until SIGTERM; the last line of stdout says what it saw.

It knows nothing of us: `python ib_session.py PORT`, with ib_async on PYTHONPATH.
"""

import asyncio
import json
import signal
import sys
import time

import ib_async


async def main() -> None:
    ib = ib_async.IB()
    seen = {"ticks": 0, "disconnected": 0, "longest_gap": 0.0, "errors": []}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ib.disconnectedEvent += lambda: seen.update(disconnected=seen["disconnected"] + 1)
    ib.errorEvent += lambda request, code, *rest: seen["errors"].append(code)
    await ib.connectAsync("127.0.0.1", int(sys.argv[1]), clientId=7, timeout=10)
    ticker = ib.reqMktData(ib_async.Stock("SPY", "SMART", "USD", conId=756733), "", False, False)
    last = time.monotonic()

    def count(ticker) -> None:
        nonlocal last
        now = time.monotonic()
        seen["ticks"] += len(ticker.ticks)
        seen["longest_gap"] = max(seen["longest_gap"], now - last)
        last = now

    ticker.updateEvent += count
    print("running", flush=True)
    await stop.wait()
    seen["connected_at_end"] = ib.isConnected()
    try:
        seen["answers_at_end"] = bool(await asyncio.wait_for(ib.reqCurrentTimeAsync(), 5))
    except (TimeoutError, ConnectionError):
        seen["answers_at_end"] = False
    # Let go of our own listener first: hanging up is not being disconnected.
    result = dict(seen)
    ib.cancelMktData(ticker.contract)
    ib.disconnect()
    print(json.dumps(result), flush=True)


asyncio.run(main())
