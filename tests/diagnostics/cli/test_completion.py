"""Completion, asked for as a shell does: real processes of both commands, and never a diagnosis or a relay."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.diagnostics.commands import PATIENCE, ROOT, surroundings

COMMANDS = {"ib-diagnose": "diagnostics", "ib-relay": "relay"}
EVERY = pytest.mark.parametrize("name", COMMANDS)
SHELLS = ("bash", "zsh", "fish")


def asked(name, instruction, line="", at=""):
    """The command as a completing shell runs it. A diagnosis, or a relay, would say something else or never end."""
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    environ = surroundings(IB_HOST="127.0.0.1", IB_PORT="1", COMP_WORDS=line, COMP_CWORD=str(at))
    return subprocess.run(
        [sys.executable, "-m", COMMANDS[name]],
        env=environ | {variable: instruction},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@EVERY
@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_that_of_the_shell(name, shell):
    done = asked(name, f"{shell}_source")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{shell}_complete" in done.stdout and name in done.stdout
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=done.stdout, text=True, timeout=PATIENCE).returncode == 0


LINES = [
    # (command, the line, the word at hand: its number and itself, what must be among the values)
    ("ib-diagnose", "ib-diagnose w", 1, "w", {"wait", "watch"}),
    ("ib-diagnose", "ib-diagnose", 1, "", {"check", "explain"}),
    ("ib-diagnose", "ib-diagnose --sav", 1, "--sav", {"--save"}),
    ("ib-diagnose", "ib-diagnose wait --for ", 3, "", {"tcp", "hello", "session", "online"}),
    ("ib-diagnose", "ib-diagnose explain IBD30", 2, "IBD30", {"IBD301", "IBD309"}),
    ("ib-relay", "ib-relay ser", 1, "ser", {"service"}),
    ("ib-relay", "ib-relay run --li", 2, "--li", {"--listen"}),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("name", "line", "number", "word", "values"), LINES, ids=[row[1] for row in LINES])
def test_what_can_follow_is_told(name, line, number, word, values, shell):
    done = asked(name, f"{shell}_complete", line, word if shell == "fish" else number)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    kinds = {"bash": lines, "fish": [one.partition("\t")[0] for one in lines], "zsh": lines[1::3]}[shell]
    assert values <= {one.removeprefix("plain,") for one in kinds}
    assert all(one.removeprefix("plain,").startswith(word) for one in kinds)


def test_a_file_is_for_the_shell_to_complete():
    assert asked("ib-diagnose", "bash_complete", "ib-diagnose --save x", 2).stdout == "file,x\n"


@EVERY
@pytest.mark.parametrize("instruction", ["1", "bash", "csh_source", "bash_nonsense"])
def test_another_value_starts_nothing(name, instruction):
    done = asked(name, instruction)
    assert (done.returncode, done.stdout) == (1, "") and len(done.stderr.splitlines()) <= 1


ODD = [("ib-diagnose wait 'open", "2"), ("ib-diagnose", "x"), ("", ""), ("ib-diagnose", "-1"), ("a" * 9999, "99999")]


@pytest.mark.parametrize(("line", "at"), ODD)
@pytest.mark.parametrize("shell", SHELLS)
def test_an_odd_line_is_no_fault_of_ours(line, at, shell):
    done = asked("ib-diagnose", f"{shell}_complete", line, at)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@EVERY
def test_bash_completes_by_the_script(name, tmp_path):
    """The function is called as bash does when somebody presses Tab."""
    (tmp_path / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {COMMANDS[name]} "$@"\n')
    (tmp_path / name).chmod(0o755)
    function = f"_{name.replace('-', '_')}_completion"
    script = f"""
    {asked(name, "bash_source").stdout}
    COMP_WORDS=({name} {"che" if name == "ib-diagnose" else "prac"}); COMP_CWORD=1
    {function} {name}; echo "${{COMPREPLY[*]}}"
    """
    environ = {**surroundings(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash"], input=script, env=environ, text=True, capture_output=True, timeout=PATIENCE)
    assert done.stdout.split() == ["check" if name == "ib-diagnose" else "practice"]
