"""relay/cli.py and its kin: what is typed, what is printed where, and the exit code."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from relay import __version__
from relay.cli import run
from tests.relay.kit.loopback import HOST, PATIENCE, reset, unused_port
from tests.relay.kit.scripted import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No settings but those the test makes: no variables of ours, a home without files."""
    for name in [name for name in os.environ if name.startswith("IB_RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("CONFIGURATION_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def invoke(*words):
    """Exit code and all that was printed; a traceback is no way to say anything."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = run(list(words))
    return code, out.getvalue()


@contextlib.contextmanager
def started(*words, shell="", **options):
    """`ib-relay words...` as a process; with `shell` by way of one that redirects, as in ">&-"."""
    command = [sys.executable, "-m", "relay", *words]
    if shell:
        command = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *command]
    process = subprocess.Popen(command, cwd=ROOT, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def finished(*words, **options):
    """Exit code, standard output and standard error of a command that ends by itself."""
    with started(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err


def connected(port):
    """A client of a relay that is starting and has no way to say when it listens."""

    def connect():
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((HOST, port), PATIENCE)

    return wait_until(connect, "it listens")


# Usage: exit code 2


OPTIONS = (
    "--config, --listen, --upstream, --protocol, --allow, --log-format, --survive, --no-survive, --log-file, --help"
)
USAGE = [
    (
        "no-such-command",
        (
            "no command 'no-such-command'; there are check-config, demo, practice, run, service, upgrade "
            "(see `ib-relay --help`)"
        ),
    ),
    (
        "service stop",
        (
            "no command 'stop'; there are install, print, restart, status, uninstall, upgrade "
            "(see `ib-relay service --help`)"
        ),
    ),
    ("--no-such-option", "no option '--no-such-option'; there are --version, --help (see `ib-relay --help`)"),
    ("run --no-such-option", f"no option '--no-such-option'; there are {OPTIONS} (see `ib-relay run --help`)"),
    ("run --upstraem x", "no option '--upstraem'; did you mean --upstream? (see `ib-relay run --help`)"),
    ("run word", "seen 'word'; allowed: options only (see `ib-relay run --help`)"),
    ("run --config", "--config: seen without a value; allowed: --config FILE (see `ib-relay run --help`)"),
    ("practice --list=all", "--list: seen with a value; allowed: --list alone (see `ib-relay practice --help`)"),
    ("practice --behaviour no-such-fault", "unknown behaviour 'no-such-fault'; known: normal, "),
    (
        "practice --behaviour ticks=many",
        "behaviour ticks: 'many' is not a number (ticks[=PER_SECOND]) (see `ib-relay practice --help`)",
    ),
    (
        "practice --server-version new",
        "--server-version: seen 'new'; allowed: a whole number from 0 on (see `ib-relay practice --help`)",
    ),
    ("practice --server-version 5", "server version 5 is not between 124 and 226 (see `ib-relay practice --help`)"),
    (
        "practice --listen 4002",
        "--listen: seen '4002'; allowed: HOST:PORT, PORT from 1 to 65535, 0.0.0.0 for all interfaces; a port alone ",
    ),
    ("practice --listen auto:4002", "--listen: seen 'auto:4002'; allowed: HOST:PORT, "),
    ("demo --behaviour no-such-fault", "unknown behaviour 'no-such-fault'; known: normal, "),
    ("demo --seconds 0", "--seconds: seen '0'; allowed: a number from 0.5 to 3600 (see `ib-relay demo --help`)"),
    ("demo --seconds abc", "--seconds: seen 'abc'; allowed: a number from 0.5 to 3600 (see `ib-relay demo --help`)"),
    ("demo --seconds nan", "--seconds: seen 'nan'; allowed: a number from 0.5 to 3600 (see `ib-relay demo --help`)"),
    (
        f"demo --seconds {'9' * 99}",
        f"--seconds: seen '{'9' * 55}...'; allowed: a number from 0.5 to 3600 (see `ib-relay demo --help`)",
    ),
    ("upgrade --pid abc", "--pid: seen 'abc'; allowed: a whole number from 2 on (see `ib-relay upgrade --help`)"),
    ("upgrade --pid 1", "--pid: seen '1'; allowed: a whole number from 2 on (see `ib-relay upgrade --help`)"),
    (
        "service print --manager init",
        "--manager: seen 'init'; allowed: systemd or launchd (see `ib-relay service print --help`)",
    ),
    (
        "service print --systemd 251",
        "--systemd: seen '251'; allowed: a whole number from 252 on (see `ib-relay service print --help`)",
    ),
    ("service print one two", "seen 'two'; allowed: options and one FILE (see `ib-relay service print --help`)"),
]


@pytest.mark.parametrize("typed, said", USAGE, ids=[typed[:50] for typed, _ in USAGE])
def test_a_slip_of_the_fingers_is_one_line_with_what_was_seen_and_what_is_allowed(bare, typed, said):
    code, output = invoke(*typed.split())
    assert code == 2
    assert output.startswith(f"ib-relay: {said}") and output.endswith("--help`)\n")
    assert output.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("service",)])
def test_without_a_command_the_commands_are_told(bare, words):
    code, output = invoke(*words)
    assert (code, "\nCommands:\n" in output) == (2, True)


def test_the_version_and_the_commands_are_told():
    assert invoke("--version") == (0, f"ib-relay, version {__version__}\n")
    code, output = invoke("-h")
    assert code == 0
    for command in ("run", "check-config", "practice", "demo"):
        assert f"\n  {command} " in output
        assert invoke(command, "--help")[0] == 0


@pytest.mark.parametrize("words", [(), ("service",)])
def test_on_80_columns_no_summary_of_a_command_is_cut(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, output = invoke(*words, "--help")
    listed = output.partition("\nCommands:\n")[2].splitlines()
    assert code == 0 and len(listed) > 5
    assert [line for line in listed if line.endswith("...") or len(line) > 79 or not line[2].isalpha()] == []
    assert max(map(len, output.splitlines())) <= 80


def test_a_help_keeps_its_lines_and_shows_no_mark_of_its_formatting():
    code, output = invoke("service", "--help")
    assert code == 0
    assert output.splitlines()[4:6] == [
        "  --system  starts with the machine, locked down, needs root [default for root]",
        "  --user    belongs to you                                   [default otherwise]",
    ]
    alone = ("run", "check-config", "practice", "demo", "upgrade")
    of_service = ("install", "print", "restart", "status", "uninstall", "upgrade")
    for words in ((), *((each,) for each in alone), ("service",), *(("service", each) for each in of_service)):
        code, output = invoke(*words, "--help")
        assert code == 0 and "\\" not in output and "\b" not in output


# Standard output that cannot be written: exit code 1


PRINTING = [("--help",), ("--version",), ("run", "--help"), ("check-config",), ("practice", "--list"), ("demo",)]
PRINTING += [
    ("service", "--help"),
    ("service", "print", "--user", "--manager", "systemd"),
    ("practice", "--listen", "{free}"),
]


@pytest.mark.slow
@pytest.mark.parametrize("words", PRINTING, ids=[" ".join(words) for words in PRINTING])
@pytest.mark.parametrize(
    "shell, said", [(">/dev/full", "standard output: No space left on device"), (">&-", "standard output is closed")]
)
def test_what_cannot_be_printed_is_one_line(bare, words, shell, said):
    words = [word.format(free=f"{HOST}:{unused_port()}") for word in words]
    assert finished(*words, shell=shell) == (1, "", f"ib-relay: {said}\n")


@pytest.mark.slow
@pytest.mark.parametrize("words", PRINTING, ids=[" ".join(words) for words in PRINTING])
def test_a_reader_that_has_gone_ends_a_command_without_a_word(bare, words):
    words = [word.format(free=f"{HOST}:{unused_port()}") for word in words]
    reading, writing = os.pipe()
    os.close(reading)
    with started(*words, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (1, "")


@pytest.mark.slow
def test_with_a_full_standard_error_the_exit_code_is_left(bare):
    assert finished("run", "--protocol", "vnc", shell="2>/dev/full") == (78, "", "")


# Ctrl-C


INTERRUPTS = """
import sys

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
sys.modules.pop({module!r}, None)
from relay.cli import main
sys.argv[1:] = {words!r}
main()
"""
EARLY = [("click", ["--help"]), ("relay.cli.commands", ["run"]), ("asyncio", ["run"]), ("relay.server", ["run"])]
EARLY += [("relay.cli.demo", ["demo"]), ("relay.survival.upgrade", ["upgrade"])]


@pytest.mark.slow
@pytest.mark.parametrize("module, words", EARLY, ids=[one[0] for one in EARLY])
def test_a_ctrl_c_while_it_still_starts_is_one_line(bare, module, words):
    command = [sys.executable, "-c", INTERRUPTS.format(module=module, words=words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ib-relay: interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["typing", "relay.terminal", "relay.printable"])
def test_a_ctrl_c_before_there_are_words_is_an_exit_code(bare, module):
    command = [sys.executable, "-c", INTERRUPTS.format(module=module, words=["run"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.slow
def test_a_ctrl_c_during_the_demo_is_one_line(bare):
    with started("demo", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while "session ready" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, "ib-relay: interrupted\n")


# A Python that cannot run it: exit code 69


@pytest.mark.slow
def test_without_click_it_says_what_to_do(bare):
    environ = os.environ | {"PYTHONPATH": str(ROOT)}  # and -S: nothing that is installed
    command = [sys.executable, "-S", "-m", "relay", "demo"]
    done = subprocess.run(command, cwd=bare, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    said = "ib-relay: needs click: run it with .venv/bin/python, or `pip install .`\n"
    assert (done.returncode, done.stdout, done.stderr) == (69, "", said)


def test_an_old_python_is_told_so():
    source = (ROOT / "relay" / "__main__.py").read_text()
    program = f"import sys; sys.version_info = (3, 9); exec({source!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (69, "ib-relay needs Python 3.11 or newer; this is 3.9\n")


# Configuration: exit code 78


WRONG = [
    ("an unknown key", "log_formt = 1", [], {}, 'relay.toml: log_formt: unknown key; did you mean "log_format"?'),
    ("not TOML", "[[map", [], {}, "relay.toml: "),
    ("a wrong port", "", ["--listen", "127.0.0.1:70000"], {}, '--listen: seen "127.0.0.1:70000"'),
    ("a wrong protocol", "", ["--protocol", "vnc"], {}, '--protocol: seen "vnc"; allowed: "ib" or "raw"'),
    ("a wrong network", "", ["--allow", "10.0.0.1/8"], {}, "--allow: seen "),
    (
        "a wrong variable",
        "",
        [],
        {"IB_RELAY_LOG_FORMAT": "xml"},
        'IB_RELAY_LOG_FORMAT: seen "xml"; allowed: "text" or "json"',
    ),
    ("an unknown variable", "", [], {"IB_RELAY_LISTENS": "x"}, "IB_RELAY_LISTENS: unknown variable"),
    ("its own upstream", "", ["--listen", "127.0.0.1:4002"], {}, "4002"),
]


@pytest.mark.parametrize("command", ["run", "check-config"])
@pytest.mark.parametrize("text, flags, variables, said", [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_a_wrong_configuration_is_one_line_that_says_where_and_what(
    bare, monkeypatch, command, text, flags, variables, said
):
    monkeypatch.chdir(bare)
    (bare / "relay.toml").write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, output = invoke(command, "--config", "relay.toml", *flags)
    assert code == 78
    assert output.startswith("ib-relay: ") and said in output
    assert (output.count("\n"), output[-1]) == (1, "\n")


@pytest.mark.parametrize("command", ["run", "check-config"])
def test_a_file_that_is_named_and_not_there_is_an_error(bare, command):
    code, output = invoke(command, "--config", f"{bare}/none.toml")
    assert (code, output) == (
        78,
        f"ib-relay: --config: {bare}/none.toml: seen no such file or directory; allowed: a readable TOML file\n",
    )


@pytest.mark.parametrize("command", ["run", "check-config"])
def test_an_empty_name_of_a_file_is_an_error(bare, command):
    said = 'ib-relay: --config: seen ""; allowed: a readable TOML file\n'
    assert invoke(command, "--config", "") == (78, said)


@pytest.mark.parametrize("command", ["run", "check-config"])
def test_a_pipe_is_no_configuration_and_nobody_waits_for_it(bare, command):
    os.mkfifo(bare / "fifo")
    said = f"ib-relay: --config: {bare}/fifo: seen is a pipe; allowed: a readable TOML file\n"
    assert invoke(command, "--config", f"{bare}/fifo") == (78, said)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["", "2>&-", ">&- 2>&-"], ids=["as usual", "without stderr", "without both"])
def test_the_exit_code_stands_whatever_is_closed(bare, shell):
    code, out, err = finished("run", "--protocol", "vnc", shell=shell)
    assert (code, out) == (78, "")
    assert err == ("" if shell else 'ib-relay: --protocol: seen "vnc"; allowed: "ib" or "raw"\n')


# check-config


def rows(output):
    return {line.split("  ")[0]: line.split()[1:] for line in output.splitlines() if line[0] != " "}


def test_every_value_is_shown_with_its_origin(bare, monkeypatch):
    file = bare / "relay.toml"
    file.write_text('log_interval = 30\n[[map]]\nlisten = "127.0.0.1:4001"\nupstream = "gw:4001"\nidle_timeout = 60\n')
    monkeypatch.setenv("IB_RELAY_UPSTREAM", "other:4002")
    monkeypatch.setenv("IB_RELAY_LISTEN", "127.0.0.1:4005")
    code, output = invoke("check-config", "--config", str(file), "--listen", "127.0.0.1:4007", "--log-format", "json")
    shown = rows(output)
    assert code == 0
    assert shown["config"] == [str(file), "--config"]
    assert shown["log_format"] == ["json", "--log-format"]
    assert shown["log_interval"] == ["30", "s", "file"]
    assert shown["default.listen"] == ["127.0.0.1:4007", "--listen"]
    assert shown["default.upstream"] == ["other:4002", "IB_RELAY_UPSTREAM"]
    assert shown["default.idle_timeout"] == ["60", "s", "file"]
    assert shown["default.connect_timeout"] == ["5", "s", "default"]


def test_a_warning_is_shown_and_no_error(bare):
    code, output = invoke("check-config", "--listen", "0.0.0.0:4003")
    assert code == 0
    assert 'warning: map default: listen "0.0.0.0:4003"' in output


def test_without_anything_the_default_is_auto_4003_to_the_paper_port(bare):
    code, output = invoke("check-config")
    shown = rows(output)
    assert (code, shown["default.listen"], shown["default.upstream"]) == (
        0,
        ["auto:4003", "default"],
        ["127.0.0.1:4002", "default"],
    )


# run


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "practice"])
def test_a_taken_port_is_one_line_and_exit_code_69(bare, command):
    with socket.create_server((HOST, 0)) as taken:
        place = f"{HOST}:{taken.getsockname()[1]}"
        code, out, err = finished(command, "--listen", place)
    assert (code, out) == (69, "")
    whose = {"run": "map default", "practice": "--listen"}[command]
    assert err == (
        f"ib-relay: {whose}: cannot listen on {place}: the port is taken "
        "(another relay, socat or the gateway itself listens there); "
        f"it is held by {psutil.Process().name()} (process {os.getpid()})\n"
    )


@pytest.mark.slow
def test_when_one_of_two_ports_is_taken_nothing_is_said_to_listen(bare):
    with socket.create_server((HOST, 0)) as taken:
        places = [f"{HOST}:{unused_port()}", f"{HOST}:{taken.getsockname()[1]}"]
        code, out, err = finished("run", "--listen", places[0], "--listen", places[1])
    assert (code, out, places[1] in err) == (69, "", True)


CLOSED = [">&-", "<&- >&-", "<&- >&- 2>&-"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", CLOSED)
def test_started_with_closed_descriptors_no_log_line_gets_into_a_session(bare, shell):
    port = unused_port()
    with socket.create_server((HOST, 0)) as server:
        upstream = f"{HOST}:{server.getsockname()[1]}"
        with started(
            "run", "--listen", f"{HOST}:{port}", "--upstream", upstream, "--protocol", "raw", shell=shell
        ) as process:
            sessions = []
            try:
                for _ in range(4):  # the first descriptors that are free would be the ones of these
                    client = connected(port)
                    gateway, _ = server.accept()
                    gateway.settimeout(PATIENCE)
                    sessions += [(client, gateway)]
                for client, gateway in sessions:
                    client.sendall(b"question")
                    assert gateway.recv(100) == b"question"
                    gateway.sendall(b"answer")
                    assert client.recv(100) == b"answer"
                process.send_signal(signal.SIGINT)
                assert process.wait(PATIENCE) == 0
                for client, gateway in sessions:
                    assert (client.recv(100), gateway.recv(100)) == (b"", b"")
            finally:
                for pair in sessions:
                    for sock in pair:
                        sock.close()


HANGS = """
import atexit, os, socket, sys, threading

look_up = socket.getaddrinfo

def hang(host, *more, **options):
    return look_up(host, *more, **options) if host in (b"127.0.0.1", "127.0.0.1") else threading.Event().wait()

socket.getaddrinfo = hang  # a name server that does not answer
atexit.register(os._exit, 9)  # an interpreter at its end, which would meet the thread that asks
from relay.cli import main
sys.argv[1:] = ["run", "--listen", "127.0.0.1:{port}", "--upstream", "gw.example:4002", "--protocol", "raw"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_name_server_that_does_not_answer_cannot_hold_up_the_end(bare, number):
    port = unused_port()
    command = [sys.executable, "-c", HANGS.format(port=port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        with connected(port) as client:
            client.settimeout(PATIENCE)
            if number == signal.SIGTERM:
                reset(client)  # leaves while its upstream's name is looked up, so the drain is over at once
            process.send_signal(number)
            begin = time.monotonic()
            _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, b"")
        assert time.monotonic() - begin < 2


# practice


def test_every_behaviour_is_listed_with_its_summary(bare):
    from relay.practice import BEHAVIOURS

    code, output = invoke("practice", "--list")
    assert code == 0
    listed = [line.split()[0].partition("[")[0].partition("=")[0] for line in output.splitlines() if line[0] != " "]
    assert listed == list(BEHAVIOURS)
    assert max(map(len, output.splitlines())) <= 100


def test_a_home_that_may_not_be_looked_into_is_named_and_no_traceback(bare, monkeypatch):
    home = bare / "closed"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    invoke("service", "status", "--user")  # loads what it needs, as long as this user may read that
    home.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        code, output = invoke("service", "status", "--user")
    finally:
        if root:
            os.seteuid(0)
    place = home / ".config/ib-relay/config.toml"
    assert (code, output) == (69, f"ib-relay: {place}: permission denied (is HOME yours?)\n")
