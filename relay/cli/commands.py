"""The commands of `ib-relay`: what can be typed, and who does it; the rules live elsewhere.

Imports are inside the functions: `run` starts before the first session moves again, and pays for nothing it does not
use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

import click

from relay import __version__, terminal
from relay.cli.importing import importing
from relay.cli.service import service
from relay.cli.usage import Function, Group, Number
from relay.config.files import read_config
from relay.config.load import ConfigError, Loaded, PortMap, aligned, effective
from relay.logs.journal import level_prefix
from relay.terminal import EX_CONFIG, EX_UNAVAILABLE

if TYPE_CHECKING:
    from relay.entry.listen_address import BindError
    from relay.manager.activation import Activation
    from relay.practice.settings import Options, Practice


def _version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        terminal.write(f"{terminal.NAME}, version {__version__}\n")
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show it and exit.")
def commands() -> None:
    """A TCP relay for IB Gateway and TWS that knows the session it carries.

    New here: `ib-relay demo`. For a real gateway: `ib-relay run`.
    """


commands.add_command(service)


def configured(command: Function) -> Function:
    """The options that `run` and `check-config` share."""
    options = [
        click.option("--config", metavar="FILE", help="TOML file; see `ib-relay check-config`."),
        click.option("--listen", metavar="HOST:PORT", multiple=True, help="Where clients connect. [auto:4003]"),
        click.option("--upstream", metavar="HOST:PORT", help="Where the gateway listens. [127.0.0.1:4002]"),
        click.option("--protocol", metavar="ib|raw", help="ib understands the API session, raw only forwards. [ib]"),
        click.option(
            "--allow", metavar="CIDR", multiple=True, help="Who may connect. [auto: this host and its bridges]"
        ),
        click.option("--log-format", metavar="text|json", help="Lines for people or JSON objects. [text]"),
        click.option("--survive/--no-survive", default=None, help="Keep sessions with the service manager. [survive]"),
        click.option("--log-file", metavar="FILE", help="A log of its own, rotated. [-, standard output]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@commands.command(short_help="Relay connections until SIGTERM or Ctrl-C.")
@configured
@click.option("--rehearse", type=int, default=None, hidden=True)  # relay/survival/handover.py
def run(config: str | None, rehearse: int | None, **flags: object) -> None:
    """Relay connections until SIGTERM (drains) or Ctrl-C; SIGHUP reloads, SIGUSR2 upgrades in place."""
    _leave_tls_out()
    with importing():
        import asyncio
        import faulthandler

        from relay.entry.listen_address import BindError
        from relay.entry.listeners import NotGiven
        from relay.logs.log import Log
        from relay.logs.logfile import log_file_of
        from relay.manager.activation import ActivationError
        from relay.net.poller import new_event_loop
        from relay.run import run_relay
        from relay.survival import handover

    if rehearse is not None:
        _rehearse(rehearse, _load(config, flags))
        return
    faulthandler.enable(2)  # a watchdog's SIGABRT leaves the stack of the hang in the service's log
    try:
        loaded = read_config(config, os.environ, flags)
        handed = handover.take()
        log = Log(1, loaded.config.log_format, log_file_of(loaded.config))
        log.dropped = handed.dropped if handed is not None else 0
        activation = _handed_over()
    except (ConfigError, ActivationError) as error:
        _fail(str(error), EX_CONFIG)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run_relay(loaded, log, lambda: read_config(config, os.environ, flags), activation, handed))
    except NotGiven as error:
        _fail(str(error), EX_CONFIG)
    except BindError as error:
        _fail(_with_holders(error), EX_UNAVAILABLE)
    finally:
        log.close()


@commands.command(short_help="Make a running relay the program installed now, in place.")
@click.option("--pid", type=Number(int, 2), metavar="N", help="The relay's process. [the only one there is]")
def upgrade(pid: int | None) -> None:
    """Make a running relay the program that is installed now, in place: its sessions do not notice.

    It rehearses first: a program that cannot start is refused, and the old one goes on. The relay of a service manager
    is upgraded by `ib-relay service upgrade`.
    """
    from relay.survival import upgrade as work

    say = terminal.Teller()
    try:
        work.upgrade(pid, say)
    except work.Failed as error:
        _fail(str(error), EX_UNAVAILABLE)
    say.check()


@commands.command("check-config", short_help="Check the configuration, show every value's origin.")
@configured
def check_config(config: str | None, **flags: object) -> None:
    """Validate the configuration; print the value of every key and where it came from."""
    loaded = _load(config, flags)
    terminal.write("".join(f"{line}\n" for line in aligned(effective(loaded))))
    for warning in loaded.warnings:
        terminal.tell(f"warning: {warning}")


@commands.command(short_help="A gateway with made-up prices and, on request, a fault.")
@click.option("--listen", default="127.0.0.1:4002", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option(
    "--behaviour",
    default="normal",
    show_default=True,
    metavar="NAME[=VALUE]",
    help="The fault to play; + between several.",
)
@click.option("--server-version", default=None, type=Number(int, 0), metavar="N", help="The API version to announce.")
@click.option("--list", "list_them", is_flag=True, help="List the behaviours and exit.")
def practice(listen: str, behaviour: str, server_version: int | None, list_them: bool) -> None:
    """A practice gateway: speaks the IB API with made-up prices and, on request, with a fault.

    It never trades: orders are refused.
    """
    if list_them:
        _list_behaviours()
        return
    _leave_tls_out()
    import asyncio

    host, port = _listen_address(listen)
    settings = _practice_settings(behaviour, server_version)
    try:
        with asyncio.Runner() as runner:
            runner.run(_practise(settings, host, port))
    except OSError as error:
        _fail(f"--listen: {_why_not(host, port, error)}", EX_UNAVAILABLE)
    except KeyboardInterrupt:
        pass


async def _practise(settings: Practice, host: str, port: int) -> None:
    """Until Ctrl-C, or until a line cannot be written: that is told here, not to the session that had it to say."""
    import asyncio

    from relay.practice import PracticeGateway

    unwritable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def say(line: str) -> None:
        try:
            terminal.write(f"{line}\n")
        except terminal.Unwritable as error:
            if not unwritable.done():
                unwritable.set_exception(error)

    gateway = PracticeGateway(settings, log=say)
    try:
        await gateway.start(host, port)
        say("it never trades: orders are refused; Ctrl-C ends it")
        await unwritable
    finally:
        await gateway.close()


def _why_not(host: str, port: int, error: OSError) -> str:
    """Why it cannot listen there, in the words of `run`: they are had by trying again."""
    from relay.config.addresses import Listen
    from relay.entry.listen_address import BindError, listen_addresses, look_up
    from relay.entry.listeners import bind_or_explain

    port_map, listen = PortMap("practice"), Listen(host, port)
    try:
        for place in listen_addresses(listen, (), look_up([listen])):
            if (listener := bind_or_explain(place, port_map)) is not None:
                listener.sock.close()
    except BindError as explained:
        return _with_holders(explained).removeprefix(f"map {port_map.name}: ")
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


@commands.command(short_help="See it work: practice gateway, relay, client, all in one.")
@click.option("--behaviour", default="normal", show_default=True, metavar="NAME[=VALUE]", help="The fault to play.")
@click.option(
    "--seconds",
    default=4.0,
    show_default=True,
    type=Number(float, 0.5, 3600),
    metavar="SECONDS",
    help="To show ticks for.",
)
def demo(behaviour: str, seconds: float) -> None:
    """Everything in one go: a practice gateway, the relay before it, and a client session through both."""
    _leave_tls_out()
    import asyncio

    from relay.cli.demo import run_demo, typed
    from relay.entry.listen_address import BindError
    from relay.net.poller import new_event_loop

    settings = _practice_settings(behaviour, None)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run_demo(settings, seconds, terminal.Output(), typed(sys.argv[0], sys.orig_argv)))
    except (OSError, BindError) as error:
        _fail(f"the demo needs 127.0.0.1: {getattr(error, 'strerror', None) or error}", EX_UNAVAILABLE)


def _rehearse(document: int, loaded: Loaded) -> None:
    """Could this program go on with what that document says? Says so, or why not."""
    from relay.entry.listen_address import BindError
    from relay.survival.state import InvalidState
    from relay.survival.survival import rehearse

    try:
        terminal.write(f"{rehearse(document, loaded)}\n")
    except (InvalidState, BindError) as error:
        _fail(str(error), EX_UNAVAILABLE)


def _handed_over() -> Activation:
    """The sockets a service manager has bound for this process."""
    from relay.manager import launchd, systemd
    from relay.manager.activation import Activation

    return Activation(systemd.take_listening(), launchd.activate, guess=launchd.started_by_launchd())


def _load(config: str | None, flags: Mapping[str, object]) -> Loaded:
    try:
        return read_config(config, os.environ, flags)
    except ConfigError as error:
        _fail(str(error), EX_CONFIG)


def _leave_tls_out() -> None:
    """Asyncio imports ssl if there is one and does without if not; the relay has no TLS and saves 4 MiB and 20 ms."""
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]  # None: "there is no such module"


def _list_behaviours() -> None:
    import textwrap

    from relay.practice import BEHAVIOURS

    width = max(len(behaviour.usage) for behaviour in BEHAVIOURS.values())
    found = []
    for behaviour in BEHAVIOURS.values():
        first, *more = textwrap.wrap(behaviour.summary, 78 - width)
        found += [f"{behaviour.usage:<{width}}  {first}", *(" " * (width + 2) + line for line in more)]
    terminal.write("".join(f"{line}\n" for line in found))


def _practice_settings(behaviour: str, server_version: int | None) -> Practice:
    from relay.practice import Practice

    version: Options = {} if server_version is None else {"server_version": server_version}
    try:
        return Practice.named(behaviour, **version)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _listen_address(text: str) -> tuple[str, int]:
    from relay.config.addresses import InvalidValue, read_listen

    allowed = "allowed: HOST:PORT, PORT from 1 to 65535, 0.0.0.0 for all interfaces"
    try:
        place = read_listen(text)
    except InvalidValue as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise click.UsageError(f"--listen: seen {text!r}; {allowed}{hint}") from None
    if place.port == 0 or place.host == "auto":
        raise click.UsageError(f"--listen: seen {text!r}; {allowed}")
    return place.host, place.port


def _with_holders(error: BindError) -> str:
    from relay.cli.holder import holders_of

    held = holders_of(error.taken) if error.taken is not None else ""
    return f"{error}; {held}" if held else str(error)


def _fail(message: str, code: int) -> NoReturn:
    terminal.complain(message, level_prefix("ERROR", 2) + terminal.NAME)
    sys.exit(code)
