"""systemctl and launchctl as functions: one place that starts them, and what their answers mean."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.service.render import LABEL, Manager, Scope

PATIENCE = 120.0  # seconds; a start waits for READY, a stop for the drain
BOOTED = "/run/systemd/system"  # sd_booted(3)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The last thing it complained about."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[0] if lines else f"exit code {self.code}"


def ask(command: Sequence[str], environ: dict[str, str] | None = None) -> Answer:
    """Run a command to its end. Never raises: a command that is not there is exit code 127."""
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env=environ,
        )
    except FileNotFoundError:
        return Answer(127, "", f"{command[0]} is not installed here")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(126, "", str(error))
    return Answer(run.returncode, run.stdout, run.stderr)


class Systemctl:
    """The systemd of the machine or of the user who asks."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.flags = ("--user",) if scope is Scope.USER else ()

    def command(self, *arguments: str) -> tuple[str, ...]:
        return ("systemctl", *self.flags, *arguments)

    def __call__(self, *arguments: str) -> Answer:
        return ask(self.command(*arguments), self._environ())

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """The properties' values, one a line where there are several; all "" when the manager cannot be asked."""
        found = dict.fromkeys(properties, "")
        for line in self("show", unit, f"--property={','.join(properties)}").out.splitlines():
            key, _, value = line.partition("=")
            if key in found:
                found[key] = f"{found[key]}\n{value}" if found[key] else value
        return found

    def journal(self, unit: str, lines: int) -> list[str]:
        """The last lines that the unit wrote or that systemd wrote about it."""
        where = f"--{self.scope}-unit={unit}" if self.scope is Scope.USER else f"--unit={unit}"
        answer = ask(
            ("journalctl", where, "--no-pager", "--quiet", "--output=cat", f"--lines={lines}"), self._environ()
        )
        return answer.out.splitlines()

    def user_namespaces(self) -> bool:
        """Does the user's systemd get user namespaces (Ubuntu 24.04: no)? Half of a user unit's sandbox needs them."""
        probe = ("systemd-run", "--user", "--quiet", "--wait", "--collect", "--property=PrivateUsers=yes", "/bin/true")
        return self.scope is Scope.SYSTEM or ask(probe, self._environ()).code == 0

    def _environ(self) -> dict[str, str] | None:
        """Over `su` or cron the way to the user's own systemd is not in the environment."""
        if self.scope is Scope.SYSTEM or os.environ.get("XDG_RUNTIME_DIR"):
            return None
        return os.environ | {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}


def systemd_version() -> int | None:
    """252 for "systemd 252 (252.39-1~deb12u2)"; None without systemctl."""
    found = re.match(r"systemd (\d+)", ask(("systemctl", "--version")).out)
    return int(found[1]) if found else None


def manager_here() -> Manager | None:
    """Which service manager runs this machine."""
    if sys.platform == "darwin":
        return Manager.LAUNCHD
    return Manager.SYSTEMD if Path(BOOTED).is_dir() and shutil.which("systemctl") else None


class Launchctl:
    """launchd's domain of the machine or of the user who asks."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.domain = "system" if scope is Scope.SYSTEM else f"gui/{os.getuid()}"
        self.job = f"{self.domain}/{LABEL}"

    def command(self, verb: str, *arguments: str) -> tuple[str, ...]:
        return ("launchctl", verb, *arguments)

    def __call__(self, verb: str, *arguments: str) -> Answer:
        return ask(self.command(verb, *arguments))

    def disabled(self) -> bool:
        """Switched off by the user in System Settings, or by `launchctl disable`."""
        found = re.search(rf'"{re.escape(LABEL)}" => (\w+)', self("print-disabled", self.domain).out)
        return found is not None and found[1] in ("disabled", "true")

    def state(self) -> str:
        """running, waiting, ... or "not loaded"."""
        answer = self("print", self.job)
        found = re.search(r"^\s*state = (.+)$", answer.out, re.MULTILINE)
        return found[1] if answer.code == 0 and found else "not loaded"
