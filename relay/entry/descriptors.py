"""The open-files limit of this process: as it was at the start, and as far as it can be raised."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import MutableMapping

from relay.config.limits import USUAL_OPEN_FILES

# What this process was started with. execve keeps it, and so does a release that does not know it.
AT_START = "RELAY_OPEN_FILES"
_ENDLESS = 1 << 20  # descriptors, for a limit that is none


def open_files_at_start(taken_over: bool, environ: MutableMapping[str, str] = os.environ) -> int:
    """The soft limit the service manager starts this process with, and so the next one. Ask before it is raised.

    A program that has `taken_over` from another finds it raised already. If that one did not note it, it is taken to be
    what a unit has that does not say.
    """
    now = _bounded(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    noted = environ.get(AT_START, "") if taken_over else str(now)
    environ[AT_START] = noted if noted.isdecimal() else str(min(now, USUAL_OPEN_FILES))
    return int(environ[AT_START])


def raised_open_files() -> int:
    """Raises the soft limit to the hard one; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.platform == "darwin":
        hard = min(hard, 10_240) if hard != resource.RLIM_INFINITY else 10_240  # OPEN_MAX: setrlimit refuses more
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    return _bounded(soft)


def _bounded(limit: int) -> int:
    return limit if limit != resource.RLIM_INFINITY else _ENDLESS
