"""Runs ib-diagnose as a process of its own, the way a user starts it: for the black-box tests.

It looks around on the machine of `plain_machine` and not on the one the tests run on, so that it finds the same routes
everywhere: on a laptop, in a container, without a network. A bundled form brings its own modules, and looks at the real
one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diagnostics.place.surroundings import VARIABLES

ROOT = Path(__file__).parents[2]
PLAIN_MACHINE = Path(__file__).with_name("plain_machine")
PATIENCE = 30.0  # seconds; a command that hangs fails its own test
COMMAND = (sys.executable, "-m", "diagnostics")


@dataclass(frozen=True)
class Ended:
    """How a command ended; `out` and `err` as text."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> tuple[int, str, list[str]]:
        """Exit code, standard output, and the lines of standard error."""
        return self.code, self.out, self.err.splitlines()


def surroundings(**variables: str) -> dict[str, str]:
    """The environment of this process without the variables we read, and with these."""
    ours = ("IB_", "NO_COLOR", "PYTHONPATH", "COLUMNS", "TRADING_MODE", *VARIABLES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": f"{PLAIN_MACHINE}:{ROOT}", **variables}


def run(
    *words: str,
    command: Sequence[str] = COMMAND,
    stdin: str = "",
    shell: str = "",
    cwd: str | os.PathLike | None = None,
    env: dict[str, str] | None = None,
    **variables: str,
) -> Ended:
    """`ib-diagnose words...`; with `shell` by way of one that redirects, as in ">&-"."""
    argv = [*command, *words]
    if shell:
        argv = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *argv]
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=cwd,
        env=surroundings(**variables) if env is None else env,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


async def beside(*words: str, **options) -> Ended:
    """The same while this process's event loop goes on: a practice gateway of the test's has to answer meanwhile."""
    return await asyncio.to_thread(run, *words, **options)
