"""`ib-diagnose diagnose`, which also runs without a command: a run, or one of the past, and the report on it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from diagnostics.cli import output
from diagnostics.cli.output import CommandError
from relay import terminal

if TYPE_CHECKING:
    from argparse import Namespace

    from diagnostics.cli.arguments import Parser
    from diagnostics.evidence import Evidence, RepairedSetting
    from diagnostics.rules.diagnosis import Diagnosis

# Seconds for an answer. ib-relay gives its dial five and then resets: an end that names its cause (IBD307), for a
# client that has the patience to hear it.
ANSWER = 6.0


def add_options(parser: Parser) -> None:
    """The options of `diagnose`."""
    from argparse import BooleanOptionalAction

    from diagnostics.cli.arguments import add_target_options, file_name, seconds

    add_target_options(parser, several=True)
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
    add("--output", metavar="FILE", type=file_name, help="instead of standard output")
    saved = "the evidence as JSON; - for standard output, and no report there then"
    add("--save", metavar="FILE", type=file_name, help=saved)
    saved = "report on saved evidence, without a network; - for standard input"
    add("--from", metavar="FILE", dest="saved", type=file_name, help=saved)
    log = "a log of the gateway's container, for causes only it knows; - as above"
    add("--gateway-log", metavar="FILE", type=file_name, help=log)
    add("--fail-on", choices=["warning"], help="exit 5 when it works and there are warnings")
    add("-v", "--verbose", action="store_true", help="facts about this place, and progress")


def run(options: Namespace) -> int:
    """Look or load, diagnose, report."""
    from diagnostics.rules.diagnose import diagnose
    from diagnostics.rules.diagnosis import exit_code

    _check_combination(options)
    evidence_sink = output.Sink(options.save, "--save") if options.save else None
    without_report = options.save == "-" and options.output is None
    report_sink = None if without_report else output.Sink(options.output, "--output")
    try:
        log = output.read_bytes(options.gateway_log, "--gateway-log", tail=True) if options.gateway_log else None
        evidence = _loaded(options, log) if options.saved else _collected(options, log)
        if evidence_sink:
            from diagnostics.saved_evidence import dump

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


def _check_combination(options: Namespace) -> None:
    about_live = ("target", "port", "client_versions", "client_id", "every_route")
    live = [name for name in about_live if getattr(options, name) not in (None, False, [])]
    if options.saved and live:
        raise CommandError(f"--from reports on a run of the past: --{live[0].replace('_', '-')} has no meaning there")
    if options.saved == options.gateway_log == "-":
        raise CommandError("--from and --gateway-log both want standard input")
    if options.save and options.save != "-" and options.save == options.output:
        raise CommandError(f"--save and --output both name {options.save}")
    if options.save == options.output == "-":
        raise CommandError("--save and --output both want standard output")


def _collected(options: Namespace, log: bytes | str | None) -> Evidence:
    from diagnostics.cli.arguments import read_asked, read_targets
    from diagnostics.probing.collect import collect
    from relay import __version__

    repairs: list[RepairedSetting] = []
    targets, port = read_targets(options, repairs=repairs)
    asked = read_asked(options, targets, session=options.session, timeout=options.timeout, repairs=repairs)
    progress = terminal.tell if options.verbose or output.is_terminal(sys.stderr) else None
    return collect(
        targets,
        port,
        asked,
        every_route=options.every_route,
        progress=progress,
        gateway_log=log,
        tool_version=__version__,
    )


def _loaded(options: Namespace, log: bytes | str | None) -> Evidence:
    from diagnostics.saved_evidence import EvidenceError, load

    try:
        evidence = load(output.read_text(options.saved, "--from"))
    except EvidenceError as error:
        raise CommandError(f"--from {options.saved}: {error}") from None
    if log is None:
        return evidence
    from diagnostics.probing.collect import with_log

    return with_log(evidence, log)


def _as_text(evidence: Evidence, diagnosis: Diagnosis, options: Namespace) -> str:
    from diagnostics.report.text import text_report

    to_terminal = options.output in (None, "-")
    return text_report(
        evidence,
        diagnosis,
        width=output.width() if to_terminal else terminal.WIDTH,
        colour=to_terminal and output.has_colours(),
        verbose=options.verbose,
    )


def _as_json(evidence: Evidence, diagnosis: Diagnosis, options: Namespace) -> str:
    from diagnostics.report.json_report import json_report

    return json_report(evidence, diagnosis, fail_on_warning=options.fail_on == "warning")


def _as_html(evidence: Evidence, diagnosis: Diagnosis, options: Namespace) -> str:
    from diagnostics.report.html import html_report

    return html_report(evidence, diagnosis)


FORMATS = {"text": _as_text, "json": _as_json, "html": _as_html}
