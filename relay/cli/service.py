"""`ib-relay service ...`: installs the relay with systemd or launchd, looks at it, and removes it; no rules in here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from relay import terminal
from relay.cli.usage import Function, Group, Number, OneOf

if TYPE_CHECKING:
    from types import ModuleType

    from relay.service.render import Scope

Result = TypeVar("Result")


@click.group(cls=Group, short_help="Install the relay as a background service; its status.")
def service() -> None:
    """The background service: install, uninstall, status, print, restart, upgrade.

    \b
    --system  starts with the machine, locked down, needs root [default for root]
    --user    belongs to you                                   [default otherwise]
    """  # noqa: D301 (click: a paragraph after this character stays as it is)


def scoped(command: Function) -> Function:
    """The options that every one of them has."""
    command = click.option("--system", "scope", flag_value="system", help="The service of the machine.")(command)
    return click.option("--user", "scope", flag_value="user", help="A service of yours.")(command)


dry = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


def placed(command: Function) -> Function:
    """Where the relay listens and what it dials, when there is no configuration yet."""
    command = click.option("--upstream", metavar="HOST:PORT", help="Where the gateway listens. [127.0.0.1:4002]")(
        command
    )
    return click.option("--listen", metavar="HOST:PORT", multiple=True, help="Where clients connect. [auto:4003]")(
        command
    )


@service.command()
@scoped
@placed
@dry
def install(scope: str | None, listen: tuple[str, ...], upstream: str | None, dry_run: bool) -> None:
    """Install, start, and prove that the port answers. Running it again brings everything up to date."""
    _act(lambda work, say: work.install(_scope(scope), listen, upstream, say, dry_run))


@service.command()
@scoped
@dry
@click.option("--purge", is_flag=True, help="Remove the configuration, too.")
def uninstall(scope: str | None, dry_run: bool, purge: bool) -> None:
    """Stop and remove everything but the configuration."""
    _act(lambda work, say: work.uninstall(_scope(scope), purge, say, dry_run))


@service.command()
@scoped
@dry
def restart(scope: str | None, dry_run: bool) -> None:
    """Restart, and prove that the port answers."""
    _act(lambda work, say: work.restart(_scope(scope), say, dry_run))


@service.command(short_help="Replace the installed program by this one, if it serves.")
@scoped
@dry
def upgrade(scope: str | None, dry_run: bool) -> None:
    """Rehearse this program on the side, put it in place of the installed one, and prove it there.

    The old one and its units come back whatever ends this: a failed proof, Ctrl-C. Exit code 0 it serves, 69 refused or
    undone, 70 the way back failed, 77 needs root, 78 the configuration is wrong, 129, 130, 143 undone after a signal.
    """
    _act(lambda work, say: work.upgrade(_scope(scope), say, dry_run))


@service.command()
@scoped
def status(scope: str | None) -> None:
    """State, drift, filter, logs. Exit code 0 running, 3 not running, 4 not installed, 78 wrong configuration."""
    from relay.service import report as look

    seen = _do(lambda: look.status(_scope(scope)))
    width = max(len(what) for what, _ in seen.rows)
    before, lines = "", []
    for what, text in seen.rows:
        lines.append(f"{'' if what == before else what:<{width}}  {text}\n")
        before = what
    terminal.write("".join(lines))
    sys.exit(seen.code)


@service.command("print", short_help="The exact bytes that install would write.")
@scoped
@placed
@click.option(
    "--manager", type=OneOf("systemd", "launchd"), metavar="systemd|launchd", help="[the one of this machine]"
)
@click.option("--systemd", "version", type=Number(int, 252), metavar="VERSION", help="[the one of this machine]")
@click.argument("file", required=False)
def print_(
    scope: str | None,
    listen: tuple[str, ...],
    upstream: str | None,
    manager: str | None,
    version: int | None,
    file: str | None,
) -> None:
    """The exact bytes that install would write: all files, or only FILE."""
    from relay.service.render import Manager
    from relay.service.wanted import wanted

    chosen = Manager(manager) if manager else None
    plan = _do(lambda: wanted(_scope(scope), listen, upstream, chosen, version))
    if file is not None:
        if file not in plan.files:
            raise click.UsageError(f"FILE: seen {file!r}; allowed: {', '.join(plan.files)}")
        terminal.write_document(plan.files[file])
        return
    head = "# {}\n" if len(plan.files) > 1 else ""
    terminal.write_document("".join(head.format(plan.where.units / name) + text for name, text in plan.files.items()))


def _scope(given: str | None) -> Scope:
    from relay.service.render import Scope

    return Scope(given) if given else (Scope.SYSTEM if os.geteuid() == 0 else Scope.USER)


def _act(work: Callable[[ModuleType, terminal.Teller], None]) -> None:
    """Work that changes the machine: it is not left half done because its lines cannot be written."""
    import zlib

    try:
        from relay.service import install
    except (ImportError, SyntaxError, EOFError, ValueError, zlib.error) as error:  # of a file that was damaged
        where = f"{error.filename}, line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        terminal.complain(f"nothing was changed: this program is damaged: {where}{error}")
        sys.exit(terminal.EX_UNAVAILABLE)
    say = terminal.Teller()
    _do(lambda: work(install, say))
    say.check()


def _do(work: Callable[[], Result]) -> Result:
    from relay.service.definition import Refusal

    try:
        return work()
    except Refusal as refusal:
        terminal.tell(f"{terminal.NAME}: {refusal}")  # some have several lines: what the manager said
        sys.exit(refusal.code)
    except PermissionError as error:
        terminal.tell(f"{terminal.NAME}: {error.filename}: permission denied (is HOME yours?)")
        sys.exit(terminal.EX_UNAVAILABLE)
