"""`ib-diagnose check`, `wait` and `watch`: their options, and one route looked at once, or again and again."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from diagnostics.cli import output
from diagnostics.cli.diagnosing import ANSWER
from diagnostics.cli.output import CommandError

if TYPE_CHECKING:
    from argparse import Namespace
    from types import FrameType

    from diagnostics.cli.arguments import Parser
    from diagnostics.evidence import RepairedSetting
    from diagnostics.looks.wait import LookOnce


class Terminated(BaseException):
    """SIGTERM came while waiting."""


def check_options(parser: Parser) -> None:
    """The options of `check`."""
    from diagnostics.cli.arguments import seconds

    _look_options(parser)
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds(0.1, 600), default=ANSWER, help=f"for all of it [{ANSWER:g}]"
    )


def check(options: Namespace) -> int:
    """One look, one line."""
    if sys.stdout is None:
        raise CommandError("standard output is closed")
    look = _looker(options, options.timeout)(options.timeout)
    output.write(f"{look.line}\n")
    return look.exit_code


def wait_options(parser: Parser) -> None:
    """The options of `wait`."""
    from diagnostics.cli.arguments import seconds

    parser.usage = f"{parser.prog} [options] [-- COMMAND ...]"
    _look_options(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds(0, 7 * 86400),
        default=120.0,
        help="give up after so long, 0 never [120]",
    )


def wait(options: Namespace) -> int:
    """Look until it is good, then become the command, if there is one."""
    from diagnostics.looks.wait import become, wait

    _end_on_sigterm()
    look = wait(_looker(options, ANSWER), options.timeout, output.complain)
    if not look.ready:
        output.complain(f"gave up after {options.timeout:g} s")
        return look.exit_code
    if not options.follows:
        return 0
    code, reason = become(options.follows)
    output.complain(reason)
    return code


def watch_options(parser: Parser) -> None:
    """The options of `watch`."""
    from diagnostics.cli.arguments import seconds
    from diagnostics.looks.watch import INTERVAL, MIN_INTERVAL

    _look_options(parser)
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=seconds(MIN_INTERVAL, 86400),
        default=INTERVAL,
        help=f"between looks [{INTERVAL:g}]",
    )


def watch(options: Namespace) -> NoReturn:
    """Look for ever, and tell what changes."""
    from diagnostics.looks.watch import watch

    if sys.stdout is None:
        raise CommandError("standard output is closed")
    _end_on_sigterm()
    look_once = _looker(options, ANSWER)
    watch(lambda: look_once(float("inf")), options.interval, lambda line: output.write(f"{line}\n"))


def _look_options(parser: Parser) -> None:
    from argparse import SUPPRESS

    from diagnostics.cli.arguments import add_target_options

    add_target_options(parser, several=False)
    goals = ["tcp", "hello", "session", "online"]
    parser.add_argument(
        "--for",
        dest="goal",
        choices=goals,
        default="hello",
        help="how far it must work: tcp, hello, session, online [hello]; session and online log in for a moment",
    )
    parser.add_argument("--level", dest="goal", choices=goals, default="hello", help=SUPPRESS)  # as it was called


def _looker(options: Namespace, timeout: float) -> LookOnce:
    """A function that looks once, in at most the seconds it is given (and `timeout` per step)."""
    from diagnostics.cli.arguments import read_asked, read_targets
    from diagnostics.looks.check import Goal, Look, look, route_of

    if len(options.target) > 1:
        raise CommandError("--target: one place is looked at, more were given")
    goal = Goal(options.goal)
    repairs: list[RepairedSetting] = []
    targets, port = read_targets(options, repairs=repairs)
    session = goal in (Goal.SESSION, Goal.ONLINE)
    # The id in IB_CLIENT_ID belongs to the program this one serves: while we had it, that could not log in.
    asked = read_asked(options, targets, session=session, timeout=timeout, environ={}, repairs=repairs)
    for one in asked.repaired:
        output.complain(f"{one.origin} {one.value} has {', '.join(one.wrong)}: {one.repaired} was read; set it to that")
    route = route_of(targets, port)

    def look_once(limit: float) -> Look:
        return look(route, goal, asked, limit)

    return look_once


def _end_on_sigterm() -> None:
    """Without a handler SIGTERM does not end process 1 of a container, and `docker stop` would take 10 s."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
