"""relay/net/resolver.py: names are looked up beside the loop, once for everybody, and never hold up the exit."""

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from relay.net.resolver import Resolver
from tests.relay.kit.loopback import until
from tests.relay.kit.names import SlowNames


@pytest.fixture
def slow(monkeypatch):
    names = SlowNames(monkeypatch)
    yield names
    names.release.set()


async def test_a_name_comes_back_as_addresses_on_the_loops_thread():
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    resolver.look_up("localhost", 4002, lambda found: answers.append((found, threading.current_thread())))
    assert answers == []
    await until(lambda: answers, "the answer")
    found, thread = answers[0]
    assert thread is threading.main_thread()
    assert (socket.AF_INET, ("127.0.0.1", 4002)) in found


@pytest.mark.parametrize(
    "name, error", [("no-such-host.invalid", socket.gaierror), ("a..b", UnicodeError), ("x" * 64, UnicodeError)]
)
async def test_a_name_that_cannot_be_looked_up_comes_back_as_the_error(name, error):
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    resolver.look_up(name, 4002, answers.append)
    await until(lambda: answers, "the answer")
    assert [type(one) for one in answers] == [error] or issubclass(type(answers[0]), (error, socket.gaierror))


async def test_everybody_who_waits_for_a_name_shares_one_look_up(slow):
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    for number in range(50):
        resolver.look_up("gw", 4002, lambda found, number=number: answers.append(number))
    resolver.look_up("gw", 4001, lambda found: answers.append("another port"))
    slow.release.set()
    await until(lambda: len(answers) == 51, "all answers")
    assert [one for one in answers if one != "another port"] == list(range(50))
    assert sorted(slow.asked) == [("gw", 4001), ("gw", 4002)]


async def test_an_answer_is_not_kept_for_the_next_one_who_asks(slow):
    """Docker gives a restarted container another address; how long an answer holds is the system's business."""
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    slow.release.set()
    for count in (1, 2):
        resolver.look_up("gw", 4002, answers.append)
        await until(lambda count=count: len(answers) == count, "the answer")
    assert slow.asked == [("gw", 4002)] * 2


async def test_who_has_gone_is_not_told(slow):
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    forget = resolver.look_up("gw", 4002, lambda found: answers.append("gone"))
    resolver.look_up("gw", 4002, lambda found: answers.append("stayed"))
    forget()
    forget()
    slow.release.set()
    await until(lambda: answers, "the answer")
    assert answers == ["stayed"]


async def test_one_answer_may_take_another_out(slow):
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    resolver.look_up("gw", 4002, lambda found: (answers.append("first"), forget()))
    forget = resolver.look_up("gw", 4002, lambda found: answers.append("second"))
    resolver.look_up("gw", 4002, lambda found: answers.append("third"))
    slow.release.set()
    await until(lambda: "third" in answers, "the third answer", within=2)
    assert answers == ["first", "third"]


async def test_one_answer_may_take_itself_out(slow):
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    forget = resolver.look_up("gw", 4002, lambda found: (answers.append("first"), forget()))
    resolver.look_up("gw", 4002, lambda found: answers.append("second"))
    slow.release.set()
    await until(lambda: "second" in answers, "the second answer", within=1)


async def test_a_system_without_threads_left_fails_this_look_up_and_not_the_later_ones(monkeypatch):
    resolver, answers = Resolver(asyncio.get_running_loop()), []
    with monkeypatch.context() as patch:

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        try:
            resolver.look_up("localhost", 4002, answers.append)
        except RuntimeError as error:
            answers.append(error)
    await until(lambda: answers, "the failure", within=1)
    assert isinstance(answers[0], Exception)
    resolver.look_up("localhost", 4002, answers.append)
    await until(lambda: len(answers) == 2, "the later look-up", within=1)
    assert isinstance(answers[1], list)


HANGS = """
import asyncio, socket, threading
from relay.net.resolver import Resolver

asked = threading.Event()

def hang(*args, **more):
    asked.set()
    threading.Event().wait()

socket.getaddrinfo = hang

async def main():
    Resolver(asyncio.get_running_loop()).look_up("gw", 4002, print)
    assert asked.wait(10)

asyncio.run(main())
print("over")
"""


def test_a_look_up_that_hangs_does_not_hold_up_the_exit():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


async def test_an_answer_that_comes_after_the_loop_is_closed_is_nobodys(slow):
    loop = asyncio.new_event_loop()
    Resolver(loop).look_up("gw", 4002, lambda found: pytest.fail("told"))
    loop.close()
    slow.release.set()
    await until(lambda: not [one for one in threading.enumerate() if one.name == "resolve gw"], "the thread has ended")
