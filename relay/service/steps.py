"""The steps of an installation: each says whether it is needed, does itself, and reads as a line.

A dry run only reads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from relay.service.definition import Refusal
from relay.service.managers import ask


class Step(Protocol):
    """`needed` looks, `do` acts (OSError or Refusal when it cannot), `str` says what it does."""

    def needed(self) -> bool: ...

    def do(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of our own, open for others to read: systemd would give a missing one to the service's user."""

    path: Path
    mode: int = 0o755
    owner: str = ""  # "" is who asks

    def needed(self) -> bool:
        return not self.path.is_dir()

    def do(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(self.mode)
        if self.owner:
            shutil.chown(self.path, self.owner)

    def __str__(self) -> str:
        return f"create {self.path}"


@dataclass(frozen=True, slots=True)
class Write:
    """A file, put in place in one step so that nobody ever reads half of it."""

    path: Path
    data: bytes
    mode: int = 0o644
    same: Callable[[Path], bool] | None = None  # when other bytes may mean the same
    keep: Path | None = None  # where what was there goes

    def needed(self) -> bool:
        if self.same is not None:
            return not (self.path.exists() and self.same(self.path))
        try:
            return self.path.read_bytes() != self.data
        except (FileNotFoundError, NotADirectoryError):
            return True

    def do(self) -> None:
        new = self.path.with_name(f".{self.path.name}.new")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(self.data)
        new.chmod(self.mode)
        if self.keep is not None and self.path.exists():
            shutil.copy2(self.path, self.keep)
        new.replace(self.path)

    def __str__(self) -> str:
        return f"{'replace' if self.path.exists() else 'write'} {self.path} ({len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; a file of somebody else's in its place stays."""

    path: Path
    to: Path

    def needed(self) -> bool:
        return not os.path.lexists(self.path)

    def do(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.symlink_to(self.to)

    def __str__(self) -> str:
        return f"link {self.path} to {self.to}"


@dataclass(frozen=True, slots=True)
class Remove:
    """A file, link or folder that is to be gone."""

    path: Path

    def needed(self) -> bool:
        return os.path.lexists(self.path)

    def do(self) -> None:
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink()

    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True, slots=True)
class Run:
    """A command. One that is not `essential` may fail without a word."""

    command: tuple[str, ...]
    essential: bool = True
    when: Callable[[], bool] | None = None
    explain: Callable[[], str] | None = None  # more words for a failure

    def needed(self) -> bool:
        return self.when is None or self.when()

    def do(self) -> None:
        answer = ask(self.command)
        if answer.code and self.essential:
            more = self.explain() if self.explain else ""
            raise Refusal(f"`{' '.join(self.command)}` failed: {answer.complaint}" + (f"\n{more}" if more else ""))

    def __str__(self) -> str:
        return f"run `{' '.join(self.command)}`"


def perform(steps: Iterable[Step], say: Callable[[str], None], dry_run: bool = False) -> list[Step]:
    """Do what is needed, in order, a line each; the steps that were needed."""
    done = []
    for step in steps:
        if not step.needed():
            continue
        say(f"{'would ' if dry_run else ''}{step}")
        if not dry_run:
            try:
                step.do()
            except OSError as error:
                raise Refusal(f"cannot {step}: {error.strerror or error}") from error
        done.append(step)
    return done
