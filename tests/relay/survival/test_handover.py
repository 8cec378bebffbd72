"""relay/survival/handover.py: the document from one program to the next, and who may read it.

Whole upgrades: test_survival.py.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace

import pytest

from relay.survival import handover
from relay.survival.handover import (
    CAN_GO_ON,
    REHEARSE,
    VARIABLE,
    Handover,
    SavedSession,
    UpgradeRefused,
    answer_of,
    become,
    read,
    rehearse,
    take,
    write,
)
from relay.survival.state import InvalidState
from tests.relay.survival.test_state import PLAIN

ESTATE = Handover(
    (SavedSession(PLAIN, 7, 8), SavedSession(replace(PLAIN, early="\0\xff"), 9)),
    (("127.0.0.1", 4003, 5), ("::1", 4003, 6)),
    (("systemd", "live", 3),),
    "20260101T000000",
    17,
    None,
    3,
    12.5,
)


def test_what_is_left_arrives():
    fd = write(ESTATE)
    try:
        assert read(fd, rehearsal=True) == read(fd) == ESTATE
    finally:
        os.close(fd)


def test_the_descriptors_that_must_stay_open_are_all_of_them():
    assert sorted(ESTATE.descriptors()) == [3, 5, 6, 7, 8, 9]
    assert Handover().descriptors() == []


STRANGE = [
    ("nothing", ""),
    ("no JSON", "sessions"),
    ("a list", "[]"),
    ("another format", json.dumps({"format": 99, "program": "9.9"})),
    ("a part missing", json.dumps({"format": handover.FORMAT, "sessions": []})),
]


@pytest.mark.parametrize("text", [one[1] for one in STRANGE], ids=[one[0] for one in STRANGE])
def test_what_is_no_document_is_refused(text):
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        with pytest.raises(InvalidState):
            read(file.fileno())


def test_only_the_process_it_is_for_takes_it_and_only_once():
    environ = {VARIABLE: f"{os.getpid() + 1}:5:stamp"}
    assert take(environ) is None and take({}) is None and take({VARIABLE: "rubbish"}) is None
    listener = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(listener, True)
    environ = {VARIABLE: f"{os.getpid()}:{write(Handover(listeners=(('127.0.0.1', 1, listener),)))}:stamp"}
    handed = take(environ)
    assert handed.listeners == (("127.0.0.1", 1, listener),)
    assert not os.get_inheritable(listener), "no child of this process gets it"
    assert take(environ) is None
    os.close(listener)


PROGRAMS = [
    ("can go on", f"print('{CAN_GO_ON}')", None),
    ("says something else", "print('hello')", "hello"),
    ("fails", "import sys; sys.exit('no room')", "exit 1.*no room"),
    ("crashes", "import nothing_of_that_name", "exit 1.*ModuleNotFoundError"),
    ("hangs", "import time; time.sleep(60)", "said nothing within"),
    ("cannot read the document", f"import os; os.fstat(int(__import__('sys').argv[-1])); print('{CAN_GO_ON}')", None),
    ("hears of the manager", "import os; print(os.environ.get('NOTIFY_SOCKET', 'nothing'))", "nothing"),
]


@pytest.mark.slow
@pytest.mark.parametrize("program, trouble", [one[1:] for one in PROGRAMS], ids=[one[0] for one in PROGRAMS])
def test_a_rehearsal_finds_out_what_a_new_program_is_worth(monkeypatch, program, trouble):
    monkeypatch.setattr(handover, "command", lambda: [sys.executable, "-c", program])
    monkeypatch.setattr(handover, "REHEARSAL", 0.5 if "sleep" in program else 20)
    environ = os.environ | {"NOTIFY_SOCKET": "/run/notify"}
    if trouble is None:
        rehearse(ESTATE, environ)
    else:
        with pytest.raises(UpgradeRefused, match=trouble):
            rehearse(ESTATE, environ)


def test_a_program_that_is_not_there_is_refused_and_nothing_has_changed(monkeypatch):
    monkeypatch.setattr(handover, "command", lambda: ["/nonexistent/python"])
    with pytest.raises(UpgradeRefused, match="No such file"):
        rehearse(ESTATE)
    fd = os.open(os.devnull, os.O_RDONLY)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(UpgradeRefused, match="No such file"):
        become(Handover(numbers=fd))
    assert not os.get_inheritable(fd) and len(os.listdir("/dev/fd")) == before
    os.close(fd)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")
def test_why_it_was_refused_can_be_read_from_outside_once_and_again(monkeypatch):
    monkeypatch.setattr(handover, "command", lambda: ["/nonexistent/python"])
    numbers = set()
    for attempt in (rehearse, become):
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(UpgradeRefused) as refusal:
            attempt(Handover())
        number, words = answer_of(os.getpid())
        assert words == str(refusal.value)
        numbers.add(number)
    assert len(numbers) == 2 and len(os.listdir("/dev/fd")) == before, "there is one answer, the last"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        assert answer_of(child.pid) is None, "no child of this process gets it"
        child.communicate(b"\n")
    assert answer_of(child.pid) is None, "nor is there any of a process that is gone"


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")
@pytest.mark.parametrize("what", ["nothing", "no words", "a gigabyte"])
def test_what_somebody_else_leaves_there_hurts_nobody(what):
    while handover._left:
        os.close(handover._left.pop())  # an earlier test's
    fd = os.memfd_create(handover.ANSWER)
    try:
        os.write(fd, {"nothing": b"", "no words": b"\xff\xfe"}.get(what, b"1 "))
        if what == "a gigabyte":
            os.ftruncate(fd, 1 << 30)
        found = answer_of(os.getpid())
        assert (found is not None) == (what == "a gigabyte")
        assert found is None or len(found[1]) <= handover.MAX_ANSWER
    finally:
        os.close(fd)


def test_the_relay_itself_says_whether_it_could_go_on(tmp_path):
    config = tmp_path / "relay.toml"
    config.write_text('[[map]]\nname = "paper"\nlisten = "127.0.0.1:4003"\nupstream = "127.0.0.1:4002"\n')
    fd = write(replace(ESTATE, given=()))
    command = [sys.executable, "-m", "relay", "run", "--config", str(config), REHEARSE, str(fd)]
    try:
        done = subprocess.run(command, pass_fds=(fd,), capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "") and CAN_GO_ON in done.stdout
        config.write_text("nonsense = 1\n")
        done = subprocess.run(command, pass_fds=(fd,), capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (78, "") and "nonsense" in done.stderr
    finally:
        os.close(fd)
