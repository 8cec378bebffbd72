"""relay/net/deadlines.py: one timer for all, on a real loop."""

import asyncio
import signal
from time import monotonic, sleep

import psutil
import pytest

from relay.net import deadlines as module
from relay.net.deadlines import Deadlines
from tests.relay.kit.blackbox import LINUX, OPEN, RelayProcess
from tests.relay.kit.loopback import until
from tests.relay.kit.scripted import Upstream, wait_until


class Guest:
    """Notes when it was called; `then` is done in the call."""

    def __init__(self, then=None):
        self.calls, self.then = [], then

    def expired(self, now):
        self.calls.append(now)
        if self.then is not None:
            self.then(now)


class Timers:
    """The loop as Deadlines sees it: every timer that is set is counted."""

    def __init__(self):
        self.loop, self.set, self.live = asyncio.get_running_loop(), 0, []

    def call_later(self, delay, callback):
        self.set += 1
        handle = self.loop.call_later(delay, callback)
        self.live = [one for one in self.live if not one.cancelled() and one.when() > self.loop.time()] + [handle]
        return handle


@pytest.fixture
def faults():
    return []


def new(faults, loop=None):
    return Deadlines(loop or asyncio.get_running_loop(), lambda who, error: faults.append((who, error)))


async def test_who_is_due_is_called_once_and_not_before_the_time(faults):
    deadlines, guest = new(faults), Guest()
    due = monotonic() + 0.03
    deadlines.set(guest, due)
    await until(lambda: guest.calls, "the deadline")
    assert due <= guest.calls[0] <= monotonic() < due + 1
    later = monotonic() + 0.02
    await until(lambda: monotonic() > later, "time for a second call")
    assert len(guest.calls) == 1


@pytest.mark.parametrize("busy", [0.0, 0.05], ids=["one by one", "all at once, after a pause of the loop"])
async def test_deadlines_come_in_their_order_whatever_the_order_they_were_set_in(faults, busy):
    deadlines, order = new(faults), []
    now = monotonic()
    for delay in (0.03, 0.01, 0.02, 0.005):
        deadlines.set(Guest(lambda _, delay=delay: order.append(delay)), now + delay)
    sleep(busy)  # noqa: ASYNC251 (the loop must stand still)
    await until(lambda: len(order) == 4, "all of them")
    assert order == [0.005, 0.01, 0.02, 0.03]


async def test_a_new_deadline_replaces_the_old_one_earlier_or_later(faults):
    deadlines, sooner, later = new(faults), Guest(), Guest()
    now = monotonic()
    deadlines.set(sooner, now + 60)
    deadlines.set(sooner, now + 0.02)
    deadlines.set(later, now + 0.01)
    deadlines.set(later, now + 60)
    await until(lambda: sooner.calls, "the one that was brought forward")
    assert (len(sooner.calls), later.calls) == (1, [])
    deadlines.close()


async def test_a_dropped_deadline_is_forgotten_and_dropping_twice_is_harmless(faults):
    deadlines, dropped, other = new(faults), Guest(), Guest()
    now = monotonic()
    deadlines.set(dropped, now + 0.005)
    deadlines.set(other, now + 0.02)
    deadlines.drop(dropped)
    deadlines.drop(dropped)
    await until(lambda: other.calls, "the other one")
    assert dropped.calls == []


async def test_one_that_is_in_the_past_is_due_at_once(faults):
    deadlines, guest = new(faults), Guest()
    deadlines.set(guest, monotonic() - 5)
    await until(lambda: guest.calls, "the deadline", within=1)


async def test_who_sets_a_new_deadline_in_its_call_is_called_again(faults):
    deadlines = new(faults)
    guest = Guest(lambda now: len(guest.calls) < 4 and deadlines.set(guest, now + 0.005))
    deadlines.set(guest, monotonic())
    await until(lambda: len(guest.calls) == 4, "four calls")
    assert deadlines._due == {}


async def test_who_sets_a_past_deadline_in_every_call_does_not_starve_the_loop(faults):
    deadlines = new(faults)
    guest = Guest(lambda now: deadlines.set(guest, now - 1))
    deadlines.set(guest, monotonic())
    begin = monotonic()
    await until(lambda: monotonic() - begin > 0.05, "the loop goes on")
    assert len(guest.calls) > 1
    deadlines.close()


async def test_one_call_may_drop_another_that_is_due_in_the_same_sweep(faults):
    deadlines = new(faults)
    one = Guest(lambda now: deadlines.drop(other))
    other = Guest(lambda now: deadlines.drop(one))
    deadlines.set(one, monotonic() - 1)
    deadlines.set(other, monotonic() - 1)
    await until(lambda: one.calls or other.calls, "the sweep")
    await asyncio.sleep(0)
    assert len(one.calls) + len(other.calls) == 1


async def test_one_call_may_postpone_another_that_is_due_in_the_same_sweep(faults):
    deadlines = new(faults)
    one = Guest(lambda now: deadlines.set(other, now + 60))
    other = Guest()
    deadlines.set(one, monotonic() - 1)
    deadlines.set(other, monotonic() - 1)
    await until(lambda: one.calls, "the sweep")
    await asyncio.sleep(0)
    assert other.calls == []
    deadlines.close()


async def test_a_fault_in_one_call_is_reported_and_the_others_go_on(faults):
    deadlines, fine, later = new(faults), Guest(), Guest()
    broken = Guest(lambda now: 1 // 0)
    now = monotonic()
    deadlines.set(broken, now - 1)
    deadlines.set(fine, now - 1)
    deadlines.set(later, now + 0.02)
    await until(lambda: later.calls, "the one after it")
    assert [(who, type(error)) for who, error in faults] == [(broken, ZeroDivisionError)]
    assert (len(fine.calls), len(broken.calls)) == (1, 1)


async def test_thousands_that_come_and_go_cost_no_timer_each(faults):
    timers = Timers()
    deadlines = new(faults, timers)
    guests = [Guest() for _ in range(2000)]
    now = monotonic()
    for number, guest in enumerate(guests):
        deadlines.set(guest, now + 10 + number / 1000)  # first bytes
        deadlines.set(guest, now + 5 + number / 1000)  # the dial
        deadlines.drop(guest)
    assert (timers.set, deadlines._due) == (2, {})
    deadlines.close()


async def test_when_nobody_is_left_the_loop_is_woken_once_at_the_most(faults):
    timers = Timers()
    deadlines, guest = new(faults, timers), Guest()
    deadlines.set(guest, monotonic() + 0.01)
    deadlines.drop(guest)
    later = monotonic() + 0.05
    await until(lambda: monotonic() > later, "the timer that was left")
    assert (timers.set, guest.calls) == (1, [])


async def test_after_close_nothing_is_called(faults):
    deadlines, guest = new(faults), Guest()
    deadlines.set(guest, monotonic() + 0.005)
    deadlines.close()
    later = monotonic() + 0.02
    await until(lambda: monotonic() > later, "the time it would have been")
    assert guest.calls == []


async def test_a_crowd_of_deadlines_leaves_the_sockets_their_turns(faults, monkeypatch):
    deadlines, done, turns = new(faults), [], []
    clock = [monotonic()]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])

    def work(_now):
        done.append(len(turns))
        clock[0] += module.SLICE / 2

    def turn():
        turns.append(1)
        if len(done) < 30:
            asyncio.get_running_loop().call_soon(turn)

    for _ in range(30):
        deadlines.set(Guest(work), clock[0] + 0.001)
    clock[0] += 1
    turn()
    await until(lambda: len(done) == 30, "all of them")
    assert max(done.count(one) for one in done) <= 4, "some, then a turn of the loop"


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="stops a process in the middle of epoll_wait")
def test_what_came_in_time_counts_although_the_process_stood_still():
    hello = b"API\0\0\0\0\x09v100..187"
    with Upstream() as upstream, RelayProcess(upstream.port, protocol="ib", first_bytes_timeout=0.4) as relay:
        client = relay.connect()
        wait_until(lambda: relay.records(OPEN), "it is accepted")
        relay.signal(signal.SIGSTOP)
        wait_until(lambda: relay.tree.status() == psutil.STATUS_STOPPED, "it stands still")
        client.sendall(hello)
        stopped = monotonic()
        wait_until(lambda: monotonic() > stopped + 0.5, "the deadline has passed")
        relay.signal(signal.SIGCONT)
        assert upstream.accept().read_exactly(len(hello)) == hello
