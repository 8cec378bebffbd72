"""diagnostics/cli/__init__.py: the real command against practice gateways: what is printed where, and the exit code."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from diagnostics import cli
from diagnostics.cli.commands import Subcommand
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.saved_evidence import load
from relay import __version__
from relay.practice import Practice, PracticeGateway
from tests.diagnostics.commands import COMMAND, PATIENCE, ROOT, beside, run, surroundings
from tests.relay.kit.loopback import until, unused_port

HOST = "127.0.0.1"
FAST = ("--timeout", "0.4")


@contextlib.contextmanager
def started(*words, **options):
    """The command as a process that is still running."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen([*COMMAND, *words], cwd=ROOT, env=surroundings(), text=True, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def test_what_these_tests_dial_does_not_depend_on_where_they_run(monkeypatch):
    monkeypatch.setenv("container", "lxc")
    found = json.loads(run("--target", f"{HOST}:{unused_port()}", "--save", "-").out)
    assert {probe["route"]["host"] for probe in found["probes"]} == {HOST}


# diagnose

VERDICTS = [
    ("normal", (), 0, "Works via"),
    ("normal", ("--no-session",), 0, ""),
    ("normal", ("--fail-on", "warning"), 0, "Works via"),
    ("farms-broken", ("--fail-on", "warning"), 5, "Works via"),
    ("farms-broken", (), 0, "Works via"),
    ("silent", (), 3, "Does not work"),
    ("close", (), 3, "Does not work"),
    ("http", (), 3, "Does not work"),
    ("start-api-ignored", (), 4, "Does not work"),
    ("start-api-ignored", ("--no-session",), 0, ""),
    ("client-id-in-use", ("--client-id", "7"), 4, "Does not work"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "behaviour, words, code, said", VERDICTS, ids=[" ".join((one[0], *one[1])) for one in VERDICTS]
)
async def test_the_exit_code_and_the_first_line_are_the_verdict(behaviour, words, code, said):
    async with PracticeGateway(Practice.named(behaviour)) as gateway:
        ended = await beside("--target", f"{HOST}:{gateway.port}", *FAST, *words)
        assert (ended.code, ended.err) == (code, "")
        assert ended.out.startswith(said) and "\x1b" not in ended.out
        assert max(map(len, ended.out.splitlines())) <= 80


@pytest.mark.slow
async def test_the_environment_says_where_as_well():
    async with PracticeGateway(log=(lines := []).append) as gateway:
        ended = await beside(IB_HOST=HOST, IB_PORT=str(gateway.port), IB_CLIENT_ID="4711")
    assert (ended.code, ended.err) == (0, "")
    assert [line for line in lines if "4711" in line]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["check"], ["wait", "--timeout", "5"]])
async def test_a_look_never_takes_the_client_id_of_the_program_it_serves(words):
    async with PracticeGateway(log=(lines := []).append) as gateway:
        where = {"IB_HOST": HOST, "IB_PORT": str(gateway.port), "IB_CLIENT_ID": "4711"}
        assert (await beside(*words, "--for", "session", **where)).code == 0
        assert not [line for line in lines if "4711" in line]
        assert (await beside(*words, "--for", "session", "--client-id", "4711", **where)).code == 0
        assert [line for line in lines if "4711" in line]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--for", "--level"])
async def test_how_far_it_must_work_has_one_spelling_and_the_old_one_still_works(option):
    async with PracticeGateway(Practice("offline")) as gateway:
        where = ("--target", f"{HOST}:{gateway.port}")
        assert (await beside("check", *where, option, "session")).code == 0
        assert (await beside("check", *where, option, "online")).code == 4
        ended = await beside("wait", *where, option, "online", "--timeout", "1", "--", "echo", "go")
        assert (ended.code, ended.out) == (4, "")


@pytest.mark.slow
async def test_with_json_standard_output_is_one_object_even_when_much_is_told_on_the_side():
    async with PracticeGateway() as gateway:
        ended = await beside("diagnose", "--target", f"{HOST}:{gateway.port}", "--format", "json", "--verbose")
    found = json.loads(ended.out)
    assert (ended.code, found["exit_code"], found["verdict"]["level"]) == (0, 0, "usable")
    assert found["verdict"]["route"] == f"{HOST}:{gateway.port}"
    assert found["tool_version"] == __version__ and ended.err


def content(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.mark.slow
@pytest.mark.long
async def test_saved_evidence_gives_the_same_report_elsewhere(tmp_path):
    saved, page = str(tmp_path / "evidence.json"), str(tmp_path / "page.html")
    async with PracticeGateway(Practice.named("silent")) as gateway:
        live = await beside("--target", f"{HOST}:{gateway.port}", *FAST, "--save", saved)
    again = run("--from", saved)
    assert again.said == live.said and live.code == 3
    assert load(text := content(saved)).asked.configured_from == "--target"
    assert run("--from", "-", stdin=text).said == live.said
    assert run("--from", saved, "--format", "html", "--output", page).said == (3, "", [])
    assert content(page).startswith("<!doctype html>")
    assert run("--from", saved, "--save", "-").said == (3, text, [])


@pytest.mark.slow
async def test_the_log_of_the_gateway_is_read_from_a_file_or_a_pipe(tmp_path):
    log = "2026-01-05 08:00:00:000 IBC: Starting Gateway\n"
    log += "2026-01-05 08:00:20:000 IBC: Second Factor Authentication initiated\n"
    (tmp_path / "log").write_text(log)
    (tmp_path / "utf-16").write_text(log, encoding="utf-16")
    words = ("--target", f"{HOST}:{unused_port()}", "--gateway-log")
    for ended in (
        run(*words, str(tmp_path / "log")),
        run(*words, str(tmp_path / "utf-16")),
        run(*words, "-", stdin=log),
    ):
        assert (ended.code, ended.err) == (2, "") and "IBD602" in ended.out
    saved = str(tmp_path / "evidence.json")
    assert "error IBD602" not in run(*words[:2], "--save", saved).out
    later = run("--from", saved, "--gateway-log", str(tmp_path / "log"))  # the container's run, and its host's log
    assert later.code == 2 and "error IBD602: the login waits" in later.out
    (tmp_path / "log").write_text("")
    assert "info IBD615: no line of this log is known" in run(*words, str(tmp_path / "log")).out


@pytest.mark.slow
def test_a_target_that_no_name_server_knows_is_a_finding_and_no_slip():
    ended = run("--target", "no-such-gateway.invalid", "--no-session", "--port", str(unused_port()))
    assert (ended.code, ended.err) == (2, "")
    assert re.search("IBD10[12]", ended.out)


# Slips: exit code 1, one line


SLIPS = [
    (["no-such-command"], {}, "no command 'no-such-command'; there are diagnose, wait, check"),
    (["--no-such-option"], {}, "--no-such-option"),
    (["diagnose", "word"], {}, "unrecognized arguments: word"),
    (["--target"], {}, "--target: expected one argument"),
    (["--target", ""], {}, "--target is empty"),
    (["--target", "gate way"], {}, "--target 'gate way'"),
    (["--target", "gateway:0"], {}, "--target 'gateway:0'"),
    (["--port", "0"], {}, "--port '0'"),
    (["--port", "70000"], {}, "--port '70000'"),
    (["check", "--port", "70000"], {}, "--port '70000'"),
    ([], {"IB_PORT": "paper"}, "IB_PORT 'paper'"),
    ([], {"IB_CLIENT_ID": "-1"}, "IB_CLIENT_ID '-1'"),
    ([], {"IB_HOST": "a b"}, "IB_HOST 'a b'"),
    (["--timeout", "soon"], {}, "--timeout: 'soon': 0.1 to 600 seconds were expected"),
    (["--format", "xml"], {}, "--format: invalid choice: 'xml'"),
    (["--fail-on", "rain"], {}, "--fail-on: invalid choice"),
    (["--output", "/no/such/folder/report"], {}, "--output /no/such/folder/report: No such file or directory"),
    (["--save", "/"], {}, "--save /: Is a directory"),
    (["--save", "same", "--output", "same"], {}, "both name same"),
    (["--save", "-", "--output", "-"], {}, "both want standard output"),
    (["--from", "/no/such/file"], {}, "--from /no/such/file: No such file or directory"),
    (["--from", "/"], {}, "--from /: Is a directory"),
    (["--from", "-"], {}, "--from -: standard input is empty"),
    (["--gateway-log", "-"], {}, "--gateway-log -: standard input is empty"),
    (["--from", "-", "--gateway-log", "-"], {}, "both want standard input"),
    (["--from", "x", "--target", "gateway"], {}, "--target has no meaning there"),
    (["--gateway-log", "/no/such/file"], {}, "--gateway-log /no/such/file: No such file"),
    (["check", "--level", "high"], {}, "--level: invalid choice"),
    (["check", "--target", "a", "--target", "b"], {}, "one place is looked at"),
    (["wait", "--for", "godot"], {}, "--for: invalid choice"),
    (["wait", "--timeout", "-1"], {}, "--timeout"),
    (["watch", "--interval", "0"], {}, "--interval: '0': 2 to 86400 seconds were expected"),
    (["explain", "IBD999"], {}, "no finding or error code 'IBD999' is known here; IBD303, its slug or an error code"),
    # What an unset variable of a script makes of "$VARIABLE".
    (["--port", ""], {}, "--port '': a number from 1 to 65535 was expected"),
    (["--client-id", ""], {}, "--client-id '': a number from 0 to"),
    (["--output", ""], {}, "--output: '': a name was expected"),
    (["--save", " "], {}, "--save: ' ': a name was expected"),
    (["--from", ""], {}, "--from: '': a name was expected"),
    (["--gateway-log", ""], {}, "--gateway-log: '': a name was expected"),
    (["--from", "x", "--port", ""], {}, "--port has no meaning there"),
    (["wait", "--target", ""], {}, "--target is empty"),
    (["check", "--target", ""], {}, "--target is empty"),
    (["watch", "--target", ""], {}, "--target is empty"),
    (["bundle", "--into", ""], {}, "--into: '': a name was expected"),
    (
        ["explain", "499"],
        {},
        "error code 499 is not in the list of IB's codes here (by its number: about one request; the connection itself",
    ),
    (["explain", "-5"], {}, "-5"),
    (["explain", "99999999999999999999"], {}, "code '99999999999999999999' is known here; IBD303"),
    (["explain", "IBD326"], {}, "no finding or error code 'IBD326'"),
    (["explain", ""], {}, "no finding or error code ''"),
    (["bundle", "--into", "/no/such/folder"], {}, "bundle: /no/such/folder/ib-diagnose.pyz: No such file"),
]


@pytest.mark.slow
@pytest.mark.parametrize("words, variables, said", SLIPS, ids=[" ".join(one[0]) or str(one[1]) for one in SLIPS])
def test_a_slip_gets_one_line_and_exit_code_1(words, variables, said):
    ended = run(*words, **variables)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert ended.err.startswith("ib-diagnose: ") and said in ended.err


FOREIGN = [
    ("not JSON", b"{"),
    ("bytes", bytes(range(256))),
    ("a list", b"[]"),
    ("another program's", b'{"version": 3}'),
    ("a later version's", b'{"schema_version": 99}'),
    ("half of ours", b'{"schema_version": 1, "created": 0.0}'),
    ("deep", b"[" * 100_000),
    ("a report", b'{"schema_version": 1, "verdict": {}}'),
]


@pytest.mark.slow
@pytest.mark.parametrize("held", [row[1] for row in FOREIGN], ids=[row[0] for row in FOREIGN])
def test_evidence_that_is_none_gets_one_line(tmp_path, held):
    (tmp_path / "file").write_bytes(held)
    ended = run("--from", str(tmp_path / "file"), "--output", str(tmp_path / "report"))
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert ended.err.startswith(f"ib-diagnose: --from {tmp_path}/file: ")


def test_help_and_version_are_there_for_every_command():
    assert run("--version").said == (0, f"ib-diagnose {__version__}\n", [])
    overview = run("--help")
    assert overview.code == 0 and max(map(len, overview.out.splitlines())) <= 110
    for command in cli.COMMANDS:
        assert f"\n  {command} " in overview.out
    assert "ib-diagnose diagnose --help" in "".join(overview.out.splitlines()[:5]), "where its options are"


@pytest.mark.slow
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_its_help(command):
    ended = run(command, "--help")
    assert (ended.code, ended.err) == (0, "") and ended.out.startswith(f"usage: ib-diagnose {command} ")


# Streams


@pytest.mark.slow
@pytest.mark.parametrize("words", [("explain", "IBD303"), ("explain", "list"), ("--help",), ("check", "--help")])
@pytest.mark.parametrize(
    "shell, said",
    [
        (">&-", "standard output is closed"),
        (">/dev/full", "standard output: No space left on device"),
        ("<&- >&- ", "standard output is closed"),
    ],
)
def test_a_standard_output_that_cannot_be_written_to_is_one_line(words, shell, said):
    assert run(*words, shell=shell).said == (1, "", [f"ib-diagnose: {said}"])


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--no-session",), ("check",), ("watch",)])
def test_a_closed_standard_output_is_told_before_anybody_is_dialled(words):
    with socket.create_server((HOST, 0)) as server:
        server.setblocking(False)
        ended = run(*words, "--target", f"{HOST}:{server.getsockname()[1]}", shell=">&-")
        assert ended.said == (1, "", ["ib-diagnose: standard output is closed"])
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["<&-", "2>&-", "<&- 2>&-"])
async def test_other_closed_descriptors_do_not_matter(shell):
    async with PracticeGateway() as gateway:
        for words in (("check",), ("diagnose",), ("wait", "--timeout", "5")):
            ended = await beside(*words, "--target", f"{HOST}:{gateway.port}", shell=shell)
            assert ended.code == 0
            assert bool(ended.out) == (words[0] != "wait")


@pytest.mark.slow
@pytest.mark.parametrize("shell", [">&- 2>&-", "<&- >&- 2>&-"])
async def test_with_all_descriptors_closed_the_exit_code_is_left_and_no_gateway_is_sent_a_report(shell):
    async with PracticeGateway() as gateway:
        where = ("--target", f"{HOST}:{gateway.port}")
        assert (await beside("wait", *where, "--timeout", "5", shell=shell)).said == (0, "", [])
        assert (await beside(*where, shell=shell)).said == (1, "", [])
        assert (await beside(*where, "--output", os.devnull, shell=shell)).said == (0, "", [])


@pytest.mark.slow
@pytest.mark.parametrize("words", [("explain", "list"), ("--help",)])
def test_a_broken_pipe_is_one_line(words):
    reading, writing = os.pipe()
    os.close(reading)
    with started(*words, stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (1, "ib-diagnose: standard output: Broken pipe\n")


# Ctrl-C, and faults of ours


SIGNALS = [(command, signal.SIGINT, 130, "interrupted") for command in ("diagnose", "check", "wait", "watch")]
SIGNALS += [(command, signal.SIGTERM, 143, "terminated") for command in ("wait", "watch")]


@pytest.mark.slow
@pytest.mark.parametrize("command, number, code, word", SIGNALS)
async def test_a_signal_ends_every_command_at_once_with_one_line(command, number, code, word):
    async with PracticeGateway(Practice.named("silent")) as gateway:
        timeout = () if command == "watch" else ("--timeout", "60")
        with started(command, "--target", f"{HOST}:{gateway.port}", *timeout) as process:
            handshakes = 2 if command == "diagnose" else 1  # the first connection there says nothing
            await until(lambda: gateway.accepted >= handshakes, "the handshake is under way")
            process.send_signal(number)
            before = time.monotonic()
            _, err = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    assert (process.returncode, err.splitlines()[-1], "Traceback" in err) == (code, f"ib-diagnose: {word}", False)
    assert time.monotonic() - before < 2.0


# Where Ctrl-C comes: while this is imported, by this command. The first five are asked for before `main` begins.
IMPORTS = [  # (module, command)
    ("threading", "check"),
    ("relay.terminal", "check"),
    ("diagnostics.cli.output", "check"),
    ("diagnostics.cli.commands", "check"),
    ("diagnostics.cli", "check"),
    ("diagnostics.cli.arguments", "check"),
    ("diagnostics.looks.check", "check"),
    ("diagnostics.probing.collect", "diagnose"),
    ("relay.wire.hello", "diagnose"),
    ("diagnostics.report.explain", "explain"),
]
SCRIPT = (sys.executable, "-c", "import sys\nfrom diagnostics.cli import main\nsys.exit(main())")  # as pip writes it
DOORS = [(door, *row) for door in (COMMAND, SCRIPT) for row in IMPORTS]
DOORS.remove((SCRIPT, "diagnostics.cli", "check"))  # before that one not a line of ours has run
CTRL_C = """
import os, sys

class Interrupt:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"]:
            exec("raise KeyboardInterrupt")  # as inside the decorator of a dataclass: Python remembers these

sys.modules.pop(os.environ["INTERRUPT_AT"], None)
sys.meta_path.insert(0, Interrupt)
"""


@pytest.mark.slow
@pytest.mark.parametrize("door, module, command", DOORS, ids=[f"{row[0][1]} {row[1]}" for row in DOORS])
def test_ctrl_c_while_the_program_is_being_imported_is_one_line_at_most(tmp_path, door, module, command):
    """Python runs a sitecustomize before the program: here one that interrupts an import."""
    (tmp_path / "sitecustomize.py").write_text(CTRL_C)
    ended = run(command, command=door, PYTHONPATH=f"{tmp_path}:{ROOT}", INTERRUPT_AT=module)
    assert (ended.code, ended.out) == (130, "") and ended.err in ("", "ib-diagnose: interrupted\n")


def test_a_fault_of_ours_is_one_line_and_a_traceback_for_those_who_want_it(monkeypatch, capsys):
    def fault(options):
        raise KeyError("a\nb")

    monkeypatch.setitem(cli.COMMANDS, "explain", Subcommand("", lambda parser: None, fault))
    monkeypatch.delenv(cli.TRACEBACK, raising=False)
    assert cli.run(["explain"]) == 70
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"ib-diagnose: a fault of ours at .*test_cli.py:\d+: KeyError: 'a\\nb'; .*TRACEBACK=1 .*\n", said
    )
    monkeypatch.setenv(cli.TRACEBACK, "1")
    assert cli.run(["explain"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_fault_in_a_thread_is_one_line(monkeypatch, capsys):
    def run_one(options):
        thread = threading.Thread(target=lambda: {}["gone"], name="dial gw")
        thread.start()
        thread.join()
        return 2

    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # restored afterwards
    monkeypatch.setitem(cli.COMMANDS, "explain", Subcommand("", lambda parser: None, run_one))
    assert cli.run(["explain"]) == 2
    assert capsys.readouterr().err == "ib-diagnose: a fault of ours in dial gw: KeyError('gone')\n"


COMES_BACK = """
import atexit, os, socket, sys, threading
look_up = socket.getaddrinfo

def hang(host, *more, flags=0, **options):
    return look_up(host, *more, flags=flags, **options) if flags else threading.Event().wait()

socket.getaddrinfo = hang  # but for what is an address
atexit.register(os._exit, 9)  # an interpreter at its end, which would meet the thread that asks
from diagnostics.cli import main
sys.argv[1:] = ["check", "--target", "gw.example:4003", "--timeout", "0.2"]
main()
"""


@pytest.mark.slow
def test_a_look_up_still_under_way_cannot_spoil_the_end():
    """Where a thread comes back while the interpreter ends, a container without libgcc_s.so.1 sees an abort."""
    ended = run(command=(sys.executable, "-c", COMES_BACK))
    assert (ended.code, ended.err) == (2, "")
    assert "gw.example:4003" in ended.out


# check, wait, watch, explain


@pytest.mark.slow
async def test_check_is_one_line_and_a_connection_each():
    async with PracticeGateway() as gateway:
        for count in (1, 2, 3):
            ended = await beside("check", "--target", f"{HOST}:{gateway.port}")
            assert ended.said == (0, ended.out.splitlines()[0] + "\n", [])
            assert ended.out.startswith(f"OK {HOST}:{gateway.port}: hello, server version at least 176, ")
            assert gateway.accepted == count


@pytest.mark.slow
async def test_check_imports_only_what_it_uses():
    """A HEALTHCHECK runs every few seconds: what it loads is most of what it costs, and is the same on any machine."""
    async with PracticeGateway() as gateway:
        loaded = await imported("-m", "diagnostics", "check", "--target", f"{HOST}:{gateway.port}")
    loaded -= await imported("-c", "pass")  # of the interpreter, and of what starts with it here
    assert {"diagnostics.cli", "relay.wire.hello", "argparse"} <= loaded
    assert not loaded & {"asyncio", "click", "psutil", "scapy", "html", "zipfile", "relay.practice", "relay.server"}
    assert not [name for name in loaded if name.startswith(NOT_FOR_A_LOOK)]
    assert len(loaded) < 150, sorted(loaded)


async def imported(*words):
    """The modules that an interpreter loads which is called like this."""
    command = (sys.executable, "-X", "importtime")
    ended = await beside(*words, command=command, env={**surroundings(), "PYTHONPATH": str(ROOT)})
    assert ended.code == 0
    return {line.rpartition("|")[2].strip() for line in ended.err.splitlines() if line.startswith("import time:")}


# What decides about many routes, words its findings, or looks at a machine.
NOT_FOR_A_LOOK = tuple(
    f"diagnostics.{name}"
    for name in ("rules", "findings", "report", "host", "bundle", "place.facts", "place.recognise", "probing.collect")
)


@pytest.mark.slow
async def test_check_says_what_is_missing():
    port = unused_port()
    assert (await beside("check", "--target", f"{HOST}:{port}")).said == (
        2,
        f"FAIL {HOST}:{port}: connect REFUSED: IBD201 {CATALOGUE['IBD201'].title}\n",
        [],
    )
    async with PracticeGateway(Practice.named("silent")) as gateway:
        where = ("--target", f"{HOST}:{gateway.port}", *FAST)
        assert (await beside("check", *where, "--level", "tcp")).code == 0
        assert (await beside("check", *where)).code == 3


@pytest.mark.slow
async def test_wait_becomes_the_command_once_the_gateway_is_there():
    port = unused_port()
    show = "import os, sys; print(os.getpid(), sys.argv[1:])"
    command = ("--", sys.executable, "-c", show, "--", "--for", "x y")
    with started("wait", "--for", "session", "--target", f"{HOST}:{port}", *command) as process:
        first = await asyncio.to_thread(process.stderr.readline)
        gateway = PracticeGateway()
        await gateway.start(HOST, port)
        out, rest = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        await gateway.close()
    assert (process.returncode, out) == (0, f"{process.pid} ['--', '--for', 'x y']\n")
    assert f"s: FAIL {HOST}:{port}: connect REFUSED: IBD201 " in first
    assert len(rest.splitlines()) == 1 and f"s: OK {HOST}:{port}: session, " in rest


@pytest.mark.slow
@pytest.mark.long
async def test_wait_that_gives_up_says_how_far_it_came():
    ended = await beside("wait", "--target", f"{HOST}:{unused_port()}", "--timeout", "0.5", "--", "echo", "ready")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 2)
    assert ended.err.endswith("ib-diagnose: gave up after 0.5 s\n")
    async with PracticeGateway(Practice.named("silent")) as gateway:
        where = ("--target", f"{HOST}:{gateway.port}")
        before = time.monotonic()
        assert (await beside("wait", *where, "--timeout", "0.5")).code == 3
        assert time.monotonic() - before < 3.0
        assert (await beside("wait", *where, "--for", "tcp", "--timeout", "5")).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("command, code", [(("/no/such/program",), 127), (("/",), 126), (("sh", "-c", "exit 7"), 7)])
async def test_wait_ends_as_the_command_does(command, code):
    async with PracticeGateway() as gateway:
        ended = await beside("wait", "--target", f"{HOST}:{gateway.port}", "--timeout", "5", "--", *command)
    assert (ended.code, ended.out) == (code, "")


@pytest.mark.slow
@pytest.mark.long
async def test_watch_tells_changes_with_their_time():
    async with PracticeGateway() as gateway:
        with started("watch", "--interval", "2", "--target", f"{HOST}:{gateway.port}") as process:
            first = await asyncio.to_thread(process.stdout.readline)
            await gateway.close()
            second = await asyncio.to_thread(process.stdout.readline)
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  "
    assert re.fullmatch(stamp + rf"OK {HOST}:\d+: hello, server version at least 176, \d+ ms\n", first)
    assert re.fullmatch(stamp + rf"FAIL {HOST}:\d+: connect REFUSED: IBD201 .* \(after \d s\)\n", second)
    assert (process.returncode, out, err) == (130, "", "ib-diagnose: interrupted\n")


def test_every_finding_is_explained_by_code_number_and_slug(capsys):
    assert cli.run(["explain", "list"]) == 0
    text = capsys.readouterr().out
    assert cli.run(["explain"]) == 0 and capsys.readouterr().out == text
    listed = text.splitlines()
    assert [line.split()[:2] for line in listed if line.startswith("IBD")] == [
        [one.code, one.slug] for one in CATALOGUE.values()
    ]
    assert max(map(len, listed)) <= 80
    for one in CATALOGUE.values():
        pages = set()
        for name in (one.code, one.code.lower(), one.code[3:], one.slug):
            assert cli.run(["explain", name]) == 0
            pages.add(capsys.readouterr().out.partition(f"\n{one.code[3:]}, an error code of IB")[0])
        assert len(pages) == 1 and pages.pop().startswith(f"{one.code} {one.slug}")


@pytest.mark.parametrize("code", ["326", "1100", "10089", "162", "354", "10090", "10091", "10168"])
def test_an_error_code_of_ib_is_explained(capsys, code):
    assert cli.run(["explain", code]) == 0
    assert capsys.readouterr().out.startswith(f"{code}, an error code of IB: ")


def test_a_number_that_is_a_finding_and_an_error_code_gives_both(capsys):
    assert cli.run(["explain", "502"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("IBD502 start-api-closed: ")
    assert "\n\n502, an error code of IB: client: could not connect\n" in page


@pytest.mark.parametrize(("behaviour", "code"), [("normal", 0), ("silent", 1), (None, 1)])
async def test_a_health_check_as_readme_has_it_ends_with_0_or_1(behaviour, code):
    """What Docker runs of HEALTHCHECK CMD is given to a shell."""
    command = ("/bin/sh", "-c", f"{' '.join(COMMAND)} check --timeout 2 || exit 1")
    if behaviour is None:
        assert run(command=command, IB_HOST=HOST, IB_PORT=str(unused_port())).code == code
        return
    async with PracticeGateway(Practice.named(behaviour)) as gateway:
        assert (await beside(command=command, IB_HOST=HOST, IB_PORT=str(gateway.port))).code == code
