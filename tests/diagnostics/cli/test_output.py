"""diagnostics/cli/output.py: closed, full and broken streams and files, each in one line."""

import io
import os
import sys

import pytest

from diagnostics.cli import output
from diagnostics.cli.output import MAX_INPUT, CommandError, Sink, read_bytes, read_text
from diagnostics.host.log_lines import decode


def test_a_file_keeps_what_it_holds_until_there_is_something_better(tmp_path):
    path = tmp_path / "report"
    path.write_text("yesterday's report, which is long")
    Sink(str(path), "--output").close()
    assert path.read_text().startswith("yesterday's")
    Sink(str(path), "--output").write("today's, \u2026 \ud800\n")
    assert path.read_bytes() == b"today's, \xe2\x80\xa6 \\ud800\n"


def test_a_device_is_written_to_as_it_is():
    Sink(os.devnull, "--output").write("gone")


UNWRITABLE = [
    ("a folder", "{folder}", "Is a directory"),
    ("a folder that is not there", "{folder}/no/report", "No such file or directory"),
    ("a file taken for a folder", "{folder}/file/report", "Not a directory"),
    ("a name with a NUL", "a\0b", "null byte"),
]


@pytest.mark.parametrize("path, why", [row[1:] for row in UNWRITABLE], ids=[row[0] for row in UNWRITABLE])
def test_what_cannot_be_written_is_told_before_the_work(tmp_path, path, why):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=f"^--save .*: .*{why}"):
        Sink(path.format(folder=tmp_path), "--save")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_told():
    with pytest.raises(CommandError, match="--output /dev/full: No space left on device"):
        Sink("/dev/full", "--output").write("text")


def test_a_closed_standard_output_is_told_before_the_work(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    for path in (None, "-"):
        with pytest.raises(CommandError, match="standard output is closed"):
            Sink(path, "--output")
    with pytest.raises(CommandError):
        output.write("text")


def test_complaints_without_a_listener_are_nobodys_problem(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    output.complain("nobody hears this")


def test_a_complaint_is_one_printable_line(capsys):
    output.complain("two\nlines \x1b[31m")
    assert capsys.readouterr().err == "ib-diagnose: two lines ?[31m\n"
    output.complain("Grüße\t\x9b\u202e")
    assert capsys.readouterr().err == "ib-diagnose: Grüße ?\n"


def test_formats_that_are_utf8_are_so_in_any_locale(monkeypatch):
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    output.write("a \u2026\n")
    Sink(None, "--output").write("b \u2026 \ud800\n", utf8=True)
    assert held.getvalue() == b"a \\u2026\nb \xe2\x80\xa6 \\ud800\n"


READ = [
    ("as it is", b"text\n", False, b"text\n"),
    ("bytes that are no text", b"\xff\0", False, b"\xff\0"),
    ("the end of a long one", b"a" + b"b" * MAX_INPUT, True, b"b" * MAX_INPUT),
    ("the end of a very long one", b"a" * 3 * MAX_INPUT + b"b", True, b"a" * (MAX_INPUT - 1) + b"b"),
]


@pytest.mark.parametrize("held, tail, data", [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_files_are_read_within_bounds(tmp_path, held, tail, data):
    (tmp_path / "file").write_bytes(held)
    assert read_bytes(str(tmp_path / "file"), "--from", tail=tail) == data
    assert tail or read_text(str(tmp_path / "file"), "--from") == decode(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_text_is_read_in_the_encoding_that_a_shell_wrote_it_in(tmp_path, encoding):
    (tmp_path / "file").write_bytes('{"text": "Gr\u00fc\u00dfe"}\n'.encode(encoding))
    assert read_text(str(tmp_path / "file"), "--from") == '{"text": "Gr\u00fc\u00dfe"}\n'


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "large").write_bytes(b"x" * (MAX_INPUT + 1))
    monkeypatch.setattr(sys, "stdin", None)
    cases = [
        (f"{tmp_path}/large", "more than 4 MiB"),
        (str(tmp_path), "Is a directory"),
        ("-", "closed"),
        ("\0", "null"),
    ]
    for path, why in cases:
        with pytest.raises(CommandError, match=f"--from .*{why}"):
            read_text(path, "--from")


TERMINALS = [
    ({"TERM": "xterm"}, True),
    ({"TERM": "dumb"}, False),
    ({"TERM": "xterm", "NO_COLOR": "1"}, False),
    ({"TERM": "xterm", "NO_COLOR": ""}, True),
]


@pytest.mark.parametrize("variables, expected", TERMINALS)
def test_colours_are_for_terminals_whose_user_wants_them(monkeypatch, variables, expected):
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    assert output.has_colours() is expected
    monkeypatch.setattr(output, "is_terminal", lambda stream: False)
    assert not output.has_colours()


@pytest.mark.parametrize("columns, width", [(0, 80), (20, 60), (100, 100), (400, 120)])
def test_the_width_is_the_terminals_within_reason(monkeypatch, columns, width):
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((columns, 24)))
    assert output.width() == width
