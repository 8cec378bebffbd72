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
    assert poller.busy_polling is not None
    (battery / "status").write_text("Discharging\n")
    await until(lambda: poller.busy_polling is None, "the relay sleeps")
    (battery / "status").write_text("Full\n")
    await until(lambda: poller.busy_polling is not None, "the relay polls again")
    in_force.put(Latency.ALWAYS)
    (battery / "status").write_text("Discharging\n")
    await asyncio.sleep(0.1)
    assert poller.busy_polling.always, "whoever asks for it has it on battery, too"
    in_force.put(Latency.OFF)
    assert poller.busy_polling is None
    in_force.close()
    assert heard.events == [
        ("latency", "INFO", "on battery: the relay sleeps until bytes come"),
        ("latency", "INFO", "on mains power again: the relay looks for bytes without sleeping where that pays"),
    ]


async def test_always_on_one_core_is_told_and_does_not_come_into_force(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    loop, heard = asyncio.get_running_loop(), Heard()
    in_force = LatencyInForce(poller_of(loop), heard, loop, list)
    in_force.put(Latency.ALWAYS)
    assert poller_of(loop).busy_polling is None
    assert heard.events == [("warning", "WARN", 'latency "always": this machine has one core, so the relay sleeps')]
