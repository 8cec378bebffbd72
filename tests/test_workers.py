"""tests/conftest.py: a run of all tests has workers, which are as strict as it is; tests that are named have none."""

import json
import os
import subprocess
import sys

import pytest

from tests.diagnostics.commands import ROOT

pytest.importorskip("xdist", reason="pytest-xdist is of the `test` extra")

SETTINGS = """
[pytest]
testpaths = .
addopts = -n auto --dist each -p tests.conftest -p no:cacheprovider
"""

FEW = """
from tests import conftest

conftest.WORKERS = 3
"""

SHOWING = """
import json
import os
import sys
import threading
from pathlib import Path

from tests.relay.kit.scripted import free_port

def test_it():
    shown = {
        "main": threading.current_thread() is threading.main_thread(),
        "strict": (sys.flags.dev_mode, sys.warnoptions[-1:]),
        "ports": sorted(free_port() for _ in range(100)),
    }
    Path(__file__).with_name(os.environ.get("PYTEST_XDIST_WORKER", "itself") + ".json").write_text(json.dumps(shown))
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest in a folder with one test; what that test has seen, by where it ran."""
    for name, text in (("pytest.ini", SETTINGS), ("conftest.py", FEW), ("test_it.py", SHOWING)):
        (tmp_path / name).write_text(text)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}

    def ran(*words):
        command = [sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", *words]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}

    return ran


@pytest.mark.slow
def test_a_run_of_all_has_workers_that_are_as_strict_and_share_no_port(run):
    seen = run()
    assert seen.keys() == {"gw0", "gw1", "gw2"}
    assert all(one["main"] and one["strict"] == [True, ["error"]] for one in seen.values())
    assert len({port for one in seen.values() for port in one["ports"]}) == 300


@pytest.mark.slow
@pytest.mark.parametrize("words", [("test_it.py",), ("-n", "0"), ("--pdb",)], ids=" ".join)
def test_named_tests_and_a_debugger_have_the_process_to_themselves(run, words):
    assert run(*words).keys() == {"itself"}
