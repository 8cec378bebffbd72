"""relay/manager/notifier.py: what a real socket hears from a real event loop, idle, hung, and out of room."""

import asyncio
import time

import pytest

from relay.manager import notifier as manager_module
from relay.manager.notifier import Notifier
from tests.relay.kit.loopback import until
from tests.relay.kit.managers import NotifySocket, fill


class House:
    """A manager over a socket, and the words it asks for."""

    def __init__(self, notify, watchdog=None):
        self.notify, self.words, self.asked = notify, "3 live sessions", 0
        environ = notify.environ | ({"WATCHDOG_USEC": str(int(watchdog * 1e6))} if watchdog else {})
        self.manager = Notifier(asyncio.get_running_loop(), self._words, environ)

    def _words(self):
        self.asked += 1
        return self.words

    async def hears(self):
        return (await asyncio.to_thread(self.notify.receive)).lines

    def left(self):
        return [notice.lines for notice in self.notify.left()]


@pytest.fixture
def notify(tmp_path):
    with NotifySocket(tmp_path / "notify") as notify:
        yield notify


async def test_ready_comes_with_the_words_of_the_moment(notify):
    house = House(notify)
    house.manager.ready()
    assert await house.hears() == ["READY=1", "STATUS=3 live sessions"]
    house.manager.close()


async def test_a_reload_is_announced_and_over_and_its_trouble_stays_until_one_succeeds(notify):
    house = House(notify)
    house.manager.ready()
    assert (await house.hears())[0] == "READY=1"
    house.manager.reloading()
    house.manager.ready("reload refused: no such key")
    assert [line.partition("=")[0] for line in await house.hears()] == ["RELOADING", "MONOTONIC_USEC"]
    assert await house.hears() == ["READY=1", "STATUS=3 live sessions; reload refused: no such key"]
    house.manager.reloading()
    house.manager.ready()
    assert len(await house.hears()) == 2
    assert await house.hears() == ["READY=1", "STATUS=3 live sessions"]
    house.manager.close()


async def test_the_loop_pings_three_times_an_interval_and_says_what_is_new(notify):
    house = House(notify, watchdog=0.15)
    house.manager.ready()
    begun = time.monotonic()
    assert (await house.hears())[0] == "READY=1"
    assert [await house.hears() for _ in range(3)] == [["WATCHDOG=1"]] * 3
    assert 0.09 <= time.monotonic() - begun < 2
    house.words = "4 live sessions"
    assert set(map(tuple, house.left())) <= {("WATCHDOG=1",)}
    assert await house.hears() == ["WATCHDOG=1", "STATUS=4 live sessions"]
    assert await house.hears() == ["WATCHDOG=1"]
    house.manager.close()


async def test_a_loop_that_hangs_pings_no_more(notify):
    house = House(notify, watchdog=0.06)
    house.manager.ready()
    assert [(await house.hears())[0] for _ in range(2)] == ["READY=1", "WATCHDOG=1"]
    house.left()
    with pytest.raises(TimeoutError):
        notify.receive(0.2)  # here and not in a thread: this is what the loop hangs in
    assert await house.hears() == ["WATCHDOG=1"]  # and with the loop the pings come back
    house.manager.close()


async def test_without_a_watchdog_only_news_is_told(notify, monkeypatch):
    monkeypatch.setattr(manager_module, "STATUS_INTERVAL", 0.02)
    house = House(notify)
    house.manager.ready()
    assert (await house.hears())[0] == "READY=1"
    asked = house.asked
    await until(lambda: house.asked >= asked + 3, "three looks at the words")
    assert house.left() == []
    house.words = "no live sessions"
    assert await house.hears() == ["STATUS=no live sessions"]
    house.manager.close()


async def test_stopping_is_the_last_word_but_not_the_last_sign_of_life(notify):
    house = House(notify, watchdog=0.06)
    house.manager.ready()
    house.manager.stopping("stopping: 3 live connections to end within 10 s")
    house.words = "2 live sessions"
    assert [await house.hears() for _ in range(5)] == [
        ["READY=1", "STATUS=3 live sessions"],
        ["WATCHDOG=1"],
        ["STOPPING=1", "STATUS=stopping: 3 live connections to end within 10 s"],
        ["WATCHDOG=1"],
        ["WATCHDOG=1"],
    ]
    house.manager.close()
    house.left()
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(notify.receive, 0.1)


async def test_what_finds_no_room_is_sent_later_in_its_order_and_the_loop_never_waits(notify, timeouts, monkeypatch):
    monkeypatch.setattr(manager_module, "RETRY", 0.01)
    house = House(notify)
    filler = Notifier(asyncio.get_running_loop(), lambda: "filler", notify.environ)
    sent = fill(lambda: filler.stopping("filler") or not filler._owed)
    filler.close()
    house.manager.ready()
    house.manager.reloading()
    house.manager.ready()
    heard = [(await house.hears())[0].partition("=")[0] for _ in range(sent + 3)]
    assert heard == ["STOPPING"] * sent + ["READY", "RELOADING", "READY"]
    house.manager.close()
    assert len(timeouts) > sent + 3 and set(timeouts) == {0}


async def test_a_manager_that_never_reads_makes_nothing_grow(notify):
    house = House(notify)
    for _ in range(1000):
        house.manager.reloading()
    assert len(house.manager._owed) <= manager_module.QUEUE
    house.manager.close()


async def test_without_a_service_manager_nothing_happens_at_all():
    asked = []
    manager = Notifier(asyncio.get_running_loop(), lambda: asked.append(1) or "words", {"WATCHDOG_USEC": "30000"})
    manager.ready()
    manager.reloading()
    manager.ready("trouble")
    manager.stopping("the end")
    assert not manager._owed and manager._timer is manager._retry is None
    manager.close()
