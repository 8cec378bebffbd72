"""The `ib-relay` command: arguments in, exit code out; the rules live elsewhere."""

from __future__ import annotations

import os
import sys
import textwrap

import click

from relay import __version__
from relay.cli_service import service
from relay.config import ConfigError, Loaded, aligned, effective, read_config

EX_USAGE = 2  # click's own
EX_UNAVAILABLE = 69  # sysexits.h: a port cannot be bound
EX_CONFIG = 78  # sysexits.h: the configuration is wrong


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ib-relay")
def main() -> None:
    """A TCP relay for IB Gateway and TWS that knows the session it carries.

    New here: `ib-relay demo`. For a real gateway: `ib-relay run`.
    """


main.add_command(service)


def configured(command):
    """The options that `run` and `check-config` share."""
    options = [
        click.option("--config", metavar="FILE", help="TOML file; see `ib-relay check-config`."),
        click.option("--listen", metavar="HOST:PORT", multiple=True, help="Where clients connect. [auto:4003]"),
        click.option("--upstream", metavar="HOST:PORT", help="Where the gateway listens. [127.0.0.1:4002]"),
        click.option("--protocol", metavar="ib|raw", help="ib understands the API session, raw only forwards. [ib]"),
        click.option("--allow", metavar="CIDR", multiple=True, help="Who may connect. [auto: this host and its bridges]"),
        click.option("--log-format", metavar="text|json", help="Lines for people or JSON objects. [text]"),
        click.option("--survive/--no-survive", default=None, help="Keep sessions with the service manager. [survive]"),
        click.option("--log-file", metavar="FILE", help="A log of its own, rotated. [-, standard output]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@configured
@click.option("--rehearse", type=int, default=None, hidden=True)  # relay/handover.py
def run(config: str | None, rehearse: int | None, **flags) -> None:
    """Relay connections until SIGTERM (drains) or Ctrl-C; SIGHUP reloads, SIGUSR2 upgrades in place."""
    _leave_tls_out()
    import asyncio
    import faulthandler

    from relay import handover
    from relay.activation import ActivationError
    from relay.listeners import BindError, NotGiven
    from relay.log import Log
    from relay.logfile import log_file_of
    from relay.poller import new_event_loop
    from relay.server import run_relay

    if rehearse is not None:
        _rehearse(rehearse, _load(config, flags))
        return
    _occupy_standard_descriptors()
    faulthandler.enable(2)  # a watchdog's SIGABRT leaves the stack of the hang in the service's log
    try:
        loaded = read_config(config, os.environ, flags)
        estate = handover.take()
        log = Log(1, loaded.config.log_format, log_file_of(loaded.config))
        log.dropped = estate.dropped if estate is not None else 0
        activation = _handed_over()
    except (ConfigError, ActivationError) as error:
        _fail(str(error), EX_CONFIG)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run_relay(loaded, log, lambda: read_config(config, os.environ, flags), activation, estate))
    except NotGiven as error:
        _fail(str(error), EX_CONFIG)
    except BindError as error:
        _fail(str(error), EX_UNAVAILABLE)
    finally:
        log.close()


@main.command()
@click.option("--pid", type=click.IntRange(2), metavar="N", help="The relay's process. [the only one there is]")
def upgrade(pid: int | None) -> None:
    """Make a running relay the program that is installed now, in place: its sessions do not notice.

    It rehearses first: a program that cannot start is refused, and the old one goes on. The relay of a service manager is
    upgraded by `ib-relay service upgrade`.
    """
    from relay import upgrade as work

    try:
        work.upgrade(pid, click.echo)
    except work.Failed as error:
        _fail(str(error), EX_UNAVAILABLE)


@main.command("check-config")
@configured
def check_config(config: str | None, **flags) -> None:
    """Validate the configuration; print the value of every key and where it came from."""
    loaded = _load(config, flags)
    for line in aligned(effective(loaded)):
        click.echo(line)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)


@main.command()
@click.option("--listen", default="127.0.0.1:4002", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--behaviour", default="normal", show_default=True, metavar="NAME[=VALUE]", help="The fault to play.")
@click.option("--server-version", default=None, type=int, metavar="N", help="The API version to announce.")
@click.option("--list", "list_them", is_flag=True, help="List the behaviours and exit.")
def practice(listen: str, behaviour: str, server_version: int | None, list_them: bool) -> None:
    """A practice gateway: speaks the IB API with made-up prices and, on request, with a fault.

    It never trades: orders are refused.
    """
    if list_them:
        _list_behaviours()
        return
    import asyncio

    address = _address(listen, "--listen")
    settings = _practice_settings(behaviour, server_version)
    try:
        with asyncio.Runner() as runner:
            runner.run(_practise(settings, *address))
    except OSError as error:
        _fail(f"--listen {listen}: cannot listen there: {error.strerror or error}", EX_UNAVAILABLE)
    except KeyboardInterrupt:
        pass


async def _practise(settings, host: str, port: int) -> None:
    import asyncio

    from relay.practice import PracticeGateway

    gateway = PracticeGateway(settings, log=click.echo)
    await gateway.start(host, port)
    try:
        click.echo("it never trades: orders are refused; Ctrl-C ends it")
        await asyncio.Event().wait()
    finally:
        await gateway.close()


@main.command()
@click.option("--behaviour", default="normal", show_default=True, metavar="NAME[=VALUE]", help="The fault to play.")
@click.option("--seconds", default=4.0, show_default=True, type=click.FloatRange(0.5, 3600), help="How long to show ticks.")
def demo(behaviour: str, seconds: float) -> None:
    """Everything in one go: a practice gateway, the relay before it, and a client session through both."""
    import asyncio

    from relay.demo import run_demo
    from relay.poller import new_event_loop

    settings = _practice_settings(behaviour, None)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run_demo(settings, seconds, sys.stdout))
    except KeyboardInterrupt:
        click.echo("\nstopped")
        sys.exit(130)


def _rehearse(paper: int, loaded: Loaded) -> None:
    """Could this program go on with what is on that paper? Says so, or why not."""
    from relay.listeners import BindError
    from relay.state import StrangeState
    from relay.survival import rehearse

    try:
        click.echo(rehearse(paper, loaded))
    except (StrangeState, BindError) as error:
        _fail(str(error), EX_UNAVAILABLE)


def _handed_over():
    """The sockets a service manager has bound for this process."""
    from relay import launchd, systemd
    from relay.activation import Activation

    return Activation(systemd.take_listening(), launchd.activate, guess=launchd.started_by_launchd())


def _load(config: str | None, flags: dict) -> Loaded:
    try:
        return read_config(config, os.environ, flags)
    except ConfigError as error:
        _fail(str(error), EX_CONFIG)


def _leave_tls_out() -> None:
    """asyncio imports ssl if there is one and does without if not; the relay has no TLS and saves 4 MiB and 20 ms."""
    sys.modules.setdefault("ssl", None)


def _occupy_standard_descriptors() -> None:
    """Started with stdout closed, the next socket would become descriptor 1, and log lines would go to a gateway."""
    while True:
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > 2:
            os.close(fd)
            return


def _list_behaviours() -> None:
    from relay.practice import BEHAVIOURS

    width = max(len(one.usage) for one in BEHAVIOURS.values())
    for one in BEHAVIOURS.values():
        lines = textwrap.wrap(one.summary, 78 - width)
        click.echo(f"{one.usage:<{width}}  {lines[0]}")
        for line in lines[1:]:
            click.echo(" " * (width + 2) + line)


def _practice_settings(behaviour: str, server_version: int | None):
    from relay.practice import Practice

    version = {} if server_version is None else {"server_version": server_version}
    try:
        return Practice.named(behaviour, **version)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _address(text: str, flag: str) -> tuple[str, int]:
    from relay.addresses import Refused, read_upstream

    try:
        place = read_upstream(text)
    except Refused:
        raise click.UsageError(f"{flag}: seen {text!r}; allowed: HOST:PORT with a PORT from 1 to 65535") from None
    return place.host, place.port


def _fail(message: str, code: int) -> None:
    click.echo(f"ib-relay: {message}", err=True)
    sys.exit(code)
