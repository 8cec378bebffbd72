"""relay/logs/journal.py: the level before a line, only where the descriptor leads to the journal."""

import os
import subprocess
import sys

import pytest

from relay.logs.journal import leads_to_journal, level_prefix
from relay.logs.log import Log
from relay.logs.logfile import LogFile
from tests.relay.kit.blackbox import ROOT


def stream(fd: int) -> dict[str, str]:
    about = os.fstat(fd)
    return {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}


def test_only_the_very_file_that_systemd_has_named_leads_to_the_journal(tmp_path):
    with open(tmp_path / "journal", "w") as journal, open(tmp_path / "other", "w") as other:
        named = stream(journal.fileno())
        assert leads_to_journal(journal.fileno(), named)
        assert not leads_to_journal(other.fileno(), named)
        for environ in ({}, {"JOURNAL_STREAM": ""}, {"JOURNAL_STREAM": "x"}):
            assert not leads_to_journal(journal.fileno(), environ)
        assert level_prefix("ERROR", journal.fileno(), named) == "<3>"
        assert level_prefix("ERROR", other.fileno(), named) == ""
    assert not leads_to_journal(9999, named)


@pytest.mark.parametrize("log_format, begins", [("text", "20"), ("json", "{")])
def test_lines_say_how_bad_they_are_in_the_journal_and_nowhere_else(tmp_path, monkeypatch, log_format, begins):
    for name in ("journal", "elsewhere", "file"):
        with open(tmp_path / name, "w") as sink:
            if name == "journal":
                monkeypatch.setenv(*next(iter(stream(sink.fileno()).items())))
            file = LogFile(str(tmp_path / "file"), 1 << 20) if name == "file" else None
            log = Log(sink.fileno() if name != "file" else os.open(tmp_path / "journal", os.O_RDONLY), log_format, file)
            for severity in ("INFO", "WARN", "ERROR"):
                log.event("warning", "a message", severity)
            log.close()
            if file is not None:
                os.close(log.fd)
    info, warning, error = lines(tmp_path / "journal")
    assert (info[: len(begins)], warning[: 3 + len(begins)], error[:3]) == (begins, f"<4>{begins}", "<3>")
    for name in ("elsewhere", "file"):
        assert all(line.startswith(begins) for line in lines(tmp_path / name))


def lines(path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.slow
def test_why_it_does_not_start_is_an_error_in_the_journal(tmp_path):
    with open(tmp_path / "journal", "w") as journal:
        command = [sys.executable, "-m", "relay", "run", "--listen", "nonsense"]
        environ = os.environ | stream(journal.fileno())
        assert subprocess.run(command, cwd=ROOT, env=environ, stderr=journal).returncode == 78
    assert lines(tmp_path / "journal")[0].startswith("<3>ib-relay: --listen: seen")
