"""Which program a service would run: this one, however it was started, and why it may not do for a service."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from zipimport import zipimporter

import relay

CHECK_TIMEOUT = 20.0  # seconds `--version` may take; it takes 0.2, on a busy small machine 2
# Not there for a service of the system: ProtectHome hides the first three, PrivateTmp the others.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


@dataclass(frozen=True, slots=True)
class Program:
    """What runs now. With an `archive` (a zipapp) the service gets a copy of it, else it runs the installed package."""

    python: str
    archive: Path | None
    package: Path
    prefix: str
    base_prefix: str

    def command(self, installed_archive: Path | None) -> tuple[str, ...]:
        """-I: no user site-packages, no PYTHON* variables, no current folder on the path; -S: no installed packages."""
        return (self.python, "-I", "-S", str(installed_archive)) if self.archive else (self.python, "-I", "-m", "relay")

    def exec_paths(self) -> tuple[str, ...]:
        """What the sandbox has to let be executed and mapped: the interpreter and C extensions."""
        paths = [self.python, "/usr/lib", "-/usr/lib64"]
        if self.base_prefix != "/usr":
            paths.append(f"{self.base_prefix}/lib")
        if self.prefix != self.base_prefix:
            paths.append(self.prefix)
        return tuple(paths)


def this_program() -> Program:
    loader = relay.__spec__.loader
    archive = Path(loader.archive).resolve() if isinstance(loader, zipimporter) else None
    # Not resolved: /usr/bin/python3 stays right when the distribution moves on to the next Python, and a venv is its
    # link.
    python = os.path.abspath(sys.executable)
    return Program(python, archive, Path(relay.__file__).parent, sys.prefix, sys.base_prefix)


def unfit_for_system(program: Program) -> str:
    """Why a service of the whole machine cannot run this program, or ""."""
    needed = [program.python, os.path.realpath(program.python), program.base_prefix]
    needed += [] if program.archive else [program.prefix, str(program.package)]
    for path in dict.fromkeys(needed):
        hidden = next((top for top in HIDDEN if Path(path).is_relative_to(top)), None)
        if hidden:
            return f"{path} lies below {hidden}, which a service of the system does not see"
        closed = _closed_to_others(Path(path))
        if closed:
            return f"{path} cannot be reached by the service's own user: {closed} is closed to others"
    return ""


def does_not_start(program: Program) -> str:
    """Why this program does not start the way a service starts it (isolated, from /), or ""."""
    if program.archive and not zipfile.is_zipfile(program.archive):
        return f"{program.archive} is no longer the file that was started"
    command = [*program.command(program.archive), "--version"]
    try:
        run = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=CHECK_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{' '.join(command)}: {error}"
    if run.returncode == 0:
        return ""
    if program.archive is None and "No module named" in run.stderr:
        build = "build the one-file program with `python -m relay.pyz`, or pip install"
        return f"this is a checkout, not an installation: {build}"
    return f"{' '.join(command)}: {(run.stderr.strip().splitlines() or ['exit code ' + str(run.returncode)])[-1]}"


def same_sources(archive: Path, other: Path) -> bool:
    """Do two zipapps hold the same sources? Bytecode, which is made where a zipapp is installed, does not count."""
    try:
        return _sources(archive) == _sources(other)
    except (OSError, zipfile.BadZipFile):
        return False


def version_of(archive: Path) -> str:
    """The version of the relay in a zipapp, or "unknown"."""
    try:
        with zipfile.ZipFile(archive) as opened:
            text = opened.read("relay/__init__.py").decode()
        return text.rpartition("__version__ = ")[2].split('"')[1]
    except (OSError, KeyError, IndexError, zipfile.BadZipFile):
        return "unknown"


def _sources(archive: Path) -> dict[str, tuple[int, int]]:
    with zipfile.ZipFile(archive) as opened:
        return {
            entry.filename: (entry.CRC, entry.file_size)
            for entry in opened.infolist()
            if not entry.filename.endswith(".pyc")
        }


def _closed_to_others(path: Path) -> Path | None:
    for folder in reversed(path.parents):
        try:
            if not stat.S_IMODE(folder.stat().st_mode) & stat.S_IXOTH:
                return folder
        except OSError:
            return folder
    return None
