"""relay/cli/importing.py: nothing is searched for garbage while modules come in; and what `run` does not import."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.relay.kit.loopback import HOST, PATIENCE, unused_port
from tests.relay.kit.scripted import wait_until

ROOT = Path(__file__).parents[3]
# For one rarely used thing each, or for another command: a start is a pause for the sessions that go on after it.
NOT_FOR_RUN = {
    "_ssl": "TLS; asyncio does without it",
    "difflib": "a word that was mistyped",
    "encodings.idna": "a name outside of ASCII",
    "psutil": "who holds a port that is taken",
    "tempfile": "a system without memfd_create",
    "zlib": "a damaged zipapp",
    "relay.cli.demo": "another command",
    "relay.practice": "another command",
    "relay.repair": "a value that is not allowed",
    "relay.service": "another command",
    "relay.survival.upgrade": "another command",
    "relay.wire.session": "a session of our own",
}


def answer(program):
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


GARBAGE = """
import gc
from relay.cli.importing import importing

frozen = gc.get_freeze_count()  # 3.12 begins with some

def seen():
    return gc.isenabled(), gc.get_freeze_count() > frozen

before = seen()
with importing():
    within = seen()
after = seen()
try:
    with importing():
        import relay.no_such_module
except ModuleNotFoundError:
    print(before, within, after, seen())
"""


@pytest.mark.slow
def test_nothing_is_searched_for_garbage_until_all_is_imported_or_failed():
    assert answer(GARBAGE) == "(True, False) (False, False) (True, True) (True, True)\n"


@pytest.mark.slow
def test_run_imports_only_what_it_uses(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    port, seen = unused_port(), tmp_path / "seen"
    command = [*IMPORTS, "-m", "relay", "run", "--listen", f"{HOST}:{port}"]
    with open(seen, "w") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            wait_until(lambda: listens(port), "the relay listens")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    plain = subprocess.run([*IMPORTS, "-c", "pass"], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    loaded = named(seen.read_text()) - named(plain.stderr)  # of the interpreter, and of what starts with it here
    assert {"asyncio", "click", "relay.server", "relay.survival.resume", "relay.wire.observer"} <= loaded
    assert {name: of for name, of in NOT_FOR_RUN.items() if name in loaded} == {}


IMPORTS = [sys.executable, "-X", "importtime"]


def named(said):
    return set(re.findall(r"\| +(\S+)$", said, re.MULTILINE))


def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0
