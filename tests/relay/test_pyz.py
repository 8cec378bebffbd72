"""The one-file program: what is in it, that it runs, and that bytecode in it is used and changes nothing."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from relay import __version__, pyz
from relay.service.bytecode import with_bytecode
from relay.service.program import same_sources
from relay.service.templates import NAMES, templates

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("pyz") / "ib-relay.pyz"
    pyz.build(target)
    return target


@pytest.fixture(scope="module")
def compiled(archive) -> Path:
    target = archive.with_name("compiled.pyz")
    target.write_bytes(with_bytecode(archive, target))
    return target


def run(*command: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, command)], cwd="/", capture_output=True, text=True, **options)


def test_it_holds_every_source_the_definitions_and_click_with_its_metadata(archive):
    names = set(zipfile.ZipFile(archive).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "relay").rglob("*.py")}
    assert sources <= names
    assert {"relay/_" + name for name in NAMES} <= names
    assert "click/core.py" in names and [name for name in names if name.endswith(".dist-info/METADATA")]
    assert not [name for name in names if ".." in name or name.startswith("/") or name.endswith(".pyc")]


def test_the_same_sources_give_the_same_bytes(archive, tmp_path):
    pyz.build(tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == archive.read_bytes()


def test_the_shipped_definitions_are_found_in_a_checkout():
    assert templates() == {name: (ROOT / name).read_text() for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("which", ["archive", "compiled"])
def test_it_runs_isolated_from_everything_installed(which, request):
    ran = run("-I", "-S", request.getfixturevalue(which), "--version")
    assert (ran.stdout, ran.stderr) == (f"ib-relay, version {__version__}\n", "")


@pytest.mark.slow
def test_it_finds_its_definitions_in_itself(archive):
    found = "from relay.service.templates import templates; print(templates())"
    program = f"import sys; sys.path.insert(0, {str(archive)!r}); {found}"
    assert run("-I", "-S", "-c", program).stdout == f"{templates()}\n"


@pytest.mark.slow
def test_bytecode_is_used_where_it_is_this_pythons_own(compiled, archive):
    for where, suffix in ((archive, "relay/cli/__init__.py"), (compiled, "relay/cli/__init__.pyc")):
        program = f"import sys; sys.path.insert(0, {str(where)!r}); import relay.cli; print(relay.cli.__file__)"
        assert run("-I", "-S", "-c", program).stdout == f"{where}/{suffix}\n"
    assert same_sources(archive, compiled)


@pytest.mark.slow
def test_bytecode_of_another_python_is_passed_over(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.MAGIC_NUMBER", b"\x00\x00\r\n")
    foreign = tmp_path / "foreign.pyz"
    foreign.write_bytes(with_bytecode(archive, foreign))
    assert run("-I", "-S", foreign, "--version").stdout == f"ib-relay, version {__version__}\n"


def test_an_old_python_is_told_in_words_it_knows(archive):
    begins = zipfile.ZipFile(archive).read("__main__.py").decode()
    compile(begins, "main", "exec", dont_inherit=True)
    assert "print(" not in begins and 'f"' not in begins  # what Python 2 and 3.5 would stumble over
    said = run("-c", f"import sys; sys.version_info = (3, 9); exec({begins!r})")
    assert (said.returncode, said.stderr) == (69, "ib-relay needs Python 3.11 or newer; this is 3.9\n")


SLIPS = [
    (["--help"], 0, pyz.USAGE, ""),
    (["-h"], 0, pyz.USAGE, ""),
    (["--hlep"], 2, "", "seen '--hlep'; allowed: one FILE, or nothing (see `python -m relay.pyz --help`)"),
    ([""], 2, "", "seen ''; allowed: one FILE, or nothing (see `python -m relay.pyz --help`)"),
    (["a.pyz", "b.pyz"], 2, "", "seen 2 words; allowed: one FILE, or nothing (see `python -m relay.pyz --help`)"),
    (["/nonexistent/x.pyz"], 1, "", "/nonexistent/x.pyz: cannot be written: No such file or directory"),
    (["folder"], 1, "", "folder: cannot be written: Is a directory"),
]


@pytest.mark.parametrize("words, code, out, said", SLIPS, ids=[" ".join(one[0]) for one in SLIPS])
def test_a_slip_writes_no_file_and_is_one_line(words, code, out, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert pyz.main(words) == code
    assert capsys.readouterr() == (out, f"ib-relay: {said}\n" if said else "")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.slow
def test_what_was_built_is_told_and_an_output_that_is_full_is_one_line(tmp_path):
    command = [
        "/bin/sh",
        "-c",
        'exec "$@" >/dev/full',
        "sh",
        sys.executable,
        "-m",
        "relay.pyz",
        str(tmp_path / "a.pyz"),
    ]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (full.returncode, full.stderr) == (1, "ib-relay: standard output: No space left on device\n")
    done = subprocess.run(command[4:], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"{tmp_path}/a.pyz: ")


@pytest.mark.slow
def test_without_click_it_says_what_to_do_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-S", "-m", "relay.pyz"]  # -S: nothing that is installed
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    said = "ib-relay: needs click: run it with .venv/bin/python, or `pip install .`\n"
    assert (done.returncode, done.stdout, done.stderr) == (69, "", said)
    assert list(tmp_path.iterdir()) == []


def test_what_is_built_at_the_top_of_a_checkout_is_not_for_git():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/*.pyz", "/ib-diagnose.py"} <= set(ignored)
