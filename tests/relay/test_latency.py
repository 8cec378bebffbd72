"""relay/latency.py: what `latency` means on this machine."""

import asyncio
import os

import pytest

from relay import latency
from relay.config.keys import Latency
from relay.latency import LatencyInForce, batteries, busy_polling, is_discharging
from relay.net.poller import poller_of
from tests.relay.kit.loopback import until


def supply(folder, name, **said):
    (folder / name).mkdir(parents=True, exist_ok=True)
    for key, text in said.items():
        (folder / name / key).write_text(f"{text}\n")
    return folder / name


@pytest.mark.parametrize(
    ("wanted", "cores", "discharging", "polls"),
    [
        (Latency.ADAPTIVE, 2, False, "in windows"),
        (Latency.ADAPTIVE, 64, False, "in windows"),
        (Latency.ADAPTIVE, 2, True, "never"),
        (Latency.ADAPTIVE, 1, False, "never"),
        (Latency.OFF, 64, False, "never"),
        (Latency.ALWAYS, 2, False, "always"),
        (Latency.ALWAYS, 2, True, "always"),
        (Latency.ALWAYS, 1, False, "never"),
    ],
)
def test_what_each_value_means(wanted, cores, discharging, polls):
    policy = busy_polling(wanted, cores, discharging, 0.0)
    assert {None: "never"}.get(policy) or ("always" if policy.always else "in windows") == polls


def test_a_machine_may_have_batteries_and_others_have_theirs(tmp_path):
    supply(tmp_path, "AC", type="Mains", online="1")
    first = supply(tmp_path, "BAT0", type="Battery", status="Discharging")
    second = supply(tmp_path, "BAT1", type="Battery", scope="System", status="Full")
    supply(tmp_path, "hid-mouse", type="Battery", scope="Device", status="Discharging")
    (tmp_path / "torn").mkdir()
    assert batteries(tmp_path) == [first, second]
    assert (is_discharging(first), is_discharging(second), is_discharging(tmp_path / "torn")) == (True, False, False)
    assert batteries(tmp_path / "not there") == []


class Heard:
    def __init__(self):
        self.events = []

    def event(self, name, message, level="INFO", **_):
        self.events.append((name, level, message))


async def test_an_unplugged_laptop_sleeps_and_a_plugged_one_polls_again(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    battery = supply(tmp_path, "BAT0", type="Battery", status="Charging")
    loop, heard = asyncio.get_running_loop(), Heard()
    poller = poller_of(loop)
    in_force = LatencyInForce(poller, heard, loop, lambda: batteries(tmp_path))
    in_force.put(Latency.ADAPTIVE)
    assert poller._policy is not None
    (battery / "status").write_text("Discharging\n")
    await until(lambda: poller._policy is None, "the relay sleeps")
    (battery / "status").write_text("Full\n")
    await until(lambda: poller._policy is not None, "the relay polls again")
    in_force.put(Latency.ALWAYS)
    (battery / "status").write_text("Discharging\n")
    await asyncio.sleep(0.1)
    assert poller._policy.always, "whoever asks for it has it on battery, too"
    in_force.put(Latency.OFF)
    assert poller._policy is None
    in_force.close()
    assert heard.events == [
        ("latency", "INFO", "on battery: the relay sleeps until bytes come"),
        ("latency", "INFO", "on mains power again: the relay looks for bytes without sleeping where that pays"),
    ]


ALLOWED = "one core for this process: it slows down whoever shares it, the gateway above all"
ONE_CORE = "this machine has one core: the relay sleeps until bytes come"


@pytest.mark.parametrize(
    ("wanted", "cores", "allowed", "polls", "said"),
    [
        (Latency.ADAPTIVE, 4, 4, True, []),
        (Latency.ADAPTIVE, 4, 1, True, [("latency", "INFO", ALLOWED)]),
        (Latency.ADAPTIVE, 1, 1, False, [("latency", "INFO", ONE_CORE)]),
        (Latency.ALWAYS, 4, 4, True, []),
        (Latency.ALWAYS, 4, 1, True, [("latency", "WARN", ALLOWED)]),
        (Latency.ALWAYS, 1, 1, False, [("latency", "WARN", ONE_CORE)]),
        (Latency.OFF, 1, 1, False, []),
    ],
)
async def test_what_few_cores_mean_is_said_once(wanted, cores, allowed, polls, said, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(latency, "allowed_cores", lambda: allowed)
    loop, heard = asyncio.get_running_loop(), Heard()
    in_force = LatencyInForce(poller_of(loop), heard, loop, list)
    for _ in range(2):
        in_force.put(wanted)
    assert (poller_of(loop)._policy is not None, heard.events) == (polls, said)
    in_force.put(Latency.OFF)


async def test_a_look_that_finds_no_thread_is_not_the_last_one(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    battery = supply(tmp_path, "BAT0", type="Battery", status="Discharging")
    asked, really = [], latency.aside

    async def aside(work, name):
        asked.append(name)
        if len(asked) < 3:
            raise RuntimeError("can't start new thread")
        return await really(work, name)

    monkeypatch.setattr(latency, "aside", aside)
    loop = asyncio.get_running_loop()
    in_force = LatencyInForce(poller_of(loop), Heard(), loop, lambda: [battery])
    in_force.put(Latency.ADAPTIVE)
    await until(lambda: poller_of(loop)._policy is None, "it is known in the end")
    in_force.close()


def test_cores_that_a_process_may_use_are_at_most_those_there_are():
    assert 1 <= latency.allowed_cores() <= os.cpu_count()
