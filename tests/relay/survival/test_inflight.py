"""relay/inflight.py: what is put in is found by the next process, as it was put in last, and only while it is there."""

import contextlib
import os
import resource
import socket
import subprocess
import sys

import pytest

from relay.survival.inflight import MOST, NAMES, QUEUES, ROOM, InFlight, MessageQueue, take_ends

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux' managers keep descriptors")


@pytest.fixture
def inflight():
    inflight = InFlight()
    yield inflight
    inflight.close()


@pytest.fixture
def pipes():
    """Makes pipes: the end that is put in, and whether anybody has a copy of it."""
    ours = []

    def make() -> tuple[int, object]:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        ours.append(reading)

        def is_kept() -> bool:
            try:
                return os.read(reading, 1) != b""
            except BlockingIOError:
                return True

        return writing, is_kept

    yield make
    for fd in ours:
        os.close(fd)


def heir(inflight):
    """What the next process makes of the ends."""
    return InFlight({name: os.dup(fd) for name, fd in inflight.files.items()})


@pytest.fixture
def queue():
    queue = MessageQueue()
    yield queue
    queue.close()


def heir_of(queue):
    return MessageQueue(*(os.dup(fd) for fd in queue.files))


def found_by(successor):
    """Key -> text and what the descriptors say of themselves; nothing stays open."""
    found = {}
    for key, young in successor.look().items():
        found[key] = (young.text, len(young.fds))
        for fd in young.fds:
            assert not os.get_inheritable(fd)
            os.close(fd)
    return found


def put(inflight, pipes, key, text="", count=1):
    """Whose only descriptors are in the inflight afterwards."""
    ends = [pipes() for _ in range(count)]
    done = inflight.put(key, text, [fd for fd, _ in ends])
    for fd, _ in ends:
        os.close(fd)
    return done, ends[0][1]


def test_what_was_put_in_is_found_by_the_next_process_and_stays(inflight, pipes):
    put(inflight, pipes, "a-1", '{"early":"\\u0000"}')
    put(inflight, pipes, "a-2", "", 3)
    with contextlib.closing(heir(inflight)) as first:
        assert found_by(first) == {"a-1": ('{"early":"\\u0000"}', 1), "a-2": ("", 3)}
    with contextlib.closing(heir(inflight)) as second:
        assert found_by(second) == {"a-1": ('{"early":"\\u0000"}', 1), "a-2": ("", 3)}
        assert "a-1" in second and "a-3" not in second


def test_the_later_of_two_counts_and_the_earlier_is_let_go_of(inflight, pipes):
    _, early = put(inflight, pipes, "a", "early")
    _, other = put(inflight, pipes, "b")
    _, late = put(inflight, pipes, "a", "late", 2)
    assert (early(), other(), late()) == (False, True, True)
    with contextlib.closing(heir(inflight)) as successor:
        assert found_by(successor) == {"b": ("", 1), "a": ("late", 2)}


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_what_is_removed_is_let_go_of_at_once_wherever_it_stands(inflight, pipes, order):
    kept = {key: put(inflight, pipes, key, key)[1] for key in "abc"}
    for place, key in enumerate(order):
        inflight.remove(key)
        inflight.remove(key)  # it is not there: nothing happens
        assert {one for one in "abc" if kept[one]()} == set(order[place + 1 :])
        assert key not in inflight
    assert found_by(inflight) == {}


def test_a_process_that_dies_between_two_steps_of_a_change_leaves_both_and_the_later_is_found(queue, pipes):
    for key, text in (("b", ""), ("a", "early"), ("a", "late")):  # what `put` sends before it takes the earlier one out
        fd, _ = pipes()
        queue._push(key, f"{key} 1\n{text}".encode(), [fd])
        os.close(fd)
    with contextlib.closing(heir_of(queue)) as successor:
        assert found_by(successor) == {"b": ("", 1), "a": ("late", 1)}
        successor.remove("a")
        assert found_by(successor) == {"b": ("", 1)}


def test_when_it_is_full_the_next_is_refused_and_those_inside_stay(inflight, pipes):
    inside = [put(inflight, pipes, f"n-{number}")[1] for number in range(ROOM)]
    assert put(inflight, pipes, "one more")[0] is False
    assert "one more" not in inflight and all(one() for one in inside)
    assert put(inflight, pipes, "n-5", "changed")[0] is True
    with contextlib.closing(heir(inflight)) as successor:
        assert len(found_by(successor)) == ROOM
        successor.remove("n-0")
        assert put(successor, pipes, "one more")[0] is True


def test_a_queue_without_room_for_another_message_can_be_looked_at(queue, pipes):
    queue._in.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    count = 0
    while queue.put(f"n-{count}", f"n-{count} 0\n{'x' * 300}".encode(), []):
        count += 1
    assert 2 < count < ROOM
    with contextlib.closing(heir_of(queue)) as successor:
        assert len(found_by(successor)) == count


def test_what_a_change_costs_does_not_depend_on_how_many_there_are(inflight, pipes, monkeypatch):
    """Neither on how long they stay: a hundred that stay, and others that come and go."""
    for number in range(100):
        put(inflight, pipes, f"stays-{number}", "x" * 1500)
    received, receive = [], MessageQueue._receive
    monkeypatch.setattr(MessageQueue, "_receive", lambda queue: received.append(1) or receive(queue))
    for number in range(200):
        put(inflight, pipes, f"comes-{number}", "x" * 1500)
        put(inflight, pipes, f"comes-{number}", "", 3)
        inflight.remove(f"comes-{number}")
    assert len(received) <= 200 * 2 * (ROOM // QUEUES - 1)
    with contextlib.closing(heir(inflight)) as successor:
        assert found_by(successor).keys() == {f"stays-{number}" for number in range(100)}


def test_the_only_one_there_is_stands_where_earlier_releases_look(inflight, pipes):
    for key in ("a", "b"):
        put(inflight, pipes, key, key)
        with contextlib.closing(InFlight({name: os.dup(inflight.files[name]) for name in NAMES[:2]})) as earlier:
            assert found_by(earlier) == {key: (key, 1)}
        inflight.remove(key)


def test_what_earlier_releases_would_not_find_is_let_go_of_before_one_takes_over(inflight, pipes):
    kept = [put(inflight, pipes, key)[1] for key in "abc"]
    inflight.leave_to_any_release()
    assert [one() for one in kept] == [True, False, False]
    assert list(found_by(inflight)) == ["a"]


def test_what_is_too_long_is_refused_and_what_was_there_is_out_of_date(inflight, pipes):
    _, before = put(inflight, pipes, "a", "short")
    assert put(inflight, pipes, "a", "x" * MOST)[0] is False
    assert "a" not in inflight and not before()


def test_messages_of_somebody_else_are_dropped(inflight, pipes):
    strange, kept = pipes()
    for data in (b"a 2\n", b"no line", b"\xff\xfe\n", b"a x\n", b"end 0011223344556677"):
        socket.send_fds(inflight._queues[0]._in, [data], [strange])
    os.close(strange)
    put(inflight, pipes, "a")
    with contextlib.closing(heir(inflight)) as successor:
        assert found_by(successor) == {"a": ("", 1)}
    assert not kept()


def test_without_descriptors_left_to_receive_it_a_session_is_given_up_and_the_others_are_found(queue, pipes):
    for key in ("lost", "b"):
        fd, _ = pipes()
        queue.put(key, f"{key} 1\n".encode(), [fd])
        os.close(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    taken = []
    with contextlib.closing(heir_of(queue)) as successor:
        successor._queue.extend(("lost", "b"))
        successor._count.update(("lost", "b"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 3, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            successor.remove("b")  # "lost" stands before it, and cannot be received
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in taken:
                os.close(fd)
        assert found_by(successor) == {}


def test_it_outlives_a_kill_of_the_process_that_put_it_in(inflight, pipes):
    writing, kept = pipes()
    code = (
        "import os, signal, sys\n"
        "from relay.survival.inflight import InFlight\n"
        "inflight = InFlight({'young in': int(sys.argv[1]), 'young out': int(sys.argv[2])})\n"
        "inflight.put('a', 'text', [int(sys.argv[3])])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ends = [os.dup(inflight.files[name]) for name in NAMES[:2]]
    died = subprocess.run([sys.executable, "-c", code, *map(str, ends), str(writing)], pass_fds=[*ends, writing])
    for fd in (*ends, writing):
        os.close(fd)
    assert died.returncode == -9 and kept()
    assert found_by(inflight) == {"a": ("text", 1)}


def test_of_each_queue_both_ends_are_taken_or_none():
    stored = {"numbers": 3, NAMES[0]: 4, NAMES[1]: 5, NAMES[7]: 6}
    assert take_ends(stored) == {NAMES[0]: 4, NAMES[1]: 5} and stored == {"numbers": 3, NAMES[7]: 6}


def test_the_names_of_the_first_queue_never_change():
    assert NAMES[:4] == ("young in", "young out", "young in 1", "young out 1")
    assert len(set(NAMES)) == 2 * QUEUES
