"""Makes the forms of ib-diagnose that need no installation: a zipapp and one single file that also runs from a pipe.

    ib-diagnose bundle --into dist
    docker exec -i CONTAINER python3 - < dist/ib-diagnose.py

What goes in is found by following the imports from diagnostics.cli, those inside functions too, as far as they are
ours; so a new module needs no list, and an import of anything that is not in the standard library is refused here and
not in somebody's container. The same sources always give the same bytes.
"""

from __future__ import annotations

import ast
import io
import os
import sys
import zipfile

from diagnostics import archive
from relay import __version__

ENTRY = "diagnostics.cli"
LEFT_OUT = ("diagnostics.bundle", "diagnostics.archive")  # nothing to make a bundle from in a bundle
OURS = ("diagnostics", "relay")
ZIPAPP, SINGLE = "ib-diagnose.pyz", "ib-diagnose.py"

SHEBANG = "#!/usr/bin/env python3\n"
ARCHIVE_LINE = "# The archive of the single file goes here.\n"
MADE_BY = f"# ib-diagnose {__version__}, made by `ib-diagnose bundle`: readable in its repository, not here.\n"
# In front of the archive, after the code that reads it. The directory of the script, or the working directory for a
# script from a pipe, comes off the path: in a container that is somebody's project, which may have a types.py of its
# own.
START = '''
ARCHIVE = """
{packed}"""
if not sys.flags.safe_path:
    del sys.path[0]
sys.dont_write_bytecode = True
install(ARCHIVE, "ib-diagnose.py")

'''
OLDEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # of the format; a real time would make every build another file


class BundleError(Exception):
    """The sources cannot be bundled; the message says which and why."""


def write(folder: str) -> tuple[str, ...]:
    """Make both files in `folder`; their paths. BundleError, OSError."""
    sources = collect()
    made = []
    for name, content in ((ZIPAPP, zipapp(sources)), (SINGLE, single_file(sources).encode("ascii"))):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o755)
        made.append(path)
    return tuple(made)


def zipapp(sources: dict[str, str]) -> bytes:
    """The archive that `python3 ib-diagnose.pyz` runs."""
    buffer = io.BytesIO()
    buffer.write(SHEBANG.encode())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as made:
        for path, text in sorted({**sources, "__main__.py": _text("diagnostics.__main__")}.items()):
            entry = zipfile.ZipInfo(path, OLDEST_ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            made.writestr(entry, text)
    return buffer.getvalue()


def single_file(sources: dict[str, str]) -> str:
    """The program as one ASCII text."""
    before, line, after = _text("diagnostics.__main__").partition(ARCHIVE_LINE)
    if not line:
        raise BundleError(f"diagnostics/__main__.py: the line {ARCHIVE_LINE.strip()!r} was expected")
    start = START.format(packed=archive.pack(sources))
    return SHEBANG + MADE_BY + before + _text("diagnostics.archive") + start + after


def collect(entry: str = ENTRY) -> dict[str, str]:
    """Path and text of every module of ours that `entry` can come to import, and of the packages they are in."""
    wanted, sources = [entry], {}
    while wanted:
        module = wanted.pop()
        path = _path(module)
        if path in sources or module in LEFT_OUT:
            continue
        sources[path] = _text(module)
        parent = module.rpartition(".")[0]
        wanted += [*([parent] if parent else []), *_imports(module, sources[path])]
    return sources


def _imports(module: str, text: str) -> list[str]:
    """The modules of ours that `module` imports; BundleError if it imports somebody else's."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in inner if _is_ours(name) and _exists(name)]
            found += [node.module] if node.module else []
    foreign = sorted({name for name in found if not _is_ours(name) and _root(name) not in sys.stdlib_module_names})
    if foreign:
        raise BundleError(f"{module} imports {', '.join(foreign)}: only the standard library is there in a container")
    return [name for name in found if _is_ours(name)]


def _root(module: str) -> str:
    return module.partition(".")[0]


def _is_ours(module: str) -> bool:
    return _root(module) in OURS


_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _path(module: str) -> str:
    base = module.replace(".", "/")
    return f"{base}/__init__.py" if os.path.isdir(os.path.join(_TOP, base)) else f"{base}.py"


def _exists(module: str) -> bool:
    return os.path.exists(os.path.join(_TOP, _path(module)))


def _text(module: str) -> str:
    with open(os.path.join(_TOP, _path(module)), encoding="utf-8") as file:
        return file.read()
