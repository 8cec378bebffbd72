"""How long to look for the next bytes without sleeping: windows that are learned, and a budget for those in vain. Pure.

Theory. A relay that sleeps until the next bytes come pays for a wake-up: the kernel has to start an idle core, which on
a virtual machine takes longer than all the work of a relay (measured: 7 us on one machine, 60 to 100 us on others), and
a sleep with its wake-up costs CPU, too. Looking again and again instead costs a whole core for as long as it lasts. So
it is worth it where something comes soon, and only there.

How soon differs by what has just been passed on: a gateway answers a question within microseconds, and the next tick
comes when the market moves. So each descriptor has its Arrivals: how much later the next bytes came, whoever sent them,
after bytes had been read from this one. They are counted by size, older ones weigh less, and the window is the one that
would have paid best: what was answered within it is worth WORTH each, and what was not has cost the whole window.

Polling that is answered is no waste as long as it costs no more than what it replaces, a sleep and a wake-up. What it
costs beyond that, and polling that ends in a sleep after all, is in vain. Of that a Budget allows a share of one core,
whatever the windows say; one half of it is for short windows only, so that no session takes it all from the others.

Where relay and gateway share one core, nothing can come while the relay looks: windows that never pay are opened ever
more seldom.
"""

from __future__ import annotations

from bisect import bisect_left

BOUNDS = (25e-6, 50e-6, 100e-6, 200e-6, 300e-6)  # seconds; the windows to choose from
LONGEST = BOUNDS[-1]
FIRST_WINDOW = 100e-6  # seconds, before anything is known
WORTH = 100e-6  # seconds of polling in vain that are given for one wake-up less
REPLACED = 50e-6  # seconds of CPU that a sleep and a wake-up take, with what has left the processor's caches meanwhile
SHARE = 0.02  # of one core that polling in vain may take
_FIRST_CHOICE = 4  # arrivals
_CHOOSE = 8  # arrivals between two later choices of a window
_REST = 8  # sleeps, of which one is measured where there is no window: cheaper where nothing comes soon anyway
_LONGEST_REST = 1024
_MEMORY = 32  # arrivals after which all of them count half


class Arrivals:
    """How soon the next bytes came after those of one descriptor. `window`: how long to poll for them, in seconds.

    `rest`: without a window, sleeps until one is measured.
    """

    __slots__ = ("window", "rest", "_resting", "_in_vain", "_counts", "_left")

    def __init__(self) -> None:
        self.window = FIRST_WINDOW
        self._counts = bytearray(len(BOUNDS) + 1)  # small: by the window they came within; the last one: later
        self._left = _FIRST_CHOICE
        self.rest = self._resting = _REST
        self._in_vain = False  # has not been answered since it was opened

    def is_measured(self) -> bool:
        """Without a window: is the sleep that comes to be measured?"""
        self.rest -= 1
        if self.rest > 0:
            return False
        self.rest = self._resting
        return True

    def close(self) -> None:
        """No window, until so much is measured that there is one again."""
        self.window, self.rest = 0.0, self._resting

    def answered(self) -> None:
        """The window has paid."""
        self._in_vain, self._resting = False, _REST

    def learn(self, gap: float) -> None:
        """The next bytes came after so many seconds; above LONGEST, or later."""
        self._counts[bisect_left(BOUNDS, gap)] += 1
        self._left -= 1
        if not self._left:
            self._left = _CHOOSE
            before = self.window
            self._choose()
            if before and not self.window and self._in_vain:
                self.rest = self._resting = min(2 * self._resting, _LONGEST_REST)
            elif self.window and not before:
                self._in_vain = True

    def _choose(self) -> None:
        counts, total = self._counts, sum(self._counts)
        best, within, self.window = 0.0, 0, 0.0
        for bound, count in zip(BOUNDS, counts, strict=False):
            within += count
            gain = within * WORTH - (total - within) * bound
            if gain > best:
                best, self.window = gain, bound
        if total >= _MEMORY:
            self._counts = bytearray(count // 2 for count in counts)


class Budget:
    """Seconds of polling in vain: a share of the time that passes, saved up for a second at most."""

    __slots__ = ("share", "_left", "_at")

    def __init__(self, share: float, now: float) -> None:
        self.share, self._left, self._at = share, share, now

    def affords(self, window: float, now: float) -> bool:
        """May this window turn out to be in vain?"""
        self._left = min(self.share, self._left + (now - self._at) * self.share)
        self._at = now
        return window <= self._left

    def spend(self, seconds: float) -> None:
        """So many were in vain."""
        self._left -= seconds


class BusyPolling:
    """The policy of one relay. `always`: without a window and without a budget, a whole core for it.

    What came is learnt from later (`learn`), when nobody waits for what the relay does.
    """

    __slots__ = ("always", "budget", "at_rest", "_came")

    def __init__(self, now: float, always: bool = False, share: float = SHARE) -> None:
        self.always = always
        self.budget = Budget(share, now)
        self.at_rest = Arrivals() if always else None  # what is waited after when nothing has moved
        self._came: tuple[Arrivals, float] | None = None

    def after(self, arrivals: Arrivals) -> Arrivals | None:
        """Bytes of this descriptor have moved. None: sleep, and do not measure for how long."""
        return arrivals if arrivals.window or self.always or arrivals.is_measured() else None

    def until(self, arrivals: Arrivals, now: float) -> float:
        """Until when (monotonic) to poll after `arrivals`' bytes; `now` where not at all."""
        if self.always:
            return float("inf")
        window = arrivals.window
        if not window:
            return now
        reserve = self.budget.share / 2 if window > REPLACED else 0.0
        if not self.budget.affords(window + reserve, now):
            arrivals.close()  # or each of its bytes would ask again
            return now
        return now + window

    def in_vain(self, seconds: float) -> None:
        """So long was polled, and then slept after all."""
        self.budget.spend(seconds)

    def answered(self, arrivals: Arrivals, gap: float) -> None:
        """The next bytes after `arrivals`' came after `gap` seconds of polling."""
        if gap > REPLACED and not self.always:
            self.budget.spend(gap - REPLACED)
        arrivals.answered()
        self._came = arrivals, gap

    def came(self, arrivals: Arrivals, gap: float, ready: bool) -> None:
        """... of `gap` seconds, the last of them asleep; not `ready`: nobody knows when."""
        if ready or gap > LONGEST:
            self._came = arrivals, gap

    def learn(self) -> None:
        """Think over what came last."""
        if self._came is not None:
            arrivals, gap = self._came
            self._came = None
            arrivals.learn(gap)
