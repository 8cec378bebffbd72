"""The `ib-diagnose` command: arguments in, exit code out; the rules live elsewhere.

Imports are inside the functions: `check` runs every few seconds in a container, and pays for nothing it does not use.
"""

from __future__ import annotations

try:  # importing takes most of the first tenth of a second, and Ctrl-C may come as soon as that
    import os
    import signal
    import sys
    import threading
    from typing import NoReturn

    from diagnostics import streams
    from diagnostics.streams import NAME, Refused, Unwritable
except KeyboardInterrupt:
    raise SystemExit(130) from None

# Exit codes; 0 and 2 to 5 are the verdict's, see diagnosis.EXIT.
EX_USAGE = 1  # wrong words, unreadable input, unwritable output
EX_SOFTWARE = 70  # sysexits.h: a fault of ours
EX_INTERRUPTED = 130  # as shells have it: 128 + SIGINT
EX_TERMINATED = 143  # 128 + SIGTERM

# Seconds for an answer. ib-relay gives its dial five and then resets: an end that names its cause (IBD307), for a
# client that has the patience to hear it.
ANSWER = 6.0

TRACEBACK = "IB_DIAGNOSE_TRACEBACK"  # "1" shows where a fault of ours happened


class Terminated(BaseException):
    """SIGTERM came while waiting."""


def main() -> NoReturn:
    """The `ib-diagnose` command: what the process was told to do, and its end."""
    streams.leave(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run the command in `words` and return its exit code; never raises."""
    try:
        streams.prepare()
        _catch_faults_of_threads()
        return _run(words)
    except Refused as error:
        streams.complain(str(error))
        return EX_USAGE
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would find us in the middle of leaving
        streams.complain("interrupted")
        return EX_INTERRUPTED
    except Terminated:
        streams.complain("terminated")
        return EX_TERMINATED
    except Exception as error:  # noqa: BLE001 (a fault of ours is one line and an exit code)
        return _internal(error)


def _internal(error: Exception) -> int:
    import traceback

    if os.environ.get(TRACEBACK) == "1":
        streams.tell("".join(traceback.format_exception(error)).rstrip())
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error}"[:200]
    streams.complain(f"a fault of ours at {where.filename}:{where.lineno}: {said}; {TRACEBACK}=1 shows more")
    return EX_SOFTWARE


def _catch_faults_of_threads() -> None:
    """What went wrong in a thread is missing in the result, which says so; here it gets its line."""

    def tell(fault) -> None:
        streams.complain(f"a fault of ours in {fault.thread and fault.thread.name}: {fault.exc_value!r}"[:300])

    threading.excepthook = tell


def _run(words: list[str]) -> int:
    first = words[0] if words else ""
    if first in ("-h", "--help", "help"):
        streams.write(_overview())
        return 0
    if first == "--version":
        from relay import __version__

        streams.write(f"{NAME} {__version__}\n")
        return 0
    if first and not first.startswith("-") and first not in COMMANDS:
        raise Refused(f"no command {first!r}; there are {', '.join(COMMANDS)}")
    command, rest = (first, words[1:]) if first in COMMANDS else (DEFAULT, words)
    from diagnostics.arguments import Done, Parser

    summary, options, run = COMMANDS[command]
    parser = Parser(prog=f"{NAME} {command}", description=summary, allow_abbrev=False)
    options(parser)
    if command == "wait" and "--" in rest:
        at = rest.index("--")
        rest, parser.command = rest[:at], tuple(rest[at + 1 :])
    try:
        return run(parser.parse_args(rest), parser)
    except Done:
        return 0


def _overview() -> str:
    rows = "".join(f"  {name:<9} {summary}\n" for name, (summary, _options, _run) in COMMANDS.items())
    return f"""usage: {NAME} [COMMAND] [options]     ({NAME} COMMAND --help tells them)

Says which route to IB Gateway or TWS works from here, at which stage the others fail, and why.

{rows}
Exit codes: 0 usable, 1 wrong words or files, 2 no TCP connection, 3 no handshake, 4 no usable session,
5 warnings (with --fail-on warning), 69 Python too old, 70 a fault of ours, 130 interrupted, 143 terminated.
Environment: IB_HOST, IB_PORT and IB_CLIENT_ID stand for --target, --port and --client-id; NO_COLOR.
"""


# diagnose


def _diagnose_options(parser) -> None:
    from argparse import BooleanOptionalAction

    from diagnostics.arguments import filled, seconds, where

    where(parser, several=True)
    add = parser.add_argument
    add(
        "--session",
        action=BooleanOptionalAction,
        default=True,
        help="go on to a session of our own (START_API), or stop after the hello",
    )
    add("--every-route", action="store_true", help="handshakes on every route, one after the other; else on the best")
    add(
        "--timeout",
        metavar="SECONDS",
        type=seconds(0.1, 600),
        default=ANSWER,
        help=f"for hello and session, each [{ANSWER:g}]",
    )
    add("--format", choices=FORMATS, default="text", help="[text]")
    add("--output", metavar="FILE", type=filled, help="instead of standard output")
    add(
        "--save",
        metavar="FILE",
        type=filled,
        help="the evidence as JSON; - for standard output, and no report there then",
    )
    add(
        "--from",
        metavar="FILE",
        dest="saved",
        type=filled,
        help="report on saved evidence, without a network; - for standard input",
    )
    add(
        "--gateway-log",
        metavar="FILE",
        type=filled,
        help="a log of the gateway's container, for causes only it knows; - as above",
    )
    add("--fail-on", choices=["warning"], help="exit 5 when it works and there are warnings")
    add("-v", "--verbose", action="store_true", help="facts about this place, and progress")


def _diagnose(options, parser) -> int:
    from diagnostics.diagnosis import exit_code
    from diagnostics.rules import diagnose

    _check_combination(options)
    evidence_sink = streams.Sink(options.save, "--save") if options.save else None
    silent = options.save == "-" and options.output is None
    report_sink = None if silent else streams.Sink(options.output, "--output")
    try:
        evidence = _saved(options) if options.saved else _collected(options)
        if evidence_sink:
            from diagnostics.evidence import dump

            evidence_sink.write(dump(evidence), utf8=True)
        diagnosis = diagnose(evidence)
        if report_sink:
            text = FORMATS[options.format](evidence, diagnosis, options)
            report_sink.write(text, utf8=options.format != "text")
    finally:
        for sink in (evidence_sink, report_sink):
            if sink:
                sink.close()
    return exit_code(diagnosis, options.fail_on == "warning")


def _check_combination(options) -> None:
    about_live = ("target", "port", "client_id", "every_route", "gateway_log")
    live = [name for name in about_live if getattr(options, name) not in (None, False, [])]
    if options.saved and live:
        raise Refused(f"--from reports on a run of the past: --{live[0].replace('_', '-')} has no meaning there")
    if options.save and options.save != "-" and options.save == options.output:
        raise Refused(f"--save and --output both name {options.save}")
    if options.save == options.output == "-":
        raise Refused("--save and --output both want standard output")


def _collected(options):
    from diagnostics.arguments import asked, places
    from diagnostics.collect import collect
    from relay import __version__

    targets, port = places(options)
    wanted = asked(options, targets, session=options.session, timeout=options.timeout)
    log = streams.read_text(options.gateway_log, "--gateway-log", tail=True) if options.gateway_log else None
    progress = streams.tell if options.verbose or streams.is_terminal(sys.stderr) else None
    return collect(
        targets,
        port,
        wanted,
        every_route=options.every_route,
        progress=progress,
        gateway_log=log,
        tool_version=__version__,
    )


def _saved(options):
    from diagnostics.evidence import EvidenceError, load

    try:
        return load(streams.read_text(options.saved, "--from"))
    except EvidenceError as error:
        raise Refused(f"--from {options.saved}: {error}") from None


def _as_text(evidence, diagnosis, options) -> str:
    from diagnostics import report

    to_terminal = options.output in (None, "-")
    return report.text(
        evidence,
        diagnosis,
        width=streams.width() if to_terminal else streams.WIDTH,
        colour=to_terminal and streams.colours(),
        verbose=options.verbose,
    )


def _as_json(evidence, diagnosis, options) -> str:
    from diagnostics import report

    return report.json_text(evidence, diagnosis, fail_on_warning=options.fail_on == "warning")


def _as_html(evidence, diagnosis, options) -> str:
    from diagnostics import html_report

    return html_report.html(evidence, diagnosis)


FORMATS = {"text": _as_text, "json": _as_json, "html": _as_html}


# check, wait, watch: one route


def _look_options(parser, flag: str) -> None:
    from diagnostics.arguments import where

    where(parser, several=False)
    parser.add_argument(
        flag, dest="level", choices=["tcp", "hello", "session"], default="hello", help="how far it must work [hello]"
    )


def _looker(options, timeout: float):
    """A function that looks once, in at most the seconds it is given (and `timeout` per step)."""
    from diagnostics import check
    from diagnostics.arguments import asked, places

    if len(options.target) > 1:
        raise Refused("--target: one place is looked at, more were given")
    level = check.Level(options.level)
    targets, port = places(options)
    wanted = asked(options, targets, session=level is check.Level.SESSION, timeout=timeout)
    route = check.route_of(targets, port)
    return lambda limit=float("inf"): check.look(route, level, wanted, limit)


def _check_options(parser) -> None:
    from diagnostics.arguments import seconds

    _look_options(parser, "--level")
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds(0.1, 600), default=5.0, help="for all of it [5]")


def _check(options, parser) -> int:
    if sys.stdout is None:
        raise Unwritable("standard output is closed")
    look = _looker(options, options.timeout)(options.timeout)
    streams.write(f"{look.line}\n")
    return look.exit_code


def _wait_options(parser) -> None:
    from diagnostics.arguments import seconds

    parser.usage = f"{parser.prog} [options] [-- COMMAND ...]"
    _look_options(parser, "--for")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds(0, 7 * 86400),
        default=120.0,
        help="give up after so long, 0 never [120]",
    )


def _wait(options, parser) -> int:
    from diagnostics.wait import become, wait

    _end_on_sigterm()
    look = wait(_looker(options, ANSWER), options.timeout, streams.complain)
    if not look.ready:
        streams.complain(f"gave up after {options.timeout:g} s")
        return look.exit_code
    if not parser.command:
        return 0
    code, reason = become(parser.command)
    streams.complain(reason)
    return code


def _watch_options(parser) -> None:
    from diagnostics.arguments import seconds
    from diagnostics.watch import INTERVAL, MIN_INTERVAL

    _look_options(parser, "--for")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=seconds(MIN_INTERVAL, 86400),
        default=INTERVAL,
        help=f"between looks [{INTERVAL:g}]",
    )


def _watch(options, parser) -> int:
    from diagnostics.watch import watch

    if sys.stdout is None:
        raise Unwritable("standard output is closed")
    _end_on_sigterm()
    watch(_looker(options, ANSWER), options.interval, lambda line: streams.write(f"{line}\n"))
    return 0


def _end_on_sigterm() -> None:
    """Without a handler SIGTERM does not end process 1 of a container, and `docker stop` would take 10 s."""

    def end(_number, _frame):
        raise Terminated

    signal.signal(signal.SIGTERM, end)


# explain, bundle


def _explain_options(parser) -> None:
    parser.add_argument(
        "code",
        metavar="CODE",
        nargs="?",
        default="list",
        help="like IBD303, 303 or its slug; without one, or with `list`, all of them",
    )


def _explain(options, parser) -> int:
    from diagnostics import report
    from diagnostics.findings import CATALOGUE

    if options.code == "list":
        streams.write(report.list_text())
        return 0
    wanted = options.code.lower().removeprefix("ibd")
    for code, entry in CATALOGUE.items():
        if wanted in (code.lower().removeprefix("ibd"), entry.slug):
            streams.write(report.explain_text(code))
            return 0
    raise Refused(f"no finding {options.code!r:.80}; `{NAME} explain list` names them all")


def _bundle_options(parser) -> None:
    from diagnostics.arguments import filled

    parser.add_argument("--into", metavar="FOLDER", type=filled, default=".", help="where the two files go [.]")


def _bundle(options, parser) -> int:
    try:
        from diagnostics import bundle
    except ImportError:
        raise Refused("bundle: made from an installation or a checkout only, not from a bundle") from None
    try:
        paths = bundle.write(options.into)
    except OSError as error:
        raise Refused(f"bundle: {error.filename}: {error.strerror}") from None
    except bundle.BundleError as error:
        raise Refused(f"bundle: {error}") from None
    streams.write("".join(f"{path}\n" for path in paths))
    return 0


# Command: what it is for, its options, what runs it.
COMMANDS = {
    "diagnose": ("all routes, where they fail and why; what runs without a COMMAND", _diagnose_options, _diagnose),
    "wait": ("return, or become COMMAND, as soon as the gateway can be used", _wait_options, _wait),
    "check": ("one line and an exit code, for a container's HEALTHCHECK", _check_options, _check),
    "watch": ("a line whenever the state of the gateway changes, until Ctrl-C", _watch_options, _watch),
    "explain": ("the page of a finding, or the list of all", _explain_options, _explain),
    "bundle": ("make the forms that need no installation: a zipapp and a single file", _bundle_options, _bundle),
}
DEFAULT = "diagnose"
