"""tests/fuzz.py as a command: its help, and one line for words that are no numbers."""

import subprocess
import sys

import pytest

from tests.diagnostics.commands import PATIENCE, ROOT


def fuzz(*words):
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    return ended.returncode, ended.stdout, ended.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("words", [("abc",), ("5", "abc"), ("-5",), ("",), ("1.5",), ("5", "6", "7")], ids=" ".join)
def test_what_is_no_number_is_told_in_one_line(words):
    code, out, said = fuzz(*words)
    assert (code, out) == (2, "") and said[-1].startswith("python -m tests.fuzz: error: ")
    assert [line for line in said[:-1] if not line.startswith("usage: ")] == []


@pytest.mark.slow
def test_there_is_a_help_and_a_run_can_be_had_again():
    code, out, said = fuzz("--help")
    assert (code, said) == (0, []) and out.startswith("usage: python -m tests.fuzz [-h] [STREAMS] [SEED]")
    code, out, said = fuzz("20", "7")
    assert (code, said) == (0, []) and out.startswith("fuzz: 20 streams, seed 7\n")
