"""The commands of `ib-diagnose`: the options of each, and what it runs.

Imports are inside the functions: `check` runs every few seconds in a container, and pays for nothing it does not use.
"""

from __future__ import annotations

import signal
import sys

from diagnostics.cli import output
from diagnostics.cli.output import NAME, Refused, Unwritable

# Seconds for an answer. ib-relay gives its dial five and then resets: an end that names its cause (IBD307), for a
# client that has the patience to hear it.
ANSWER = 6.0


class Terminated(BaseException):
    """SIGTERM came while waiting."""


# diagnose


def _diagnose_options(parser) -> None:
    from argparse import BooleanOptionalAction

    from diagnostics.cli.arguments import filled, seconds, where

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
    from diagnostics.rules.diagnose import diagnose
    from diagnostics.rules.diagnosis import exit_code

    _check_combination(options)
    evidence_sink = output.Sink(options.save, "--save") if options.save else None
    silent = options.save == "-" and options.output is None
    report_sink = None if silent else output.Sink(options.output, "--output")
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
    from diagnostics.cli.arguments import asked, places
    from diagnostics.probing.collect import collect
    from relay import __version__

    targets, port = places(options)
    wanted = asked(options, targets, session=options.session, timeout=options.timeout)
    log = output.read_text(options.gateway_log, "--gateway-log", tail=True) if options.gateway_log else None
    progress = output.tell if options.verbose or output.is_terminal(sys.stderr) else None
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
        return load(output.read_text(options.saved, "--from"))
    except EvidenceError as error:
        raise Refused(f"--from {options.saved}: {error}") from None


def _as_text(evidence, diagnosis, options) -> str:
    from diagnostics.report.text import text

    to_terminal = options.output in (None, "-")
    return text(
        evidence,
        diagnosis,
        width=output.width() if to_terminal else output.WIDTH,
        colour=to_terminal and output.colours(),
        verbose=options.verbose,
    )


def _as_json(evidence, diagnosis, options) -> str:
    from diagnostics.report.json_report import json_text

    return json_text(evidence, diagnosis, fail_on_warning=options.fail_on == "warning")


def _as_html(evidence, diagnosis, options) -> str:
    from diagnostics.report.html import html

    return html(evidence, diagnosis)


FORMATS = {"text": _as_text, "json": _as_json, "html": _as_html}


# check, wait, watch: one route


def _look_options(parser, flag: str) -> None:
    from diagnostics.cli.arguments import where

    where(parser, several=False)
    parser.add_argument(
        flag, dest="level", choices=["tcp", "hello", "session"], default="hello", help="how far it must work [hello]"
    )


def _looker(options, timeout: float):
    """A function that looks once, in at most the seconds it is given (and `timeout` per step)."""
    from diagnostics.cli.arguments import asked, places
    from diagnostics.looks import check

    if len(options.target) > 1:
        raise Refused("--target: one place is looked at, more were given")
    level = check.Level(options.level)
    targets, port = places(options)
    wanted = asked(options, targets, session=level is check.Level.SESSION, timeout=timeout)
    route = check.route_of(targets, port)
    return lambda limit=float("inf"): check.look(route, level, wanted, limit)


def _check_options(parser) -> None:
    from diagnostics.cli.arguments import seconds

    _look_options(parser, "--level")
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds(0.1, 600), default=5.0, help="for all of it [5]")


def _check(options, parser) -> int:
    if sys.stdout is None:
        raise Unwritable("standard output is closed")
    look = _looker(options, options.timeout)(options.timeout)
    output.write(f"{look.line}\n")
    return look.exit_code


def _wait_options(parser) -> None:
    from diagnostics.cli.arguments import seconds

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
    from diagnostics.looks.wait import become, wait

    _end_on_sigterm()
    look = wait(_looker(options, ANSWER), options.timeout, output.complain)
    if not look.ready:
        output.complain(f"gave up after {options.timeout:g} s")
        return look.exit_code
    if not parser.command:
        return 0
    code, reason = become(parser.command)
    output.complain(reason)
    return code


def _watch_options(parser) -> None:
    from diagnostics.cli.arguments import seconds
    from diagnostics.looks.watch import INTERVAL, MIN_INTERVAL

    _look_options(parser, "--for")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=seconds(MIN_INTERVAL, 86400),
        default=INTERVAL,
        help=f"between looks [{INTERVAL:g}]",
    )


def _watch(options, parser) -> int:
    from diagnostics.looks.watch import watch

    if sys.stdout is None:
        raise Unwritable("standard output is closed")
    _end_on_sigterm()
    watch(_looker(options, ANSWER), options.interval, lambda line: output.write(f"{line}\n"))
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
    from diagnostics.findings.catalogue import CATALOGUE
    from diagnostics.report.text import explain_text, list_text

    if options.code == "list":
        output.write(list_text())
        return 0
    wanted = options.code.lower().removeprefix("ibd")
    for code, entry in CATALOGUE.items():
        if wanted in (code.lower().removeprefix("ibd"), entry.slug):
            output.write(explain_text(code))
            return 0
    raise Refused(f"no finding {options.code!r:.80}; `{NAME} explain list` names them all")


def _bundle_options(parser) -> None:
    from diagnostics.cli.arguments import filled

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
    output.write("".join(f"{path}\n" for path in paths))
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
