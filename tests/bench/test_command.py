"""The command itself: a run with everything it can write, and `--profile`, which has to find our own functions."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def test_a_profile_names_our_functions():
    command = [sys.executable, "-m", "tests.bench", "--profile", "--quick", "--rows", "connections", "--pin", "no"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "connections = " in done.stdout and re.search(r"/relay/[\w/]+\.py:", done.stdout)


def test_a_run_prints_its_tables_and_writes_all_samples(tmp_path):
    file = tmp_path / "samples.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--rows", "rtt_p50,connections", "--relays", "direct"]
    command += ["--markdown", "--json", str(file)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "| round trip p50 | us |" in done.stdout and done.stdout.endswith("2 passed, 0 failed\n")
    written = json.loads(file.read_text())
    assert {row["row"]: len(row["samples"]) for row in written["rows"]} == {"rtt_p50": 4, "connections": 4}
    assert written["failures"] == [] and "no relay" in written["circumstances"][-1]
