"""Runs a relay in this process until it is told to stop: signals in, methods of the relay out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from relay.config.load import Loaded
from relay.logs.log import Log
from relay.manager.activation import Activation
from relay.net.signals import let_signals_in
from relay.server import Relay
from relay.survival.handover import Handover


async def run_relay(
    loaded: Loaded,
    log: Log,
    reload: Callable[[], Loaded] | None,
    activation: Activation | None = None,
    handed: Handover | None = None,
) -> None:
    """Start, serve until SIGTERM, SIGINT or a second signal, and return; BindError when it cannot listen."""
    relay = Relay(loaded, log, reload, activation, handed)
    loop = asyncio.get_running_loop()
    # A turn later: where a SIGUSR1 and the SIGTERM after it wait for a busy process, the kernel runs the handler of the
    # SIGTERM first.
    loop.add_signal_handler(signal.SIGTERM, lambda: loop.call_soon(relay.stop, "SIGTERM"))
    loop.add_signal_handler(signal.SIGINT, relay.stop, "SIGINT", True)
    loop.add_signal_handler(signal.SIGHUP, relay.reload)
    loop.add_signal_handler(signal.SIGUSR1, relay.drain, "SIGUSR1")
    loop.add_signal_handler(signal.SIGUSR2, relay.upgrade)
    let_signals_in()
    await relay.start()
    await relay.serve()
