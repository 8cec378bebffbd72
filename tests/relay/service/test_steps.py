"""The steps of an installation: needed or not, done, and only told in a dry run."""

import os
import stat

import pytest

from relay.service.definition import Refusal
from relay.service.steps import Folder, Link, Remove, Run, Write, perform


def told(*wanted, dry_run=False) -> list[str]:
    lines: list[str] = []
    perform(wanted, lines.append, dry_run)
    return lines


def test_a_second_time_nothing_is_needed(tmp_path):
    steps = [
        Folder(tmp_path / "f"),
        Write(tmp_path / "f/a", b"1", 0o755),
        Link(tmp_path / "l", tmp_path / "f/a"),
        Remove(tmp_path / "gone"),
    ]
    (tmp_path / "gone").write_text("")
    assert told(*steps) == [
        f"create {tmp_path}/f",
        f"write {tmp_path}/f/a (1 bytes)",
        f"link {tmp_path}/l to {tmp_path}/f/a",
        f"remove {tmp_path}/gone",
    ]
    assert stat.S_IMODE((tmp_path / "f/a").stat().st_mode) == 0o755 and os.listdir(tmp_path / "f") == ["a"]
    assert told(*steps) == []


def test_a_dry_run_tells_the_same_and_does_nothing(tmp_path):
    assert told(Folder(tmp_path / "f"), Run(("false",)), dry_run=True) == [
        f"would create {tmp_path}/f",
        "would run `false`",
    ]
    assert os.listdir(tmp_path) == []


def test_what_is_replaced_can_be_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    assert told(Write(tmp_path / "a", b"new", keep=tmp_path / "a.old")) == [f"replace {tmp_path}/a (3 bytes)"]
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "a.old").read_bytes()) == (b"new", b"old")


def test_other_bytes_may_mean_the_same(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    assert told(Write(tmp_path / "a", b"new", same=lambda path: True)) == []


def test_a_folder_goes_with_everything_in_it_and_a_link_goes_alone(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a").write_text("")
    (tmp_path / "l").symlink_to(tmp_path / "f")
    told(Remove(tmp_path / "l"))
    assert (tmp_path / "f/a").exists()
    told(Remove(tmp_path / "f"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "command, words",
    [
        (("sh", "-c", "echo first >&2; echo second >&2; exit 3"), "first"),
        (("sh", "-c", "exit 3"), "exit code 3"),
        (("/nonexistent",), "not installed"),
    ],
)
def test_a_command_that_fails_ends_it_with_its_own_words(command, words):
    with pytest.raises(Refusal, match=words):
        told(Run(command))
    told(Run(command, essential=False))


def test_what_cannot_be_written_is_a_refusal_that_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match=f"cannot write {tmp_path}/file/a"):
        told(Write(tmp_path / "file/a", b""))
