"""relay/survival/upgrade.py: which process is asked, and what the command says. A whole upgrade: test_survival.py."""

import os
import signal
import subprocess
import sys
import time

import pytest

from relay.survival import upgrade
from relay.survival.handover import answer_of
from relay.survival.upgrade import Failed
from tests.relay.kit.blackbox import ROOT, RelayProcess, linux_only
from tests.relay.kit.scripted import free_port


@pytest.mark.parametrize("found, words", [([], "no running relay"), ([7, 8], r"several relays run here \(7, 8\)")])
def test_without_a_pid_there_must_be_exactly_one(monkeypatch, found, words):
    monkeypatch.setattr(upgrade, "running", lambda: found)
    with pytest.raises(Failed, match=words):
        upgrade.upgrade(None, print)


@linux_only
def test_a_process_that_the_signal_would_end_is_not_sent_it():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with pytest.raises(Failed, match=f"process {other.pid} is no relay that can be upgraded"):
            upgrade.upgrade(other.pid, print)
        assert other.poll() is None
        other.communicate(b"\n")
    with pytest.raises(Failed, match="no such process"):
        upgrade.upgrade(2**22 + os.getpid(), print)


@linux_only
@pytest.mark.slow
def test_a_relay_that_has_only_just_started_is_asked_once_it_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr(upgrade, "PATIENCE", 0.2)
    program = tmp_path / "ib-relay"
    program.write_text(
        "import signal, time\ninput()\ntime.sleep(0.3)\n"
        "signal.signal(signal.SIGUSR2, lambda *_: exit(7))\nsignal.pause()\n"
    )
    with subprocess.Popen([sys.executable, program, "run"], stdin=subprocess.PIPE) as starting:
        starting.stdin.write(b"\n")
        starting.stdin.flush()
        with pytest.raises(Failed, match=f"process {starting.pid} goes on with the old program"):
            upgrade.upgrade(starting.pid, print)
        assert starting.wait(20) == 7


@linux_only
@pytest.mark.slow
def test_a_refusal_is_told_as_soon_as_the_relay_knows_and_with_its_reason():
    with RelayProcess(free_port(), drain_timeout=5) as relay:
        command = [sys.executable, "-m", "relay", "upgrade", "--pid", str(relay.process.pid)]
        for spoilt in ("drain_timeout = -1", "nonsense = 1"):  # the second answer is not taken for the first
            relay.config_file.write_text(f"{spoilt}\n")
            begin = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            assert time.monotonic() - begin < upgrade.PATIENCE / 2
            assert (done.returncode, done.stdout) == (69, ""), done
            stays = f"process {relay.process.pid} goes on with the old program"
            said = f"ib-relay: {stays}: the new program cannot take over (exit 78)"
            assert done.stderr.startswith(f"{said}: {relay.config_file}: {spoilt.split()[0]}: ")
            assert (done.stderr.count("\n"), done.stderr.count("ib-relay: ")) == (1, 1)
        relay.write_configuration(drain_timeout=5)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert answer_of(relay.process.pid) is None, "the new program has no part in it"


@linux_only
def test_where_the_outcome_cannot_be_seen_that_is_said_at_once(monkeypatch, tmp_path):
    waits = "import signal; signal.signal(signal.SIGUSR2, lambda *_: exit(7)); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        folder = tmp_path / str(other.pid)  # as root without CAP_SYS_PTRACE sees it: a status, and no environment
        folder.mkdir()
        (folder / "status").write_text(f"SigCgt:\t{1 << (signal.SIGUSR2 - 1):016x}\n")
        monkeypatch.setattr(upgrade, "_PROC", tmp_path)
        said = []
        upgrade.upgrade(other.pid, said.append)
        assert said == [f"process {other.pid} was asked to upgrade; its log says whether it did"]
        assert other.wait(20) == 7
