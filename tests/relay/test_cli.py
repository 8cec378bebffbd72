"""relay/cli.py: what is typed, what is printed where, and the exit code."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay import __version__
from relay.cli import main
from tests.relay.loopback import HOST, PATIENCE, reset, unused_port

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
    result = CliRunner().invoke(main, words, prog_name="ib-relay")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


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
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((HOST, port), PATIENCE)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


# Usage: exit code 2


USAGE = [
    (["no-such-command"], "No such command 'no-such-command'"),
    (["run", "--no-such-option"], "--no-such-option"),
    (["run", "word"], "unexpected extra argument"),
    (["run", "--config"], "Option '--config' requires an argument"),
    (["practice", "--behaviour", "no-such-fault"], "no-such-fault"),
    (["practice", "--behaviour", "ticks=many"], "many"),
    (["practice", "--server-version", "new"], "'new' is not a valid integer"),
    (["practice", "--listen", "4002"], "--listen: seen '4002'; allowed: HOST:PORT with a PORT from 1 to 65535"),
    (["practice", "--listen", "auto:4002"], "--listen: seen 'auto:4002'"),
    (["demo", "--behaviour", "no-such-fault"], "no-such-fault"),
    (["demo", "--seconds", "0"], "0.0 is not in the range"),
]


@pytest.mark.parametrize("words, said", USAGE, ids=[" ".join(words) for words, _ in USAGE])
def test_a_slip_of_the_fingers_is_a_usage_error(bare, words, said):
    code, output = invoke(*words)
    assert (code, "Traceback" in output) == (2, False)
    assert said in output
    assert "Error: " in output


def test_the_version_and_the_commands_are_told():
    assert invoke("--version") == (0, f"ib-relay, version {__version__}\n")
    code, output = invoke("-h")
    assert code == 0
    for command in ("run", "check-config", "practice", "demo"):
        assert f"\n  {command} " in output
        assert invoke(command, "--help")[0] == 0


# Configuration: exit code 78


WRONG = [
    ("an unknown key", "log_formt = 1", [], {}, 'relay.toml: log_formt: unknown key; did you mean "log_format"?'),
    ("not TOML", "[[map", [], {}, "relay.toml: "),
    ("a wrong port", "", ["--listen", "127.0.0.1:70000"], {}, '--listen: seen "127.0.0.1:70000"'),
    ("a wrong protocol", "", ["--protocol", "vnc"], {}, '--protocol: seen "vnc"; allowed: "ib" or "raw"'),
    ("a wrong network", "", ["--allow", "10.0.0.1/8"], {}, "--allow: seen "),
    ("a wrong variable", "", [], {"IB_RELAY_LOG_FORMAT": "xml"}, 'IB_RELAY_LOG_FORMAT: seen "xml"; allowed: "text" or "json"'),
    ("an unknown variable", "", [], {"IB_RELAY_LISTENS": "x"}, "IB_RELAY_LISTENS: unknown variable"),
    ("its own upstream", "", ["--listen", "127.0.0.1:4002"], {}, "4002"),
]


@pytest.mark.parametrize("command", ["run", "check-config"])
@pytest.mark.parametrize("text, flags, variables, said", [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_a_wrong_configuration_is_one_line_that_says_where_and_what(bare, monkeypatch, command, text, flags, variables, said):
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
        78, f"ib-relay: --config: {bare}/none.toml: seen no such file or directory; allowed: a readable TOML file\n"
    )  # fmt: skip


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
        0, ["auto:4003", "default"], ["127.0.0.1:4002", "default"],
    )  # fmt: skip


# run


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "practice"])
def test_a_taken_port_is_one_line_and_exit_code_69(bare, command):
    with socket.create_server((HOST, 0)) as taken:
        place = f"{HOST}:{taken.getsockname()[1]}"
        code, out, err = finished(command, "--listen", place)
    assert (code, out) == (69, "")
    assert (err.count("\n"), place in err, err.startswith("ib-relay: ")) == (1, True, True)


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
        with started("run", "--listen", f"{HOST}:{port}", "--upstream", upstream, "--protocol", "raw", shell=shell) as process:
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
import socket, threading

look_up = socket.getaddrinfo

def hang(host, *more, **options):
    return look_up(host, *more, **options) if host == "127.0.0.1" else threading.Event().wait()

socket.getaddrinfo = hang  # a name server that does not answer
from relay.cli import main
main(["run", "--listen", "127.0.0.1:{port}", "--upstream", "gw.example:4002", "--protocol", "raw"])
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
            out, err = process.communicate(timeout=PATIENCE)
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
