"""relay/logs/brake.py: what is written in full, what is only counted, and that a session is never hidden."""

import pytest

from relay.logs.brake import ELSEWHERE, IN_FULL, MOST_KINDS, WINDOW, Brake
from relay.logs.record import Cause, EndPhase, Reason, Record

PROBE = Cause("relay", "policy", Reason.NOT_IB, "http")


class Written:
    def __init__(self):
        self.records, self.events = [], []

    def write(self, record):
        self.records.append(record)

    def event(self, name, message, severity="INFO", **fields):
        self.events.append((name, message, severity, fields))


class Knocking:
    """Connections that come one after the other, on a clock of their own."""

    def __init__(self):
        self.now, self.number, self.log = 1000.0, 0, Written()
        self.brake = Brake(self.log, lambda: self.now)

    def record(self, event, address="10.0.0.9", cause=None, **more):
        where = (f"boot-{self.number:06d}", "paper", address, 50000, 4003, "127.0.0.1", 4002)
        return Record(event, 0.0, *where, cause=cause, phase=cause and EndPhase.HANDSHAKE, **more)

    def probe(self, count=1, address="10.0.0.9", cause=PROBE):
        for _ in range(count):
            self.number += 1
            self.brake.write(self.record("open", address))
            self.brake.write(self.record("close", address, cause))

    def lines(self):
        lines = [record.event for record in self.log.records]
        self.log.records.clear()
        return lines


@pytest.fixture
def knocking():
    return Knocking()


def test_the_first_of_a_kind_are_written_and_the_rest_is_counted_and_told_once(knocking):
    knocking.probe(IN_FULL)
    assert knocking.lines() == ["open", "close"] * IN_FULL
    knocking.probe(20_000)
    assert len(knocking.lines()) <= 1, "an open line whose end was the first too many"
    knocking.brake.settle()
    assert knocking.log.events == []
    knocking.now += WINDOW
    knocking.brake.settle()
    fields = {
        "client.address": "10.0.0.9",
        "ib_relay.map": "paper",
        "end.reason": "not_ib",
        "connections": 20_000,
    }
    message = "paper: 20000 more connections of 10.0.0.9 in 60 s ended as not_ib"
    assert knocking.log.events == [("connection.repeated", message, "INFO", fields)]
    knocking.brake.settle(at_once=True)
    assert len(knocking.log.events) == 1
    knocking.probe()
    assert knocking.lines() == ["open", "close"], "a new window"


def test_what_is_slow_is_written_every_time(knocking):
    for _ in range(200):
        knocking.probe()
        knocking.now += 2 * WINDOW / IN_FULL
    assert knocking.lines() == ["open", "close"] * 200
    assert knocking.log.events == []


def test_every_kind_has_lines_of_its_own(knocking):
    knocking.probe(IN_FULL + 5)
    knocking.lines()
    knocking.probe(cause=Cause("upstream", "rst", Reason.CONNECTION_REFUSED))
    assert knocking.lines() == ["open", "close"], "the open line waits for the end, and comes with it"
    knocking.probe(address="10.0.0.8")
    assert knocking.lines() == ["open", "close"]


@pytest.mark.parametrize("reason", [Reason.INTERNAL_ERROR, Reason.RESOURCE_EXHAUSTED])
def test_a_fault_here_is_never_only_counted(knocking, reason):
    knocking.probe(100, cause=Cause("relay", "error", reason))
    assert knocking.lines() == ["open", "close"] * 100


def test_nothing_of_a_session_is_hidden_though_its_address_is_only_counted(knocking):
    knocking.probe(IN_FULL + 50)
    knocking.lines()
    for _ in range(100):
        knocking.number += 1
        knocking.brake.write(knocking.record("open"))
        knocking.brake.write(knocking.record("ready", peer_address="127.0.0.1"))
        end = Cause("upstream", "rst", Reason.UPSTREAM_RESET)
        knocking.brake.write(knocking.record("close", cause=end, peer_address="127.0.0.1"))
    assert knocking.lines() == ["open", "ready", "close"] * 100


def test_a_scan_from_more_addresses_than_can_be_counted_is_one_kind(knocking):
    for number in range(5000):
        knocking.probe(2, address=f"fd00::{number:x}")
    assert len(knocking.lines()) <= 4 * MOST_KINDS + 2 * IN_FULL + 1
    assert (len(knocking.brake._counts), len(knocking.brake._opened)) == (MOST_KINDS + 1, 0)
    knocking.brake.settle(at_once=True)
    (event,) = knocking.log.events
    assert (event[3]["client.address"], event[3]["connections"]) == (ELSEWHERE, 2 * (5000 - MOST_KINDS) - IN_FULL)


def test_who_is_told_of_a_warning_is_told_of_how_many(knocking):
    knocking.probe(IN_FULL + 1, cause=Cause("relay", "policy", Reason.ACL_DENIED))
    knocking.brake.settle(at_once=True)
    message = "paper: 1 more connection of 10.0.0.9 in 0 s ended as acl_denied"
    assert knocking.log.events[0][1:3] == (message, "WARN")
