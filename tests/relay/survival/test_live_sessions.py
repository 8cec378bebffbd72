"""relay/survival/live_sessions.py: the sessions of a running relay, read from outside by another program."""

import os

import pytest

from relay.net import offsets
from relay.survival import checkpoint, state
from relay.survival.live_sessions import unreadable
from tests.relay.survival.test_survival import House

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not offsets.SUPPORTED, reason="elsewhere nothing is written down"),
]


def test_sessions_that_this_program_can_read_are_no_trouble_while_bytes_move(tmp_path):
    with House(tmp_path) as house:
        client, gateway = house.session()
        for _ in range(200):
            house.works(client, gateway)
            assert unreadable(house.service.process.pid) == ""
        assert unreadable(os.getpid()) == unreadable(0) == "", "no relay, nothing to be read"


@pytest.mark.parametrize(
    "module, name, value, words",
    [
        (state, "FORMAT", 2, "the state of a connection in another format"),
        (checkpoint, "_MAGIC", b"ibrelay2", "this is no slate"),
        (checkpoint, "_SIZE", checkpoint._SIZE + 4096, f"{checkpoint._SIZE} bytes are no slate"),
    ],
)
def test_a_state_of_another_format_is_told(tmp_path, monkeypatch, module, name, value, words):
    with House(tmp_path) as house:
        house.session()
        monkeypatch.setattr(module, name, value)
        assert unreadable(house.service.process.pid) == words


def test_a_relay_without_sessions_has_nothing_that_could_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "FORMAT", 2)
    with House(tmp_path) as house:
        assert unreadable(house.service.process.pid) == ""
