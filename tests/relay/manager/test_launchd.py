"""relay/manager/launchd.py against the C function it binds: a stub of its prototype, called by ctypes."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay.manager import launchd

COMPILER = shutil.which("cc") or shutil.which("gcc")
STUB = Path(__file__).parents[1] / "kit" / "launchd_stub.c"
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler for the stub")
no_launchd = pytest.mark.skipif(sys.platform == "darwin", reason="this system has the real one")


def compiled(folder: Path) -> str:
    """The stub as a library."""
    library = folder / "launchd_stub.so"
    flags = ["-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library)]
    subprocess.run([COMPILER, *flags, str(STUB)], check=True, capture_output=True, timeout=60)
    return str(library)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("stub"))


@pytest.fixture
def sockets(monkeypatch):
    """Say which descriptors launchd has, by name."""

    def have(**names):
        text = ";".join(f"{name}={','.join(map(str, fds))}" for name, fds in names.items())
        monkeypatch.setenv("STUB_SOCKETS", text)

    return have


@needs_compiler
def test_the_descriptors_of_a_name_are_given_in_their_order_and_not_inherited(library, sockets):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        os.set_inheritable(one.fileno(), True)
        sockets(other=[0], both=[two.fileno(), one.fileno()])
        assert launchd.activate("both", library) == [two.fileno(), one.fileno()]
        assert not os.get_inheritable(one.fileno())


@needs_compiler
def test_a_name_without_sockets_is_an_empty_list(library, sockets):
    sockets(none=[])
    assert launchd.activate("none", library) == []


REFUSALS = [
    ("a name the plist does not have", True, "nobody", errno.ENOENT, "the job's plist has no such key in Sockets"),
    ("not launchd's child", False, "nobody", errno.ESRCH, "this process was not started by launchd"),
]


@needs_compiler
@pytest.mark.parametrize("job, name, code, words", [one[1:] for one in REFUSALS], ids=[one[0] for one in REFUSALS])
def test_a_refusal_is_an_error_in_words(library, sockets, monkeypatch, job, name, code, words):
    sockets(somebody=[0]) if job else monkeypatch.delenv("STUB_SOCKETS", raising=False)
    with pytest.raises(OSError, match=words) as refused:
        launchd.activate(name, library)
    assert (refused.value.errno, refused.value.strerror) == (code, words)


@needs_compiler
def test_a_name_is_given_once(library, sockets):
    with socket.create_server(("127.0.0.1", 0)) as one:
        sockets(once=[one.fileno()])
        assert launchd.activate("once", library) == [one.fileno()]
        with pytest.raises(OSError, match="it was taken before"):
            launchd.activate("once", library)


@no_launchd
def test_where_there_is_no_launchd_the_answer_says_so():
    with pytest.raises(OSError, match="this system has no launchd") as refused:
        launchd.activate("any")
    assert (refused.value.errno, refused.value.strerror) == (errno.ENOSYS, "this system has no launchd")


STARTED = [
    ("a job", "darwin", {"XPC_SERVICE_NAME": "local.ib-relay"}, True),
    ("a shell in Terminal", "darwin", {"XPC_SERVICE_NAME": "0"}, False),
    ("over ssh", "darwin", {}, False),
    ("another system", "linux", {"XPC_SERVICE_NAME": "local.ib-relay"}, False),
]


@pytest.mark.parametrize("platform, environ, started", [one[1:] for one in STARTED], ids=[one[0] for one in STARTED])
def test_who_is_a_job_of_launchds(monkeypatch, platform, environ, started):
    monkeypatch.setattr(sys, "platform", platform)
    assert launchd.started_by_launchd(environ) is started
