"""relay/upgrade.py: which process is a relay, and what the command says. A whole upgrade: test_survival.py."""

import os
import subprocess
import sys

import pytest

from relay import upgrade
from relay.upgrade import Failed, is_relay

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


@pytest.mark.parametrize("found, words", [([], "no running relay"), ([7, 8], r"several relays run here \(7, 8\)")])
def test_without_a_pid_there_must_be_exactly_one(monkeypatch, found, words):
    monkeypatch.setattr(upgrade, "running", lambda: found)
    with pytest.raises(Failed, match=words):
        upgrade.upgrade(None, print)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells which signals a process handles")
def test_a_process_that_the_signal_would_end_is_not_sent_it():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with pytest.raises(Failed, match=f"process {other.pid} is no relay that can be upgraded"):
            upgrade.upgrade(other.pid, print)
        assert other.poll() is None
        other.communicate(b"\n")
    with pytest.raises(Failed, match="no such process"):
        upgrade.upgrade(2**22 + os.getpid(), print)
