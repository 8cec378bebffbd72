"""Puts `latency` into force: whether this relay, on this machine, looks for the next bytes without sleeping."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from relay.config.keys import Latency
from relay.net.aside import aside
from relay.net.busy_polling import BusyPolling
from relay.net.poller import Poller

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

BETWEEN_LOOKS = 60.0  # seconds between two looks at the batteries
_SUPPLIES = Path("/sys/class/power_supply")  # Linux; Documentation/ABI/testing/sysfs-class-power


def busy_polling(latency: Latency, cores: int, discharging: bool, now: float) -> BusyPolling | None:
    """The policy for a machine with so many cores; None: sleep at once.

    With one core the gateway cannot answer while the relay looks whether it has.
    """
    if latency is Latency.OFF or cores < 2:
        return None
    if latency is Latency.ALWAYS:
        return BusyPolling(now, always=True)
    return None if discharging else BusyPolling(now)


def allowed_cores() -> int:
    """How many this process may use, where that can be told."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batteries(supplies: Path = _SUPPLIES) -> list[Path]:
    """What this machine can run on; the battery of a mouse is none of them. Empty where nobody tells."""
    try:
        found = sorted(supplies.iterdir())
    except OSError:
        return []
    return [supply for supply in found if _said(supply, "type") == "Battery" and _said(supply, "scope") != "Device"]


def is_discharging(battery: Path) -> bool:
    """Does the machine live on it? It may have to ask the hardware, which can take milliseconds."""
    return _said(battery, "status") == "Discharging"


def _said(supply: Path, name: str) -> str:
    try:
        return (supply / name).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


class LatencyInForce:
    """The one who tells a poller how to wait, at a start, at a reload, and when a laptop is unplugged."""

    def __init__(
        self, poller: Poller, log: RelayLog, loop: asyncio.AbstractEventLoop, find: Callable[[], list[Path]] = batteries
    ) -> None:
        self._poller, self._log, self._loop = poller, log, loop
        self._find = find
        self._latency = Latency.OFF
        self._discharging = False
        self._looking: asyncio.Task[None] | None = None

    def put(self, latency: Latency) -> None:
        """From now on."""
        if latency is not self._latency:
            self._say(latency)
            self._latency = latency
            self._decide()
        if latency is Latency.ADAPTIVE and self._looking is None and (found := self._find()):
            self._looking = self._loop.create_task(self._look(found), name="batteries")

    def _say(self, latency: Latency) -> None:
        """What is not as one may think."""
        if latency is Latency.OFF:
            return
        if (os.cpu_count() or 1) < 2:
            level = "WARN" if latency is Latency.ALWAYS else "INFO"
            self._log.event("latency", "this machine has one core: the relay sleeps until bytes come", level)
        elif allowed_cores() < 2:
            message = "one core for this process: it slows down whoever shares it, the gateway above all"
            self._log.event("latency", message, "WARN" if latency is Latency.ALWAYS else "INFO")

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _decide(self) -> None:
        policy = busy_polling(self._latency, os.cpu_count() or 1, self._discharging, monotonic())
        self._poller.wait_by(policy)

    async def _look(self, found: list[Path]) -> None:
        """Again and again, beside the loop."""
        while True:
            try:
                discharging = await aside(lambda: any(map(is_discharging, found)), "batteries")
            except RuntimeError:  # no thread can be had at the moment
                discharging = self._discharging
            if discharging is not self._discharging:
                self._discharging = discharging
                self._decide()
                if self._latency is Latency.ADAPTIVE:
                    self._log.event("latency", _SAID[discharging])
            await asyncio.sleep(BETWEEN_LOOKS)


_SAID = {
    True: "on battery: the relay sleeps until bytes come",
    False: "on mains power again: the relay looks for bytes without sleeping where that pays",
}
