"""What the systemd journal must be told of a line: how bad it is, as "<4>" before it (sd-daemon(3)).

Only where the descriptor leads to the journal, which takes the prefix off again (SyslogLevelPrefix=); everywhere else a
line stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_LEVELS = {"ERROR": "<3>", "WARN": "<4>"}  # of syslog(3); without a prefix a line counts as "info", 6


def leads_to_journal(fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Is this descriptor the one systemd has connected to the journal ($JOURNAL_STREAM, systemd.exec(5))?

    The variable alone says nothing: children inherit it, and their output may have been redirected.
    """
    stream = environ.get("JOURNAL_STREAM", "")
    if not stream:
        return False
    try:
        about = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{about.st_dev}:{about.st_ino}"


def level_prefix(severity: str, fd: int, environ: Mapping[str, str] = os.environ) -> str:
    """What stands before a line of this severity on this descriptor; mostly nothing."""
    return prefixed("", severity) if leads_to_journal(fd, environ) else ""


def prefixed(line: str, severity: str) -> str:
    """The line for the journal."""
    return _LEVELS.get(severity, "") + line
