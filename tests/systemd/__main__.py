"""Boots real systemds and tries the service in them.

`python -m tests.systemd [--quick | --full] [pytest's own options]` needs root, debootstrap and systemd-container. The
first run makes the templates of Debian 12 and 13 (a minute and a half).
"""

import os
import sys
import time
from pathlib import Path

import pytest

from tests.systemd.machine import SUITES, Trouble, missing_tools, template

HERE = str(Path(__file__).parent)


def main(words: list[str]) -> int:
    if why := missing_tools():
        print(f"tests.systemd {why}")
        return 77
    for rounds in ("quick", "full"):
        if f"--{rounds}" in words:
            words.remove(f"--{rounds}")
            os.environ["IB_RELAY_ROUNDS"] = rounds
    for suite in SUITES:
        started = time.monotonic()
        try:
            template(suite)
        except Trouble as trouble:
            print(trouble)
            return 1
        if time.monotonic() - started > 1:
            print(f"template of {suite} made in {time.monotonic() - started:.0f} s", flush=True)
    where = [] if any("test_" in word for word in words) else [HERE]
    return pytest.main(["-o", "addopts=", "-q", *words, *where])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
