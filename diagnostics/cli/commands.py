"""The commands of `ib-diagnose`, how their words are read, and the two small ones of them: explain and bundle.

Imports are inside the functions: `check` runs every few seconds in a container, and pays for nothing it does not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diagnostics.cli import diagnosing, looking, output
from diagnostics.cli.output import NAME, CommandError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from diagnostics.cli.arguments import Parser


class Subcommand(NamedTuple):
    """One command: what it is for, what adds its options, and what runs it and returns the exit code."""

    summary: str
    add_options: Callable[[Parser], None]
    run: Callable[[Namespace], int]


def _explain_options(parser: Parser) -> None:
    parser.add_argument(
        "code",
        metavar="CODE",
        nargs="?",
        default="list",
        help="a finding like IBD303, 303 or its slug, or an error code of IB like 326; without, or with `list`, all",
    )


def _explain(options: Namespace) -> int:
    from diagnostics.findings.catalogue import CATALOGUE
    from diagnostics.report.explain import error_code_text, list_text, page_text
    from relay.wire.codes import CODES

    if options.code == "list":
        output.write(list_text())
        return 0
    wanted = options.code.lower().removeprefix("ibd")
    names = ((entry, (entry.code.lower().removeprefix("ibd"), entry.slug)) for entry in CATALOGUE.values())
    pages = [page_text(entry) for entry, known in names if wanted in known]
    number = _number(options.code)
    if number in CODES:  # some numbers are both: IBD502, and IB's error code 502
        pages.append(error_code_text(number))
    if not pages:
        raise CommandError(_not_known(options.code, number))
    output.write("\n".join(pages))
    return 0


def _number(text: str) -> int:
    """The error code that was typed; -1 if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else -1


def _not_known(text: str, number: int) -> str:
    from diagnostics.report.explain import unknown_text

    if number >= 0:
        return f"{unknown_text(number)}; `{NAME} explain list` names those that are known"
    expected = f"IBD303, its slug or an error code like 326 was expected; `{NAME} explain list` names them all"
    return f"no finding or error code {text!r:.80} is known here; {expected}"


def _bundle_options(parser: Parser) -> None:
    from diagnostics.cli.arguments import file_name

    parser.add_argument("--into", metavar="FOLDER", type=file_name, default=".", help="where the two files go [.]")


def _bundle(options: Namespace) -> int:
    try:
        from diagnostics import bundle
    except ImportError:
        raise CommandError("bundle: made from an installation or a checkout only, not from a bundle") from None
    try:
        paths = bundle.write(options.into)
    except OSError as error:
        raise CommandError(f"bundle: {error.filename}: {error.strerror}") from None
    except bundle.BundleError as error:
        raise CommandError(f"bundle: {error}") from None
    output.write("".join(f"{path}\n" for path in paths))
    return 0


COMMANDS = {
    "diagnose": Subcommand(
        "all routes, where they fail and why; what runs without a COMMAND", diagnosing.add_options, diagnosing.run
    ),
    "wait": Subcommand(
        "return, or become COMMAND, as soon as the gateway can be used", looking.wait_options, looking.wait
    ),
    "check": Subcommand(
        "one line and an exit code, for a container's HEALTHCHECK", looking.check_options, looking.check
    ),
    "watch": Subcommand(
        "a line whenever the state of the gateway changes, until Ctrl-C", looking.watch_options, looking.watch
    ),
    "explain": Subcommand("the page of a finding or an error code, or the list of all", _explain_options, _explain),
    "bundle": Subcommand(
        "make the forms that need no installation: a zipapp and a single file", _bundle_options, _bundle
    ),
}
DEFAULT = "diagnose"


def parse(arguments: list[str]) -> tuple[Subcommand, Namespace]:
    """The command that is meant, and its options; nothing is run. Raises CommandError, and HelpWritten after help."""
    first = arguments[0] if arguments else ""
    if first and not first.startswith("-") and first not in COMMANDS:
        raise CommandError(f"no command {first!r}; there are {', '.join(COMMANDS)}")
    name, rest = (first, arguments[1:]) if first in COMMANDS else (DEFAULT, arguments)
    follows: list[str] = []
    if name == "wait" and "--" in rest:
        end = rest.index("--")
        rest, follows = rest[:end], rest[end + 1 :]
    options = parser_of(name).parse_args(rest)
    options.follows = follows
    return COMMANDS[name], options


def parser_of(name: str) -> Parser:
    """What reads the options of this command."""
    from diagnostics.cli.arguments import Parser

    command = COMMANDS[name]
    parser = Parser(prog=f"{NAME} {name}", description=command.summary, allow_abbrev=False)
    command.add_options(parser)
    return parser
