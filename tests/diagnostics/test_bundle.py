"""diagnostics/bundle.py: the zipapp and the single file, run the way they are meant to be, on every Python there is."""

import ast
import functools
import glob
import io
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from diagnostics import bundle
from relay.practice import Practice, PracticeGateway
from tests.diagnostics.commands import PATIENCE, beside, run

OLD = ["2.7", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10"]
NEW = ["3.11", "3.12", "3.13"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(zipapp, single file) as paths."""
    return bundle.write(str(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def odd_place(tmp_path):
    """A working directory as containers have them: somebody's project, with modules named like everybody's."""
    for name in ("types", "socket", "dataclasses", "relay", "diagnostics"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('somebody else was imported')\n")
    tmp_path.chmod(0o555)
    yield tmp_path
    tmp_path.chmod(0o755)


@functools.cache
def python(version):
    """An interpreter of that version, of pyenv or on the path; None if this machine has none."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for path in (*sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python")), shutil.which(f"python{version}")):
        ask = [path, "-c", "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"]
        if path and subprocess.run(ask, capture_output=True, text=True, timeout=PATIENCE).stdout == version:
            return path
    return None


def needs(versions):
    found = [version for version in versions if python(version)]
    return pytest.mark.parametrize(
        "version", found or [pytest.param("", marks=pytest.mark.skip(reason="none is here"))]
    )


def from_a_pipe(interpreter, path, *words, cwd=None):
    """`python3 - words... < path` with an empty environment, as docker exec does it."""
    return run(*words, command=(interpreter, "-"), stdin=read(path), cwd=cwd, env={})


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


# What is in them


def test_everything_the_commands_can_come_to_import_is_in_and_nothing_else():
    sources = bundle.collect()
    assert {
        "diagnostics/cli/__init__.py",
        "diagnostics/cli/commands.py",
        "diagnostics/findings/catalogue.py",
        "diagnostics/report/html.py",
        "diagnostics/host/gateway_log.py",
        "relay/__init__.py",
        "relay/command_line.py",
        "relay/repair.py",
        "relay/terminal.py",
        "relay/wire/__init__.py",
        "relay/wire/session.py",
    } <= set(sources)
    others = {path for path in sources if not path.startswith(("diagnostics/", "relay/wire/"))}
    shared = {"command_line", "printable", "repair", "terminal"}
    assert others == {"relay/__init__.py", *(f"relay/{name}.py" for name in shared)}
    assert not {"diagnostics/bundle.py", "diagnostics/archive.py", "diagnostics/__main__.py"} & set(sources)


def test_the_same_sources_give_the_same_bytes():
    sources = bundle.collect()
    assert bundle.zipapp(sources) == bundle.zipapp(dict(reversed(sources.items())))
    assert bundle.single_file(sources) == bundle.single_file(dict(reversed(sources.items())))


def test_the_zipapp_is_an_archive_behind_a_shebang():
    made = bundle.zipapp({"a/__init__.py": "1\n"})
    assert made.startswith(b"#!/usr/bin/env python3\nPK")
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert (archive.testzip(), archive.namelist()) == (None, ["__main__.py", "a/__init__.py"])


FOREIGN = [
    ("import click\n", "click"),
    ("def later():\n    from scapy.all import IP\n", "scapy.all"),
    ("import json, psutil, yaml\n", "psutil, yaml"),
]


@pytest.mark.parametrize("source, names", FOREIGN)
def test_what_only_an_installation_has_is_refused(monkeypatch, source, names):
    monkeypatch.setattr(bundle, "_text", lambda module: source)
    with pytest.raises(bundle.BundleError, match=f"diagnostics.cli imports {names}: only the standard library"):
        bundle.collect()


@pytest.mark.parametrize("at", [0, 1])
def test_the_front_doors_are_ascii_and_older_syntax(made, at):
    doors = [read(made[1]), bundle._text("diagnostics.__main__")]
    ast.parse(doors[at], feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign)
    assert not [node for node in ast.walk(ast.parse(doors[at])) if isinstance(node, newer)]


# Running them


@pytest.mark.slow
@needs(OLD)
def test_an_older_python_gets_one_line_and_69(made, version):
    said = f"ib-diagnose: this is Python {version} ({python(version)}); 3.11 or newer is needed\n"
    for ended in (
        from_a_pipe(python(version), made[1]),
        *(run(command=(python(version), path), env={}) for path in made),
    ):
        assert (ended.code, ended.out, ended.err) == (69, "", said)


@pytest.mark.slow
@needs(NEW)
async def test_the_single_file_diagnoses_from_a_pipe_in_an_odd_place(made, version, odd_place):
    async with PracticeGateway() as gateway:
        options = {"command": (python(version), "-"), "stdin": read(made[1]), "cwd": odd_place, "env": {}}
        ended = await beside("--target", f"127.0.0.1:{gateway.port}", **options)
    assert (ended.code, ended.err, ended.out.split(":")[0]) == (0, "", "Works via 127.0.0.1")
    assert sorted(path.name for path in odd_place.iterdir()) == sorted(
        ["dataclasses.py", "diagnostics.py", "relay.py", "socket.py", "types.py"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["zipapp", "single file"])
@pytest.mark.parametrize("behaviour, code", [("normal", 0), ("silent", 3), ("client-id-in-use", 4)])
@pytest.mark.long
async def test_both_files_do_what_the_installed_command_does(made, which, behaviour, code):
    async with PracticeGateway(Practice.named(behaviour)) as gateway:
        words = ("--target", f"127.0.0.1:{gateway.port}", "--timeout", "0.4", "--format", "html")
        bundled = await beside(*words, command=(sys.executable, made[which]), env={})
        checked = await beside("check", *words[:4], "--level", "session", command=(sys.executable, made[which]), env={})
    assert (bundled.code, bundled.err, checked.code, checked.err) == (code, "", code, "")
    assert bundled.out.startswith("<!doctype html>") and len(checked.out.splitlines()) == 1


@pytest.mark.slow
def test_in_the_single_file_every_page_can_be_explained_and_nothing_can_be_bundled(made, tmp_path):
    assert from_a_pipe(sys.executable, made[1], "explain", "IBD303").out.startswith("IBD303 ")
    assert from_a_pipe(sys.executable, made[1], "bundle", cwd=tmp_path).said == (
        1,
        "",
        ["ib-diagnose: bundle: made from an installation or a checkout only, not from a bundle"],
    )


HOOK = """
import os, sys
def hook(name, args):
    if name == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and args[0] != os.devnull:
        os.write(2, b"opened to be written: %a\\n" % (args[0],))
        os._exit(99)
sys.addaudithook(hook)
"""


@pytest.mark.slow
@pytest.mark.parametrize("words, code", [((), 2), (("--output", "report"), 99)], ids=["ordinary", "the test itself"])
def test_the_single_file_needs_no_place_to_write(made, tmp_path, words, code):
    """Neither a home nor a temporary folder nor byte code: nothing is opened to be written but what was asked for."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    env = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    words = ("--target", "127.0.0.1:1", "--no-session", *words)
    ended = run(*words, command=(sys.executable, "-"), stdin=read(made[1]), env=env, cwd=tmp_path)
    assert (ended.code, "opened to be written" in ended.err) == (code, code == 99)
