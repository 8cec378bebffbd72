"""relay/cli/demo.py: the whole show, from the practice gateway to the next command."""

import io
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from relay.cli.demo import LIVE_HEAD, live_line, run_demo, typed
from relay.logs.record import Record
from relay.practice import Practice

ROOT = Path(__file__).parents[3]
SHOWN = [
    ("normal", ("session ready", "SPY", "the client closed its session", "type .venv/bin/ib-relay run and")),
    (
        "fa-accounts=40",
        ("server version at least 176 (we ask for no more)", "account F***67, U***68 and 39 more, next order id"),
    ),
    ("reset-after-hello", ("gateway answered the hello", "reset by the gateway", "the gateway aborted (reset)")),
    ("client-id-in-use", ("326", "in use by another session", "the gateway closed the session after error 326")),
    ("close", ("it went no further", "closed by the gateway", "the gateway closed the session")),
    (
        "session-stall=0.1",
        ("session ready", "one side had finished and the other stayed silent", "upstream silent for 1 s"),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("behaviour", "words"), SHOWN, ids=[row[0] for row in SHOWN])
async def test_the_demo_shows_how_far_a_session_came_and_how_it_ended(behaviour, words):
    out = io.StringIO()
    await run_demo(Practice.named(behaviour), 0.5, out, ".venv/bin/ib-relay")
    text = " ".join(out.getvalue().split())  # long ones are wrapped
    missing = [word for word in words if word not in text]
    assert not missing, out.getvalue()
    logged = [line for line in out.getvalue().splitlines() if "-1 closed after " in line]  # as `run` has it, whole
    assert len(logged) == 1
    assert [line for line in out.getvalue().splitlines() if len(line) > 80 and line not in logged] == []


def counters(up, messages_up, down, messages_down):
    return Record(
        "progress",
        0.0,
        "boot-000001",
        "demo",
        "127.0.0.1",
        50000,
        4003,
        "127.0.0.1",
        4002,
        bytes_up=up,
        bytes_down=down,
        messages_up=messages_up,
        messages_down=messages_down,
    )


LINES = [
    (
        counters(78, 3, 820, 24),
        1.2,
        {1: 367.72, 2: 367.75},
        "     1.2 s        78 B         3       820 B        24  367.72 / 367.75",
    ),
    (
        counters(1023 << 20, 99_999_999, 1023 << 30, 99_999_999),
        3600.0,
        {1: 99_999.99, 2: 99_999.99},
        "  3600.0 s  1023.0 MiB  99999999  1023.0 GiB  99999999  99999.99 / 99999.99",
    ),
    (counters(0, 0, 0, 0), 0.2, {1: 367.72}, "     0.2 s         0 B         0         0 B         0"),
    (None, 0.2, {}, "     0.2 s  no live connection"),
]


@pytest.mark.parametrize("live, passed, prices, line", LINES, ids=["ordinary", "huge", "without prices", "nobody"])
def test_a_line_of_counters_is_narrower_than_a_terminal(live, passed, prices, line):
    assert live_line(live, passed, prices) == line
    assert len(line) < 80 and len(LIVE_HEAD) < 80


def test_no_number_is_too_large_for_a_line_of_counters():
    beyond = counters(1 << 90, 1 << 90, 1 << 90, 1 << 90)
    assert len(live_line(beyond, 1e9, {1: 1e30, 2: 1e30})) < 80


@pytest.mark.slow
@pytest.mark.parametrize("wide", [40, 80])
def test_on_a_terminal_the_line_is_painted_over_and_leaves_nothing_behind(wide):
    """A line as wide as the terminal goes on in the next row, where painting it over does not reach."""
    master, slave = pty.openpty()
    shell = f'stty cols {wide} rows 24; exec "$@"'
    command = ["/bin/sh", "-c", shell, "sh", sys.executable, "-m", "relay", "demo", "--seconds", "1"]
    seen = bytearray()

    def read() -> None:
        try:
            while data := os.read(master, 65536):
                seen.extend(data)
        except OSError:
            pass  # how Linux says that the last one has closed it

    reader = threading.Thread(target=read)
    with subprocess.Popen(command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        reader.start()
        assert process.wait(30) == 0
    reader.join(30)
    os.close(master)
    painted = [one.partition("\r\n")[0] for one in seen.decode().split("\r\x1b[2K")[1:]]
    assert len(painted) >= 3 and max(map(len, painted)) == min(wide - 1, len(painted[-1]))
    assert all(one.endswith(" s") or " s  " in one for one in painted)


TYPED = [
    (
        "a venv that is not on the PATH",
        ".venv/bin/ib-relay",
        [".venv/bin/python", ".venv/bin/ib-relay", "demo"],
        ".venv/bin/ib-relay",
    ),
    ("by its whole path", "/opt/v/bin/ib-relay", ["/opt/v/bin/python", "/opt/v/bin/ib-relay"], "/opt/v/bin/ib-relay"),
    ("a folder with a blank", "my venv/bin/ib-relay", ["python", "my venv/bin/ib-relay"], "'my venv/bin/ib-relay'"),
    ("found on the PATH", "{path}/ib-relay", ["{path}/python", "{path}/ib-relay", "demo"], "ib-relay"),
    ("another one than that on the PATH", "other/ib-relay", ["python3", "other/ib-relay"], "other/ib-relay"),
    ("a module", "/src/relay/__main__.py", [".venv/bin/python", "-m", "relay", "demo"], ".venv/bin/python -m relay"),
    ("a module with options", "/src/relay/__main__.py", ["python3", "-X", "dev", "-m", "relay"], "python3 -m relay"),
    ("one file", "./ib-relay.pyz", ["python3", "./ib-relay.pyz", "demo"], "python3 ./ib-relay.pyz"),
    ("something else", "/usr/lib/pytest/x.py", ["python3", "x.py"], "ib-relay"),
    ("nothing", "", ["python3"], "ib-relay"),
]


@pytest.mark.parametrize("program, words, said", [one[1:] for one in TYPED], ids=[one[0] for one in TYPED])
def test_what_to_type_is_what_was_typed(program, words, said, tmp_path, monkeypatch):
    (tmp_path / "ib-relay").write_text("#!/bin/sh\n")
    (tmp_path / "ib-relay").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed(program.format(path=tmp_path), [word.format(path=tmp_path) for word in words]) == said
