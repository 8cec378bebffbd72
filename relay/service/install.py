"""install, upgrade, restart and uninstall: from what is there to what should be there, in steps, and proved at the end.

Everything is compared first, so that a second run does nothing. A unit file that changed means a restart; a running
relay's sessions live through that (systemd keeps their sockets), only a changed port takes the port away for a moment.
"""

from __future__ import annotations

import os
import time
import zipfile
import zlib
from pathlib import Path

from relay.config.addresses import host_port
from relay.config.load import PortMap
from relay.service import steps
from relay.service.actions import Actions, Say, actions_for, socket_units
from relay.service.bytecode import with_bytecode
from relay.service.definition import Refusal, layout
from relay.service.drift import unit_forbids
from relay.service.managers import Systemctl, manager_here
from relay.service.program import Program, does_not_start, same_sources, this_program, unfit_for_system, version_of
from relay.service.prove import Proof, prove
from relay.service.render import Manager, Scope
from relay.service.upgrade import kept_copy, swap
from relay.service.wanted import Wanted, wanted

EX_NOPERM = 77  # sysexits.h
SETTLE = 5.0  # seconds the relay may take to answer after the manager has called it started


def install(scope: Scope, listen: tuple[str, ...], upstream: str | None, say: Say, dry_run: bool = False) -> None:
    """Install or bring up to date, start, and prove it. Refusal says what cannot work; nothing was changed then."""
    refuse_what_cannot_work(scope, dry_run)
    plan = wanted(scope, listen, upstream)
    if plan.target.manager is Manager.LAUNCHD:
        _refuse_agent_for_the_network(plan)
    hands = actions_for(plan.where, plan.target, say, dry_run)
    hands.refuse_taken_ports(plan.target.doors)
    found = _files(plan, keep=kept_copy(plan.where.program))
    if not dry_run and hands.installed() and any(step.needed() for step in found):
        swap(plan, hands, found, hands.start, lambda: _told_and_proved(plan, hands, say))
        return
    changed = steps.perform(found, say, dry_run)
    hands.start(changed)
    if dry_run:
        return
    if not changed:
        say("nothing to change")
    _told_and_proved(plan, hands, say)


def _told_and_proved(plan: Wanted, hands: Actions, say: Say) -> None:
    for warning in plan.loaded.warnings:
        say(f"warning: {warning}")
    say(_summary(plan))
    _prove(plan, hands, say)


def upgrade(scope: Scope, say: Say, dry_run: bool = False) -> None:
    """Replace the installed program by this one, see upgrade.swap."""
    plan, hands = _installed(scope, say, dry_run)
    if plan.program.archive is not None:
        if plan.program.archive == plan.where.program.resolve():
            raise Refusal(
                f"{plan.where.program} is the installed program itself: run `service upgrade` from the new file"
            )
        say(f"from {version_of(plan.where.program)} to {version_of(plan.program.archive)}")
    found = _files(plan, keep=kept_copy(plan.where.program))
    if dry_run:
        steps.perform(found, say, dry_run)
        return
    swap(plan, hands, found, hands.restart, lambda: _prove(plan, hands, say))


def restart(scope: Scope, say: Say, dry_run: bool = False) -> None:
    """Restart what is installed, as it is, and prove it."""
    plan, hands = _installed(scope, say, dry_run)
    if not dry_run:
        started = time.monotonic()
        hands.restart([])
        say(f"restarted in {time.monotonic() - started:.2f} s")
        _prove(plan, hands, say)


def _installed(scope: Scope, say: Say, dry_run: bool) -> tuple[Wanted, Actions]:
    """What is there to work on, as it would be installed now, and the hands for it; Refusal when there is nothing."""
    refuse_what_cannot_work(scope, dry_run)
    plan = wanted(scope)
    hands = actions_for(plan.where, plan.target, say, dry_run)
    if not hands.installed():
        raise Refusal(f"nothing is installed for the {scope}: `ib-relay service install --{scope}`")
    return plan, hands


def uninstall(scope: Scope, purge: bool, say: Say, dry_run: bool = False) -> None:
    """Stop it and remove everything but the configuration, or that too."""
    where = layout(refuse_what_cannot_work(scope, dry_run, starting=False), scope, Path.home())
    hands = actions_for(where, None, say, dry_run)
    done = hands.stop()
    gone: list[steps.Step] = [steps.Remove(path) for path in hands.definitions()]
    if where.link is not None and where.link.is_symlink() and Path(os.readlink(where.link)) == where.program:
        gone.append(steps.Remove(where.link))
    gone.append(steps.Remove(where.program.parent))
    if where.logs is not None:
        gone.append(steps.Remove(where.logs))
    if purge:
        gone.append(steps.Remove(where.config.parent))
    done += steps.perform(gone, say, dry_run)
    hands.forget()
    if not done:
        say(f"nothing was installed for the {scope}")
    elif where.config.exists() and not purge:
        say(f"left: {where.config} (--purge removes it)")


def refuse_what_cannot_work(scope: Scope, dry_run: bool, starting: bool = True) -> Manager:
    """The manager of this machine; Refusal with the reason, before anything is touched."""
    manager = manager_here()
    if manager is None:
        raise Refusal(
            f"no systemd and no launchd runs this machine (process 1 is {_first_process()}); in a container start "
            "`ib-relay run` itself"
        )
    program = this_program()
    if scope is Scope.SYSTEM and os.geteuid() != 0 and not dry_run:
        raise Refusal(f"a service of the system needs root: sudo {_typed(program)} ..., or --user", EX_NOPERM)
    if scope is Scope.USER and os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        raise Refusal("--user under sudo would be a service of root: run it as yourself", EX_NOPERM)
    if manager is Manager.SYSTEMD and scope is Scope.USER and Systemctl(scope)("show-environment").code:
        raise Refusal(
            "the user's own systemd cannot be reached: log in on a session of your own (not su), or use --system"
        )
    if not starting:
        return manager
    why = unfit_for_system(program) if scope is Scope.SYSTEM and manager is Manager.SYSTEMD else ""
    why = why or does_not_start(program)
    if why:
        hint = "" if program.archive else "; the one-file program can: sudo python3 ib-relay.pyz service install"
        raise Refusal(f"this program cannot be the service: {why}{hint}")
    return manager


def _typed(program: Program) -> str:
    return f"{program.python} {program.archive or '-m relay'} service install"


def _first_process() -> str:
    try:
        return Path("/proc/1/comm").read_text().strip()
    except OSError:
        return "unknown"


def _refuse_agent_for_the_network(plan: Wanted) -> None:
    """MacOS 15 and later: errno 65 for every address of the local network, at once (Apple TN3179)."""
    if plan.where.scope is Scope.USER and plan.target.upstreams != ("localhost",):
        raise Refusal(
            "macOS lets no agent of a user reach other machines of the local network; a gateway elsewhere needs the "
            "daemon: sudo ib-relay service install --system"
        )


def _files(plan: Wanted, keep: Path | None = None) -> list[steps.Step]:
    where, archive = plan.where, plan.program.archive
    found: list[steps.Step] = [steps.Folder(where.config.parent)]
    if plan.new_configuration is not None:
        found.append(steps.Write(where.config, plan.new_configuration.encode()))
    if archive is not None and archive != where.program.resolve():
        found.append(steps.Folder(where.program.parent))
        data = _compiled(archive, where.program)
        found.append(steps.Write(where.program, data, 0o755, lambda path: same_sources(archive, path), keep))
    if archive is not None and where.link is not None:
        found.append(steps.Link(where.link, where.program))
    if where.logs is not None:
        found.append(steps.Folder(where.logs, 0o750, "nobody" if where.scope is Scope.SYSTEM else ""))
    found += [steps.Write(where.units / name, text.encode()) for name, text in plan.files.items()]
    for path in socket_units(where):
        if path.name not in plan.files:
            found.append(steps.Run(Systemctl(where.scope).command("disable", path.name), essential=False))
            found.append(steps.Remove(path))
    return found


def _compiled(archive: Path, installed: Path) -> bytes:
    try:
        return with_bytecode(archive, installed)
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise Refusal(f"nothing was changed: {archive} is damaged: {where}: {error.msg}") from error
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise Refusal(f"nothing was changed: {archive} is damaged: {error}") from error


def _summary(plan: Wanted) -> str:
    doors = "; ".join(
        f"{door.name}: {', '.join(host_port(host, port) for host, port in door.addresses)}"
        for door in plan.target.doors
    )
    whose = "starts with the machine" if plan.where.scope is Scope.SYSTEM else "belongs to you"
    return f"the {plan.where.scope} service {whose}; {doors}; configuration {plan.where.config}"


def _prove(plan: Wanted, hands: Actions, say: Say) -> None:
    """Every map through its first address; Refusal when a relay does not answer, or our own unit is in its way."""
    for port_map, door in zip(plan.loaded.config.maps, plan.target.doors, strict=True):
        proof = _first_answer(port_map, *door.addresses[0])
        say(("" if len(plan.target.doors) == 1 else f"{door.name}: ") + proof.message)
        if not proof.relay:
            raise Refusal("\n".join([proof.message, *hands.last_words()]))
        if proof.gateway is False and (why := unit_forbids(plan, port_map.upstream)):
            raise Refusal(why)
    say(f"log: {hands.log_command()}")


def _first_answer(port_map: PortMap, host: str, port: int) -> Proof:
    until = time.monotonic() + SETTLE
    while True:
        proof = prove(port_map, host, port)
        if proof.relay or time.monotonic() > until:
            return proof
        time.sleep(0.1)
