"""What the words of a command line and the environment mean: options, their values, and which of them wins."""

from __future__ import annotations

import argparse
import os

from diagnostics.cli import output
from diagnostics.cli.output import Refused
from diagnostics.evidence import Asked
from diagnostics.place import routes

MAX_CLIENT_ID = 2**31 - 1  # the API's int


class Parser(argparse.ArgumentParser):
    """argparse that neither exits nor writes by itself: it raises Refused, and Done after the help."""

    command: tuple[str, ...] = ()  # wait: what stands behind `--`

    def error(self, message: str):
        raise Refused(f"{message.removeprefix('argument ')} (see {self.prog} --help)")

    def exit(self, status: int = 0, message: str | None = None):
        raise Done

    def _print_message(self, message: str, file=None) -> None:
        output.write(message)


class Done(Exception):
    """All that was asked for was the help."""


def where(parser: Parser, *, several: bool) -> None:
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
    add("--port", metavar="N", help=f"for hosts given without one [IB_PORT, else {routes.DEFAULT_PORT}]")
    add("--client-id", metavar="N", help="for a session [IB_CLIENT_ID, else a high one that nobody uses]")


def seconds(low: float, high: float):
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


def filled(text: str) -> str:
    """Reads an option's value: a file's name. A script's unset variable gives an empty one, and must not go unseen."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r:.80}: a name was expected")
    return text


def places(options, environ=os.environ) -> tuple[tuple[routes.Target, ...], int]:
    """The targets and the port for hosts without one.

    What was typed wins over the environment, and a variable that does not count is not even read: a typing error in it
    is no reason to refuse a command that says all it needs. Raises Refused.
    """
    typed = [_read(routes.parse_target, text, "--target") for text in options.target]
    port = None if options.port is None else _read(routes.parse_port, options.port, "--port")
    targets = typed or _from(environ, "IB_HOST", routes.parse_target)
    port = port or _first_port(typed) or next(iter(_from(environ, "IB_PORT", routes.parse_port)), None)
    return tuple(targets), port or _first_port(targets) or routes.DEFAULT_PORT


def asked(options, targets, *, session: bool, timeout: float, environ=os.environ) -> Asked:
    """What the run is to find out. Raises Refused."""
    client_id = None if options.client_id is None else _read(_client_id, options.client_id, "--client-id")
    if client_id is None and session:
        client_id = next(iter(_from(environ, "IB_CLIENT_ID", _client_id)), None)
    return Asked(session, client_id, timeout, targets[0].origin if targets else "")


def _first_port(targets) -> int | None:
    return next((one.port for one in targets if one.port), None)


def _from(environ, name: str, read) -> list:
    text = environ.get(name, "").strip()
    return [_read(read, text, name)] if text else []


def _read(read, text: str, origin: str):
    try:
        return read(text, origin)
    except ValueError as error:
        raise Refused(str(error)) from None


def _client_id(text: str, origin: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_CLIENT_ID:
        return int(text)
    raise ValueError(f"{origin} {text!r:.80}: a number from 0 to {MAX_CLIENT_ID} was expected")
