"""What is done with systemctl and with launchctl to start, restart and stop the service; the same calls for both."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from relay.entry.listen_address import ListenAddress, bind
from relay.net.tcp import KeepAlive
from relay.service import steps
from relay.service.definition import Layout, Refusal
from relay.service.failures import why_it_does_not_run
from relay.service.managers import Launchctl, Systemctl
from relay.service.render import CLOSED, LABEL, SERVICE, ManagedSocket, Manager, Scope, ServiceTarget, socket_names

Say = Callable[[str], None]
READY_WAIT = 60.0  # seconds until READY: ten times what a slow board needs
STOP_WAIT = 20.0  # seconds a stop may take: above TimeoutStopSec= of the unit
CRASHES = 3  # in a row mean that the next one will be no better


def actions_for(where: Layout, target: ServiceTarget | None, say: Say, dry_run: bool) -> Actions:
    """For the manager of `where`; without a `target` it works on what is installed."""
    if where.manager is Manager.LAUNCHD:
        return LaunchdActions(where, say, dry_run)
    sockets = socket_names(target) if target else [path.name for path in socket_units(where)]
    return SystemdActions(where, sockets, say, dry_run)


def socket_units(where: Layout) -> list[Path]:
    """Socket units of ours: of a map there was once, too."""
    if where.manager is Manager.LAUNCHD:
        return []
    return sorted(path for path in where.units.glob("ib-relay*.socket") if f"Service={SERVICE}\n" in path.read_text())


class SystemdActions:
    """What is done with systemctl."""

    def __init__(self, where: Layout, sockets: list[str], say: Say, dry_run: bool) -> None:
        self.where, self.sockets, self.say, self.dry_run = where, sockets, say, dry_run
        self.ready_wait = READY_WAIT
        self.ctl = Systemctl(where.scope)

    def installed(self) -> bool:
        return (self.where.units / SERVICE).exists()

    def main_process(self) -> int:
        """The process of the service; 0 when it does not run."""
        return int(self.ctl.show(SERVICE, "MainPID")["MainPID"] or 0)

    def definitions(self) -> list[Path]:
        return [*socket_units(self.where), self.where.units / SERVICE, self.where.units / CLOSED]

    def refuse_taken_ports(self, doors: Iterable[ManagedSocket]) -> None:
        """A port somebody else listens on: better told by name than by a failed unit."""
        units = [self.ctl.show(path.name, "ActiveState", "Listen") for path in socket_units(self.where)]
        ours = "".join(unit["Listen"] for unit in units if unit["ActiveState"] == "active")
        for door in doors:
            for host, port in door.addresses:
                if f":{port} (" not in ours and _taken(host, port):
                    raise Refusal(
                        f"map {door.name}: port {port} of {host} is taken: another relay, socat, or the gateway itself"
                    )

    def start(self, changed: list[steps.Step]) -> None:
        units = [*self.sockets, SERVICE]
        touched = {step.path for step in changed if isinstance(step, (steps.Write, steps.Remove))}
        units_touched = {path.name for path in touched if path.parent == self.where.units}
        active = all(self._is("is-active", unit) for unit in units)
        if units_touched:
            self._run("daemon-reload")
        stale = [step.path.name for step in changed if isinstance(step, steps.Remove)]
        if stale:  # now that the service no longer requires them: before, they would have stopped it with them
            self._run("stop", *stale)
        if self.where.scope is Scope.USER:
            self._perform(steps.Run(("loginctl", "enable-linger"), essential=False, when=self._leaves_with_the_user))
        if not all(self._is("is-enabled", unit) for unit in units):
            self._run("enable", *units)
        if not active:
            self._run("reset-failed", *units, essential=False)
        if units_touched - {SERVICE, CLOSED}:
            # In one go: systemd stops the relay first, which has these ports open, too, and keeps its sessions.
            self._launch("restart", *units)
        elif not active:
            self._launch("start", *units)
        elif touched & {self.where.units / SERVICE, self.where.program}:
            self._launch("restart", SERVICE)

    def restart(self, changed: list[steps.Step]) -> None:
        if changed:
            self.start(changed)
            return
        if not self._is("is-active", SERVICE):
            self._run("reset-failed", SERVICE, *self.sockets, essential=False)
        self._launch("restart", SERVICE)  # starts the sockets, too, if they are not

    def end_at_once(self) -> None:
        """Kill what runs: it may hang, or not care for a SIGTERM. Its sessions are kept; the units are read before.

        Not what is being stopped for a restart: killed there it has failed, OnFailure= takes the start away that is to
        follow, and systemd lets go of the sessions.
        """
        self._run("daemon-reload")
        until = time.monotonic() + STOP_WAIT
        while self.ctl.show(SERVICE, "ActiveState")["ActiveState"] == "deactivating" and time.monotonic() < until:
            time.sleep(0.05)
        if self.main_process():
            self._run("kill", "--signal=KILL", SERVICE, essential=False)

    def stop(self) -> list[steps.Step]:
        units = [path.name for path in self.definitions() if path.exists() and path.name != CLOSED]
        if not units:
            return []
        return self._run("disable", "--now", *units) + self._run("stop", CLOSED, essential=False)

    def forget(self) -> None:
        """After the files are gone."""
        if not self.dry_run:
            self.ctl("daemon-reload")
            self.ctl("reset-failed", SERVICE, *self.sockets)

    def last_words(self) -> list[str]:
        state = self.ctl.show(SERVICE, "ActiveState", "SubState", "Result", "ExecMainStatus")
        values = " ".join(f"{key}={value}" for key, value in state.items())
        why = why_it_does_not_run(state["ActiveState"], state["ExecMainStatus"])
        return [values, *([why] if why else []), *(f"  {line}" for line in self.ctl.journal(SERVICE, 8))]

    def log_command(self) -> str:
        return f"journalctl {'--user ' if self.where.scope is Scope.USER else ''}-u ib-relay"

    def _run(self, *arguments: str, essential: bool = True) -> list[steps.Step]:
        def why() -> str:
            return "\n".join(self.last_words())

        return self._perform(steps.Run(self.ctl.command(*arguments), essential, None, why))

    def _launch(self, *arguments: str) -> None:
        """Start or restart, and wait until the relay is ready.

        systemctl itself would wait for ever: a job of a service that crashes and is restarted (RestartMode=direct)
        never ends.
        """
        before = self._restarts()
        self._run(*arguments[:1], "--no-block", *arguments[1:])
        until = time.monotonic() + self.ready_wait
        while not self.dry_run:
            state = self.ctl.show(SERVICE, "ActiveState", "Job")
            if state["ActiveState"] == "active" and state["Job"] in ("", "0"):
                return
            restarts = self._restarts()
            crashes = restarts - before if restarts >= before else restarts  # a start by hand begins at 0
            if (
                (state["ActiveState"] == "failed" and state["Job"] in ("", "0"))
                or crashes >= CRASHES
                or time.monotonic() > until
            ):
                raise Refusal("\n".join(["the relay does not start", *self.last_words()]))
            time.sleep(0.02)

    def _restarts(self) -> int:
        """How often systemd has started it by itself since it was last started by hand."""
        return 0 if self.dry_run else int(self.ctl.show(SERVICE, "NRestarts")["NRestarts"] or 0)

    def _perform(self, step: steps.Step) -> list[steps.Step]:
        return steps.perform([step], self.say, self.dry_run)

    def _is(self, question: str, unit: str) -> bool:
        return self.ctl(question, "--quiet", unit).code == 0

    def _leaves_with_the_user(self) -> bool:
        return not Path("/var/lib/systemd/linger", _user_name()).exists()


class LaunchdActions:
    """What is done with launchctl: always bootout, enable, bootstrap.

    Bootstrap alone fails for a loaded job, a disabled one and a faulty file with the same "5: Input/output error".
    """

    def __init__(self, where: Layout, say: Say, dry_run: bool) -> None:
        self.where, self.say, self.dry_run = where, say, dry_run
        self.ready_wait = READY_WAIT  # launchd says of nothing when it is ready
        self.ctl = Launchctl(where.scope)
        self.file = where.units / f"{LABEL}.plist"

    def installed(self) -> bool:
        return self.file.exists()

    def main_process(self) -> int:
        """Not asked: launchd has no words for it that scripts may rely on."""
        return 0

    def definitions(self) -> list[Path]:
        return [self.file]

    def refuse_taken_ports(self, doors: Iterable[ManagedSocket]) -> None:
        if self.ctl.state() != "not loaded":
            return
        for door in doors:
            for host, port in door.addresses:
                if _taken(host, port):
                    raise Refusal(
                        f"map {door.name}: port {port} of {host} is taken: another relay, socat, or the gateway itself"
                    )

    def start(self, changed: list[steps.Step]) -> None:
        if changed or self.ctl.state() == "not loaded":
            self._run("bootout", self.ctl.job, essential=False)
            self._run("enable", self.ctl.job)
            self._run("bootstrap", self.ctl.domain, str(self.file))

    def restart(self, changed: list[steps.Step]) -> None:
        if changed and any(step.path == self.file for step in changed if isinstance(step, steps.Write)):
            self.start(changed)
        else:
            self._run("kickstart", "-k", self.ctl.job)

    def end_at_once(self) -> None:
        """A restart does it."""

    def stop(self) -> list[steps.Step]:
        return self._run("bootout", self.ctl.job, essential=False) if self.file.exists() else []

    def forget(self) -> None:
        pass

    def last_words(self) -> list[str]:
        if self.where.logs is None:
            return []
        try:
            return [f"  {line}" for line in (self.where.logs / "stderr.log").read_text().splitlines()[-8:]]
        except OSError:
            return []

    def log_command(self) -> str:
        return f"ls {self.where.logs}"

    def _run(self, *arguments: str, essential: bool = True) -> list[steps.Step]:
        return steps.perform([steps.Run(self.ctl.command(*arguments), essential)], self.say, self.dry_run)


Actions = SystemdActions | LaunchdActions


def _taken(host: str, port: int) -> bool:
    """Does somebody listen there? Found by binding as the manager would; an address this host lacks is nobody's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bind(ListenAddress(family, host, port, "listen"), KeepAlive()).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _user_name() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
