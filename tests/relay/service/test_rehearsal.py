"""relay/service/rehearsal.py: every way a new program can fail to do for a service is found on the side, and named."""

import signal
import subprocess
import sys
import threading
import zipfile

import psutil
import pytest

from relay.service.definition import Refusal
from relay.service.rehearsal import TrialProgram, rehearse
from relay.service.undo import EndSignal, interruptible
from tests.relay.kit.blackbox import ROOT
from tests.relay.kit.scripted import wait_until

pytestmark = pytest.mark.slow  # every case starts processes


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory):
    target = tmp_path_factory.mktemp("zipapp") / "ib-relay.pyz"
    subprocess.run([sys.executable, "-m", "relay.pyz", target], cwd=ROOT, check=True, capture_output=True)
    return target


def candidate(archive, **environ) -> TrialProgram:
    return TrialProgram((sys.executable, "-I", "-S", str(archive)), environ, archive.stem)


def variant(source, target, name, before, after):
    """The zipapp with one text of one file replaced."""
    target.write_bytes(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "a") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == name:
                assert before in data.decode()
                data = data.decode().replace(before, after).encode()
            new.writestr(entry, data)
    return target


def test_a_good_program_goes_on_with_the_sessions_of_the_installed_one(zipapp):
    took, proved = rehearse(candidate(zipapp), candidate(zipapp), ["ib", "raw", "raw"])
    assert 0 < took < 20
    assert "goes on with sessions of the installed one (ib-relay), takes new ones and forwards" in proved


def test_where_no_session_is_kept_only_the_new_program_is_proved(zipapp):
    assert rehearse(candidate(zipapp), None, ["raw"])[1].endswith("s, takes new ones and forwards")


def test_an_installed_program_that_does_not_serve_does_not_keep_a_good_one_out(zipapp, tmp_path):
    broken = variant(
        zipapp, tmp_path / "broken.pyz", "relay/server.py", "class Relay:", "raise RuntimeError\nclass Relay:"
    )
    assert "goes on" not in rehearse(candidate(zipapp), candidate(broken), ["ib"])[1]


RESET = "cannot go on with sessions of the installed one (ib-relay), they would be reset: seen "
NOBODY = "takes nobody in a map of protocol ib: seen "
ACCEPT = ("relay/acceptor.py", "    def accept(self")
ENDS = "one.sock.accept()[0].close()"
FAULTS = [
    # what is wrong, (file, text, instead of it), words
    (
        "it fails",
        ("relay/server.py", "class Relay:", "raise RuntimeError('a fault')\nclass Relay:"),
        "does not start: seen exit code 1 (RuntimeError: a fault); expected READY=1",
    ),
    (
        "it hangs",
        ("relay/run.py", "    await relay.start()", "    import time\n    time.sleep(1000)"),
        "does not start: seen nothing for 1 s; expected READY=1",
    ),
    (
        "it accepts nobody",
        (*ACCEPT, "    def accept(self, *_):\n        pass\n\n    def other(self"),
        f"{NOBODY}no answer in 1 s; expected the gateway's 30 bytes",
    ),
    (
        "it ends all",
        (*ACCEPT, f"    def accept(self, one):\n        {ENDS}\n\n    def other(self"),
        NOBODY,
    ),
    ("another state", ("relay/survival/state.py", "FORMAT = 1", "FORMAT = 2"), RESET),
    ("another slate", ("relay/survival/checkpoint.py", 'b"ibrelay1"', 'b"ibrelay2"'), RESET),
]


@pytest.mark.parametrize("change, words", [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_found_on_the_side_and_named(zipapp, tmp_path, monkeypatch, change, words):
    monkeypatch.setattr("relay.service.rehearsal.START", 1.0 if "for 1 s" in words else 20.0)
    monkeypatch.setattr("relay.service.rehearsal.ANSWER", 1.0)
    new = variant(zipapp, tmp_path / "new.pyz", *change)
    with pytest.raises(Refusal) as refusal:
        rehearse(candidate(new), candidate(zipapp), ["ib", "raw"])
    said = str(refusal.value)
    assert said.startswith("nothing was changed: in a rehearsal the new program (new) ") and words in said


def test_a_variable_of_the_unit_that_the_program_does_not_know_is_found(zipapp):
    with pytest.raises(Refusal, match=r"seen exit code 78 \(.*IB_RELAY_OF_TOMORROW"):
        rehearse(candidate(zipapp, IB_RELAY_OF_TOMORROW="1"), None, ["ib"])


HANGS = ("relay/run.py", "    await relay.start()", "    import time\n    time.sleep(99)")


def test_a_signal_ends_the_rehearsal_and_what_it_has_started(zipapp, tmp_path):
    hangs = variant(zipapp, tmp_path / "new.pyz", *HANGS)
    started: list[psutil.Process] = []

    def interrupt() -> None:
        wait_until(lambda: started.extend(psutil.Process().children()) or started, "the program is started")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with interruptible():
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(EndSignal, match="SIGINT"):
            rehearse(candidate(hangs), None, ["ib"])
    interrupting.join()
    assert not any(process.is_running() for process in started)
