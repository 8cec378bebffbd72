"""More log lines than any bounded queue keeps, for a reader that does not read. Runs with the other soak tests."""

import contextlib
import json
import os
import signal
import threading

import pytest

from tests.relay.conformance.test_log import stuck_pipe
from tests.relay.kit.blackbox import CLOSE, RelayProcess
from tests.relay.kit.scripted import LOOPBACK, PATIENCE, Peer, free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.soak]


def test_lines_that_find_no_room_are_dropped_counted_and_the_log_goes_on_when_it_is_read_again():
    """Each client that is not on the access list costs one line; more of them than any bounded queue would keep.

    A log that held clients up would do so for good, since nobody reads it before all of them have come.
    """
    lines: list[dict] = []
    with stuck_pipe() as (reading, writing):
        with RelayProcess(free_port(), stdout=writing, allow="192.0.2.0/24") as relay:
            for number in range(12_000):
                source = f"127.9.{number % 500 // 250}.{number % 250 + 1}"  # of each address few enough for a line
                client = Peer.dial((relay.host, relay.port), source=source)  # perhaps reset before it returns
                with client, contextlib.suppress(ConnectionResetError):
                    client.recv(1)  # until it is refused: a client that had no place in the queue is no client
            os.close(writing)
            reader = threading.Thread(target=read_lines, args=(reading, lines))
            reader.start()
            wait_until(lambda: any(one["event.name"] == "ib_relay.log.dropped" for one in lines), "the loss is told")
            Peer.dial((relay.host, relay.port)).close()
            last = {"event.name": CLOSE, "client.address": LOOPBACK}.items()
            wait_until(lambda: any(last <= one.items() for one in lines[-100:]), "all of it is read")
            relay.signal(signal.SIGTERM)
            relay.ends(within=PATIENCE)
        reader.join()
    refused = [one for one in lines if one["event.name"] == CLOSE]
    dropped = refused[-1]["log.dropped"]
    assert dropped > 0
    assert len(refused) + dropped == 12_001


def read_lines(descriptor: int, lines: list[dict]) -> None:
    with open(os.dup(descriptor), encoding="utf-8") as pipe:
        lines.extend(map(json.loads, pipe))
