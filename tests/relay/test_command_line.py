"""relay/command_line.py: command lines of a relay, and those that only look like one."""

import pytest

from relay.command_line import is_relay

LINES = [
    ("a module", "/usr/bin/python3 -X dev -m relay run --listen 127.0.0.1:4003", True),
    ("an installed command", "/opt/venv/bin/python /opt/venv/bin/ib-relay run", True),
    ("one file", "python3 ib-relay.pyz run --config x.toml", True),
    ("one file somewhere", "/usr/bin/python3 -I /usr/local/lib/ib-relay/ib-relay.pyz run", True),
    ("something else of the relay", "python3 -m relay practice --listen 127.0.0.1:4002", False),
    ("the upgrade itself", "/opt/venv/bin/python /opt/venv/bin/ib-relay upgrade", False),
    ("an editor", "vim ib-relay.pyz", False),
    ("another program's run", "cargo run ib-relay", False),
    ("nothing", "", False),
]


@pytest.mark.parametrize("line, answer", [one[1:] for one in LINES], ids=[one[0] for one in LINES])
def test_a_relay_is_known_by_its_command_line(line, answer):
    assert is_relay(line.split()) is answer
