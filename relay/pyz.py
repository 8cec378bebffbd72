"""Builds ib-relay.pyz, the whole relay as one file that the system's python3 runs: `python -m relay.pyz`.

In it: this package, the service definitions, and click as it is installed here, with its metadata (click looks its own
version up there). Same sources, same bytes: entries are sorted and carry no time.
"""

from __future__ import annotations

import stat
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import relay
from relay import terminal
from relay.service.templates import FOLDERS, templates

USAGE = """\
usage: python -m relay.pyz [FILE]

Builds FILE [ib-relay.pyz]: the relay, the service definitions and click as one
file that any python3 from 3.11 on runs, with nothing else to install.
"""
NAME = "ib-relay.pyz"
SHEBANG = b"#!/usr/bin/env python3\n"
EX_USAGE = 2  # as click has it
EARLIEST = (1980, 1, 1, 0, 0, 0)  # what a zip can say at the least


def build(target: Path) -> int:
    """Write the zipapp, replacing what was there in one step; its size in bytes. PackageNotFoundError without click."""
    files = sorted(contents())
    new = target.with_name(target.name + ".new")
    try:
        with open(new, "wb") as file:
            file.write(SHEBANG)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, data in files:
                    entry = zipfile.ZipInfo(name, EARLIEST)
                    entry.external_attr = (stat.S_IFREG | 0o644) << 16
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, data)
        new.chmod(0o755)
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return target.stat().st_size


def contents() -> Iterator[tuple[str, bytes]]:
    """(name in the archive, content) of every file."""
    home = Path(relay.__file__).parent
    yield "__main__.py", (home / "__main__.py").read_bytes()
    for path in home.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield f"relay/{path.relative_to(home).as_posix()}", path.read_bytes()
    if not (home / FOLDERS["systemd"]).exists():  # a checkout
        for name, text in templates().items():
            folder, _, rest = name.partition("/")
            yield f"relay/{FOLDERS[folder]}/{rest}", text.encode()
    yield from _distribution(distribution("click"))


def _distribution(found: Distribution) -> Iterator[tuple[str, bytes]]:
    """What an installed distribution consists of: its package and its dist-info, nothing outside and no bytecode."""
    for file in found.files or ():
        if (
            file.suffix != ".pyc"
            and ".." not in file.parts
            and file.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
        ):
            yield file.as_posix(), file.read_binary()


def main(arguments: list[str]) -> int:
    """What `python -m relay.pyz` does with the arguments behind it; the exit code."""
    if arguments[:1] in (["-h"], ["--help"]):
        terminal.write(USAGE)
        return 0
    if len(arguments) > 1 or (arguments and (not arguments[0] or arguments[0].startswith("-"))):
        seen = repr(arguments[0]) if len(arguments) == 1 else f"{len(arguments)} words"
        terminal.complain(f"seen {seen}; allowed: one FILE, or nothing (see `python -m relay.pyz --help`)")
        return EX_USAGE
    place = Path(arguments[0] if arguments else NAME)
    try:
        built = build(place)
    except PackageNotFoundError:
        terminal.complain(terminal.NEEDS_CLICK)
        return terminal.EX_UNAVAILABLE
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, or no name in it
        terminal.complain(f"{place}: cannot be written: {getattr(error, 'strerror', None) or error}")
        return terminal.EX_OUTPUT
    terminal.write(f"{place}: {built} bytes, relay {relay.__version__}, click {distribution('click').version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(terminal.exit_code(lambda: main(sys.argv[1:])))
