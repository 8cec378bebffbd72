"""What the options of a command line and the environment mean: their values, and which of them wins."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, TypeVar

from diagnostics.cli import output
from diagnostics.cli.output import CommandError
from diagnostics.evidence import Asked, RepairedSetting
from diagnostics.place.addresses import DEFAULT_PORT
from diagnostics.place.targets import ProbeTarget, parse_port, parse_target, quoted
from relay.repair import repaired
from relay.wire.versions import NEWEST, V100

MAX_CLIENT_ID = 2**31 - 1  # the API's int

Value = TypeVar("Value")


class Parser(argparse.ArgumentParser):
    """argparse that neither exits nor writes by itself: it raises CommandError, and HelpWritten after the help."""

    def error(self, message: str) -> NoReturn:
        """Raises CommandError with the message and where to read more."""
        raise CommandError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raises HelpWritten: argparse calls this after its help only."""
        raise HelpWritten

    def _print_message(self, message: str, file: object = None) -> None:
        output.write(message)


class HelpWritten(Exception):
    """All that was asked for was the help."""


def add_target_options(parser: Parser, *, several: bool) -> None:
    """The options that say where the gateway is and as whom to speak to it."""
    many = "; can be given again" if several else ""
    add = parser.add_argument
    add(
        "--target",
        metavar="HOST[:PORT]",
        action="append",
        default=[],
        help=f"where the gateway or the relay is expected{many} [IB_HOST]",
    )
    add("--port", metavar="N", help=f"for hosts given without one [IB_PORT, else {DEFAULT_PORT}]")
    add(
        "--client-versions",
        metavar="MIN..MAX",
        type=client_versions,
        help="server versions to ask for, as a client does, e.g. 157..178 for ib_async [100..176]",
    )
    given = "IB_CLIENT_ID, else " if several else ""
    add("--client-id", metavar="N", help=f"for a session [{given}a high one that nobody uses]")


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Reads an option's value: seconds between these."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:  # NaN is on neither side
            raise argparse.ArgumentTypeError(f"{text!r:.80}: {low:g} to {high:g} seconds were expected")
        return number

    return read


def client_versions(text: str) -> tuple[int, int]:
    """Reads an option's value: the range of server versions in a client's hello."""
    low, sign, high = text.partition("..")
    numbers = [int(part) for part in (low, high) if part.isascii() and part.isdigit() and len(part) <= 4]
    if not sign or len(numbers) != 2 or not V100 <= numbers[0] <= numbers[1] <= NEWEST:
        raise argparse.ArgumentTypeError(f"{text!r:.80}: MIN..MAX from {V100} to {NEWEST} was expected")
    return numbers[0], numbers[1]


def file_name(text: str) -> str:
    """Reads an option's value: a file's name. A script's unset variable gives an empty one, and must not go unseen."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r:.80}: a name was expected")
    return text


def read_targets(
    options: argparse.Namespace,
    environ: Mapping[str, str] = os.environ,
    repairs: list[RepairedSetting] | None = None,
) -> tuple[tuple[ProbeTarget, ...], int]:
    """The targets and the port for hosts without one; `repairs` is given the values that had to be repaired.

    What was typed wins over the environment, and a variable that does not count is not even read: a typing error in it
    is no reason to refuse a command that says all it needs. Raises CommandError.
    """
    repairs = [] if repairs is None else repairs
    typed = [_read(parse_target, text, "--target", repairs) for text in options.target]
    port = None if options.port is None else _read(parse_port, options.port, "--port", repairs)
    targets = typed or _of_variable(environ, "IB_HOST", parse_target, repairs)
    port = port or _first_port(typed) or next(iter(_of_variable(environ, "IB_PORT", parse_port, repairs)), None)
    return tuple(targets), port or _first_port(targets) or DEFAULT_PORT


def read_asked(
    options: argparse.Namespace,
    targets: Sequence[ProbeTarget],
    *,
    session: bool,
    timeout: float,
    environ: Mapping[str, str] = os.environ,
    repairs: Sequence[RepairedSetting] = (),
) -> Asked:
    """What the run is to find out. Raises CommandError."""
    found = list(repairs)
    client_id = None if options.client_id is None else _read(_parse_client_id, options.client_id, "--client-id", found)
    if client_id is None and session:
        client_id = next(iter(_of_variable(environ, "IB_CLIENT_ID", _parse_client_id, found)), None)
    asked = Asked(session, client_id, timeout, targets[0].origin if targets else "")
    asked = replace(asked, repaired=tuple(found))
    if options.client_versions is None:
        return asked
    return replace(asked, min_version=options.client_versions[0], max_version=options.client_versions[1])


def _first_port(targets: Sequence[ProbeTarget]) -> int | None:
    return next((target.port for target in targets if target.port), None)


def _of_variable(
    environ: Mapping[str, str], name: str, parse: Callable[[str, str], Value], repairs: list[RepairedSetting]
) -> list[Value]:
    """The value of a variable, in a list that is empty where it is not set."""
    text = environ.get(name, "")
    return [_read(parse, text, name, repairs)] if text.strip() else []


def _read(parse: Callable[[str, str], Value], text: str, origin: str, repairs: list[RepairedSetting]) -> Value:
    """The value, repaired if that is needed and makes it readable; else the complaint is about what was given."""
    better = repaired(text, only_port=parse is parse_port)
    try:
        value = parse(better.text, origin)
    except ValueError:
        try:
            return parse(text, origin)
        except ValueError as error:
            raise CommandError(str(error)) from None
    if better.wrong:
        repairs.append(RepairedSetting(origin, quoted(text), better.wrong, better.text))
    return value


def _parse_client_id(text: str, origin: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_CLIENT_ID:
        return int(text)
    raise ValueError(f"{origin} {text!r:.80}: a number from 0 to {MAX_CLIENT_ID} was expected")
