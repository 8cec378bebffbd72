"""The `ib-relay` command's front door: standard streams made safe, and every end an exit code and at most one line.

Only the standard library is imported here, and little of it: whatever goes wrong behind the door, from a Ctrl-C while
modules are still being read to a click that is not there, has its words here.
"""

from __future__ import annotations

try:  # Ctrl-C may come while these few are being read
    import sys
    from typing import NoReturn

    from relay import terminal
    from relay.cli.importing import importing
except KeyboardInterrupt:
    raise SystemExit(130) from None


def main() -> NoReturn:
    """The `ib-relay` command: what the process was told to do, and its end."""
    terminal.leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command in `arguments`; its exit code. Raises nothing but faults of ours."""
    return terminal.exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    try:
        terminal.prepare()
        with importing():
            from relay.cli import usage
            from relay.cli.commands import commands

        return usage.run(commands, arguments, terminal.NAME)
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        terminal.complain(terminal.NEEDS_CLICK)
        return terminal.EX_UNAVAILABLE
