"""`--profile` shows where our own time goes: it has to find our own functions."""

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
