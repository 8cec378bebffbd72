"""How a command line is read: a slip is one line that names what was seen and what is allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import click

from relay import terminal
from relay.config.load import nearest

EX_USAGE = 2  # click's own

Function = TypeVar("Function", bound=Callable[..., None])  # what becomes a command


class _Interrupted(BaseException):
    """Ctrl-C, in a form that click has no words for."""


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise _Interrupted from None


def run(command: click.Command, args: list[str] | None, prog_name: str) -> int:
    """Read the words, do what they say, and return the exit code. Commands may also leave by SystemExit."""
    try:
        code = command.main(args, prog_name, standalone_mode=False)
    except (_Interrupted, click.Abort):
        raise KeyboardInterrupt from None
    except click.UsageError as error:
        terminal.complain(_message(error))
        return EX_USAGE
    return code if isinstance(code, int) else 0


def _message(error: click.UsageError) -> str:
    context = error.ctx
    path = context.command_path if context is not None else terminal.NAME
    return f"{_slip(error, context)} (see `{path} --help`)"


def _slip(error: click.UsageError, context: click.Context | None) -> str:
    params = context.command.get_params(context) if context is not None else []
    options = [param for param in params if isinstance(param, click.Option)]
    if isinstance(error, click.NoSuchOption):
        others = [option for option in options if not option.hidden and "--help" not in option.opts]
        names = [*(name for option in others for name in (*option.opts, *option.secondary_opts)), "--help"]
        meant = nearest(error.option_name, names)
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
        return f"no option {error.option_name!r}; {hint}"
    if isinstance(error, click.BadOptionUsage):
        option = next(
            (option for option in options if error.option_name in (*option.opts, *option.secondary_opts)), None
        )
        if option is not None and option.is_flag:
            return f"{error.option_name}: seen with a value; allowed: {error.option_name} alone"
        if option is not None:
            return f"{error.option_name}: seen without a value; allowed: {error.option_name} {option.metavar}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{error.param.opts[0]}: {error.message}"
    return error.message


@contextlib.contextmanager
def _at(context: click.Context) -> Iterator[None]:
    """What click's parser finds wrong does not say where."""
    try:
        yield
    except click.UsageError as error:
        error.ctx = error.ctx or context
        raise


class Command(click.Command):
    """A command whose help goes through terminal.py, and that has words for what is too much."""

    allow_extra_args = True  # so that it is us who finds them

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _at(ctx):
            rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            names = [param.human_readable_name for param in self.params if isinstance(param, click.Argument)]
            allowed = f"options and one {names[0]}" if names else "options only"
            ctx.fail(f"seen {_clipped(ctx.args[0])}; allowed: {allowed}")
        return rest

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return _writing(super().get_help_option(ctx))


class Group(click.Group):
    """A command with commands, which are named where there is no such one; alone it shows its help, as a slip."""

    command_class = Command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        with _uninterrupted():
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            terminal.tell(ctx.get_help())
            ctx.exit(EX_USAGE)
        with _at(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            ctx.fail(f"no command {_clipped(args[0])}; there are {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        with _uninterrupted():
            return super().invoke(ctx)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return _writing(super().get_help_option(ctx))


Group.group_class = Group


def _writing(option: click.Option | None) -> click.Option | None:
    """The help option; click would write by itself, and end in a traceback where it cannot."""

    def show(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
        if asked and not ctx.resilient_parsing:
            terminal.write(f"{ctx.get_help()}\n")
            ctx.exit()

    if option is not None:
        option.callback = show
    return option


class Number(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases of click than we ask for
    """A number within bounds."""

    def __init__(self, kind: type[int] | type[float], low: float, high: float | None = None) -> None:
        self._kind, self._low, self._high = kind, low, high
        self.name = "a whole number" if kind is int else "a number"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number: float | None = self._kind(value)
        except (ValueError, OverflowError):
            number = None
        if number is None or not self._low <= number <= (number if self._high is None else self._high):
            to = "on" if self._high is None else f"to {self._high:g}"
            self.fail(f"seen {_clipped(value)}; allowed: {self.name} from {self._low:g} {to}", param, ctx)
        return number


class OneOf(click.ParamType):  # type: ignore[type-arg]  # as above
    """A choice between fixed words."""

    name = "word"

    def __init__(self, *choices: str) -> None:
        self._choices = choices

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self._choices:
            self.fail(f"seen {_clipped(value)}; allowed: {' or '.join(self._choices)}", param, ctx)
        return value


def _clipped(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...'"
