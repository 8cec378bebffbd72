"""From the installed program and its definitions to new ones: rehearsed first, proved afterwards, undone on any exit.

The program and its units go together, forth and back: an older program need not know what a newer unit sets.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from relay import __version__
from relay.service import steps
from relay.service.actions import READY_WAIT, Actions, Say, actions_for
from relay.service.definition import Refusal
from relay.service.managers import Systemctl
from relay.service.owner import command_line
from relay.service.program import version_of
from relay.service.prove import not_taken_by
from relay.service.rehearsal import TrialProgram, rehearse
from relay.service.render import SERVICE, Manager
from relay.service.undo import EndSignal, Snapshot, interruptible
from relay.service.wanted import Wanted
from relay.survival.live_sessions import unreadable

EX_SOFTWARE = 70  # sysexits.h: a fault of ours, or the way back failed
STARTS = 10  # times as long as in the rehearsal may the service take to start
LEAST = 10.0  # seconds it may take in any case


def swap(
    plan: Wanted,
    hands: Actions,
    files: Iterable[steps.Step],
    start: Callable[[list[steps.Step]], None],
    prove: Callable[[], None],
) -> None:
    """Rehearse, do `files`, `start` with what has changed, and `prove`; the copy of the program of before goes.

    Refusal when the new program does not do for a service: nothing was changed, or what was there is back and serves.
    """
    files = list(files)
    with interruptible():
        try:
            hands.ready_wait = max(LEAST, STARTS * _rehearsed(plan, hands, files))
            before, process = Snapshot(_paths(plan, hands, files)), hands.main_process()
        except EndSignal as interrupted:
            raise Refusal(f"nothing was changed: {interrupted}", interrupted.code) from None
        try:
            changed = steps.perform(files, hands.say)
            start(changed)
            prove()
            _refuse_another_process(plan, hands, process if _starts_anew(plan, changed) else None)
        except BaseException as trouble:
            raise _undone(plan, before, process, hands.say, prove, trouble) from trouble
        hands.ready_wait = READY_WAIT
    kept_copy(plan.where.program).unlink(missing_ok=True)


def _rehearsed(plan: Wanted, hands: Actions, files: list[steps.Step]) -> float:
    """Seconds the new program takes to start; Refusal when it cannot do for a service."""
    program = next((step for step in files if isinstance(step, steps.Write) and step.path == plan.where.program), None)
    protocols = [port_map.protocol.value for port_map in plan.loaded.config.maps]
    installed = None
    if plan.program.archive and plan.where.program.exists() and plan.loaded.config.survive and hands.main_process():
        there = plan.where.units / SERVICE
        command = plan.program.command(plan.where.program)
        variables = variables_of(there.read_text()) if there.exists() else {}
        installed = TrialProgram(command, variables, version_of(plan.where.program))
    if plan.loaded.config.survive and (why := unreadable(hands.main_process())):
        raise Refusal(
            f"nothing was changed: the new program ({__version__}) cannot go on with the sessions that live now, they "
            f"would be reset: {why}. To upgrade all the same, stop the service first, which ends its sessions"
        )
    variables = variables_of(plan.files.get(SERVICE, ""))
    with tempfile.TemporaryDirectory(prefix="ib-relay-new-") as folder:
        copy = Path(folder, plan.where.program.name) if program is not None else plan.program.archive
        if program is not None and copy is not None:
            copy.write_bytes(program.data)
        took, proved = rehearse(TrialProgram(plan.program.command(copy), variables, __version__), installed, protocols)
    hands.say(f"rehearsed: {proved}")
    return took


def variables_of(unit: str) -> Mapping[str, str]:
    """What a unit of ours sets in the environment."""
    lines = [line.removeprefix("Environment=") for line in unit.splitlines() if line.startswith("Environment=")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _paths(plan: Wanted, hands: Actions, files: list[steps.Step]) -> list[Path]:
    """Everything that may be written or removed, but the copy that is kept of the program."""
    named = [step.path for step in files if isinstance(step, (steps.Write, steps.Remove, steps.Link))]
    return [*named, *hands.definitions(), plan.where.program]


def _undone(
    plan: Wanted, before: Snapshot, process: int, say: Say, prove: Callable[[], None], trouble: BaseException
) -> Refusal:
    """Put back what was there and start it; the refusal that says so."""
    why, code = _in_words(trouble)
    try:
        if not _put_back(plan, before, process, say):
            return Refusal(f"nothing was changed: {why}", code)
        prove()
    except (Refusal, OSError) as error:
        return Refusal(
            f"{why}\nand what was there before could not be put back, or does not serve: {error}\n"
            f"the program of before is {kept_copy(plan.where.program)}; `service install`, run from it, installs it",
            EX_SOFTWARE,
        )
    kept_copy(plan.where.program).unlink(missing_ok=True)
    return Refusal(f"the new program is not in place, the old one is back, and so are its units: {why}", code)


def _put_back(plan: Wanted, before: Snapshot, process: int, say: Say) -> bool:
    """Whether there was anything to put back."""
    back: list[steps.Step] = []
    for step in before.way_back():
        if isinstance(step, steps.Remove) and step.path.suffix == ".socket":
            back.append(steps.Run(Systemctl(plan.where.scope).command("disable", step.path.name), essential=False))
        back.append(step)
    done = steps.perform(back, say)
    hands = actions_for(plan.where, None, say, False)  # for the units that are there again
    if not done and hands.main_process() == process and plan.where.manager is Manager.SYSTEMD:
        return False
    hands.end_at_once()
    hands.restart(done)
    return True


def _in_words(trouble: BaseException) -> tuple[str, int]:
    if isinstance(trouble, (Refusal, EndSignal)):
        return str(trouble), trouble.code
    where = traceback.extract_tb(trouble.__traceback__)[-1]
    return f"a fault of ours at {where.filename}:{where.lineno}: {type(trouble).__name__}: {trouble}", EX_SOFTWARE


def kept_copy(program: Path) -> Path:
    """Where the program of before is while it is not sure that the new one stays."""
    return program.with_suffix(".pyz.old")


def _starts_anew(plan: Wanted, changed: list[steps.Step]) -> bool:
    """Whether there must be another process now: after a mere restart, or for another program or unit."""
    written = {step.path for step in changed if isinstance(step, steps.Write)}
    return not changed or bool(written & {plan.where.program, plan.where.units / SERVICE})


def _refuse_another_process(plan: Wanted, hands: Actions, before: int | None) -> None:
    """Is it the new program that serves, and not the one of `before`, or systemd's own socket?"""
    if plan.where.manager is not Manager.SYSTEMD:
        return
    pid = hands.main_process()
    if pid in (0, before):
        raise Refusal(f"the service's process is {pid or 'not there'}, {before} before; expected a new one")
    seen, program = command_line(pid), str(plan.where.program if plan.program.archive else plan.program.python)
    if seen is not None and program not in seen:
        raise Refusal(f"process {pid} of the service was started as {' '.join(seen)}; expected {program} in it")
    for door in plan.target.doors:
        if trouble := not_taken_by(pid, *door.addresses[0]):
            raise Refusal(trouble)
    hands.say(f"process {pid} is the new program, {__version__}, and takes the connections")
