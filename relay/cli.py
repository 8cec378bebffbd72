"""The `ib-relay` command's front door: standard streams made safe, and every end an exit code and at most one line.

Only the standard library is imported here, and little of it: whatever goes wrong behind the door, from a Ctrl-C while
modules are still being read to a click that is not there, has its words here.
"""

from __future__ import annotations

import sys

from relay import streams


def main(args: list[str] | None = None, prog_name: str = streams.NAME) -> None:
    """Run the command in `args` (by default the process's own) and leave with its exit code."""
    sys.exit(streams.exit_code(lambda: _run(args, prog_name)))


def _run(args: list[str] | None, prog_name: str) -> int:
    try:
        streams.prepare()
        from relay.cli_commands import commands
        from relay.cli_usage import run

        return run(commands, args, prog_name)
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        streams.complain(streams.NEEDS_CLICK)
        return streams.EX_UNAVAILABLE
