"""The `ib-diagnose` command: arguments in, exit code out; the commands are in commands.py, diagnosing.py, looking.py.

Imports are inside the functions: `check` runs every few seconds in a container, and pays for nothing it does not use.
"""

from __future__ import annotations

try:  # importing takes most of the first tenth of a second, and Ctrl-C may come as soon as that
    import os
    import signal
    import sys
    import threading
    from typing import NoReturn

    from diagnostics.cli import output
    from diagnostics.cli.commands import COMMANDS, parse
    from diagnostics.cli.looking import Terminated
    from diagnostics.cli.output import NAME, CommandError
    from relay import terminal
except KeyboardInterrupt:
    raise SystemExit(130) from None

# Exit codes; 0 and 2 to 5 are the verdict's, see diagnosis.EXIT.
EX_USAGE = 1  # wrong words, unreadable input, unwritable output
EX_SOFTWARE = 70  # sysexits.h: a fault of ours
EX_INTERRUPTED = 130  # as shells have it: 128 + SIGINT
EX_TERMINATED = 143  # 128 + SIGTERM

COMPLETE = "_IB_DIAGNOSE_COMPLETE"  # set by a shell that completes; then nothing is run, whatever the words say
TRACEBACK = "IB_DIAGNOSE_TRACEBACK"  # "1" shows where a fault of ours happened


def main() -> NoReturn:
    """The `ib-diagnose` command: what the process was told to do, and its end."""
    terminal.leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command in `arguments` and return its exit code; never raises."""
    try:
        terminal.prepare()
        _catch_faults_of_threads()
        return _run(arguments)
    except CommandError as error:
        output.complain(str(error))
        return EX_USAGE
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would find us in the middle of leaving
        output.complain("interrupted")
        return EX_INTERRUPTED
    except Terminated:
        output.complain("terminated")
        return EX_TERMINATED
    except Exception as error:  # noqa: BLE001 (a fault of ours is one line and an exit code)
        return _internal(error)


def _internal(error: Exception) -> int:
    import traceback

    if os.environ.get(TRACEBACK) == "1":
        terminal.tell("".join(traceback.format_exception(error)).rstrip())
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = f"{type(error).__name__}: {error}"[:200]
    output.complain(f"a fault of ours at {where.filename}:{where.lineno}: {message}; {TRACEBACK}=1 shows more")
    return EX_SOFTWARE


def _catch_faults_of_threads() -> None:
    """What went wrong in a thread is missing in the result, which says so; here it gets its line."""

    def tell(fault: threading.ExceptHookArgs) -> None:
        output.complain(f"a fault of ours in {fault.thread and fault.thread.name}: {fault.exc_value!r}"[:300])

    threading.excepthook = tell


def _run(arguments: list[str]) -> int:
    if COMPLETE in os.environ:
        from diagnostics.cli.completion import complete

        return complete(os.environ, COMPLETE)
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help", "help"):
        output.write(_overview())
        return 0
    if first == "--version":
        from relay import __version__

        output.write(f"{NAME} {__version__}\n")
        return 0
    from diagnostics.cli.arguments import HelpWritten

    try:
        command, options = parse(arguments)
    except HelpWritten:
        return 0
    return command.run(options)


def _overview() -> str:
    rows = "".join(f"  {name:<9} {command.summary}\n" for name, command in COMMANDS.items())
    return f"""usage: {NAME} [COMMAND] [options]

Says which route to IB Gateway or TWS works from here, at which stage the others fail, and why.

  {NAME} diagnose --help    the options of a diagnosis: --target HOST:PORT, --gateway-log and others
  {NAME} COMMAND --help     those of another command

{rows}
Exit codes: 0 usable, 1 wrong words, codes or files, 2 no TCP connection, 3 no handshake, 4 no usable session
(2 to 4 also where the target that was configured fails and another route works),
5 warnings (with --fail-on warning), 69 Python too old, 70 a fault of ours, 130 interrupted, 143 terminated.
Environment: IB_HOST and IB_PORT stand for --target and --port, for a diagnosis IB_CLIENT_ID for --client-id;
NO_COLOR.
"""
