"""relay/config/files.py: which file is read, and what is said of one that cannot be."""

import contextlib
import os

import pytest

from relay.config import files
from relay.config import load as load_module
from relay.config.files import places, read_config
from relay.config.load import Config, load
from tests.relay.config.test_load import LISTEN, refusal

PLACES = [
    ({}, ["/etc/ib-relay"]),
    ({"HOME": "/home/me"}, ["/home/me/.config/ib-relay", "/etc/ib-relay"]),
    ({"HOME": "/"}, ["/.config/ib-relay", "/etc/ib-relay"]),
    ({"HOME": "/home/me", "XDG_CONFIG_HOME": "/x"}, ["/x/ib-relay", "/etc/ib-relay"]),
    ({"HOME": "/home/me", "XDG_CONFIG_HOME": "x"}, ["/home/me/.config/ib-relay", "/etc/ib-relay"]),
    ({"CONFIGURATION_DIRECTORY": "/etc/ib-relay"}, ["/etc/ib-relay"]),
    ({"CONFIGURATION_DIRECTORY": "/a:/b", "HOME": "/h"}, ["/a", "/b", "/h/.config/ib-relay", "/etc/ib-relay"]),
]


@pytest.mark.parametrize(("environ", "folders"), PLACES)
def test_the_file_is_looked_for_from_the_nearest_place_outwards(environ, folders):
    assert places(environ) == tuple(f"{folder}/config.toml" for folder in folders)


def test_the_named_file_wins_over_the_variable_and_that_over_the_standard_place(tmp_path):
    for number, name in enumerate(["flag.toml", "variable.toml", "config.toml"], start=1):
        (tmp_path / name).write_text(f"log_interval = {number}\n")
    flag, variable, place = (str(tmp_path / name) for name in ("flag.toml", "variable.toml", "config.toml"))
    environ = {"CONFIGURATION_DIRECTORY": str(tmp_path)}
    named = environ | {"IB_RELAY_CONFIG": variable}
    found = [read_config(*call) for call in ((flag, named, {}), (None, named, {}), (None, environ, {}))]
    assert [(one.config.log_interval, one.file, one.file_origin) for one in found] == [
        (1.0, flag, "--config"),
        (2.0, variable, "IB_RELAY_CONFIG"),
        (3.0, place, "default"),
    ]


def test_an_absent_standard_file_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SYSTEM_PLACE", str(tmp_path / "etc" / "config.toml"))
    (tmp_path / "file").touch()
    environ = {"CONFIGURATION_DIRECTORY": f"{tmp_path}/absent:{tmp_path}/file", "HOME": str(tmp_path)}
    assert read_config(None, environ, {}) == load(None, "(no file)", {}, {})


def test_a_named_file_that_cannot_be_read_is_an_error_and_says_who_named_it(tmp_path):
    absent, folder = f"{tmp_path}/absent.toml", str(tmp_path)
    allowed = "allowed: a readable TOML file"
    assert refusal(read_config, absent, {}, {}) == f"--config: {absent}: seen no such file or directory; {allowed}"
    assert refusal(read_config, folder, {}, {}) == f"--config: {folder}: seen is a directory; {allowed}"
    assert refusal(read_config, None, {"IB_RELAY_CONFIG": absent}, {}) == (
        f"IB_RELAY_CONFIG: {absent}: seen no such file or directory; {allowed}"
    )
    assert refusal(read_config, "a\0b", {}, {}) == f"--config: a?b: seen embedded null byte; {allowed}"


def test_an_empty_flag_is_an_error_and_an_empty_variable_is_not(tmp_path):
    assert refusal(read_config, "", {}, {}) == '--config: seen ""; allowed: a readable TOML file'
    environ = {"IB_RELAY_CONFIG": "", "IB_RELAY_LISTEN": "", "HOME": str(tmp_path)}
    assert read_config(None, environ, {}).config == Config()
    for flags in ({"listen": ""}, {"listen": ("",)}, {"listen": ("127.0.0.1:4003", "")}):
        assert refusal(read_config, None, {"HOME": str(tmp_path)}, flags) == f'--listen: seen ""; allowed: {LISTEN}'


@pytest.mark.parametrize("how", ["by name", "as <(...)"])
def test_a_pipe_is_refused_at_once(tmp_path, how):
    reading, writing = os.pipe()
    try:
        place = f"/dev/fd/{reading}" if how == "as <(...)" else f"{tmp_path}/pipe"
        if how == "by name":
            os.mkfifo(place)
        os.write(writing, b"log_interval = 5\n")
        said = f"--config: {place}: seen is a pipe; allowed: a readable TOML file"
        assert refusal(read_config, place, {}, {}) == said
    finally:
        os.close(reading)
        os.close(writing)


def test_dev_null_is_an_empty_file_and_other_devices_are_none():
    assert read_config("/dev/null", {}, {}).config == Config()
    assert (
        refusal(read_config, "/dev/zero", {}, {})
        == "--config: /dev/zero: seen is a device; allowed: a readable TOML file"
    )


def test_a_standard_file_that_is_there_but_a_folder_is_an_error(tmp_path):
    (tmp_path / "config.toml").mkdir()
    message = refusal(read_config, None, {"CONFIGURATION_DIRECTORY": str(tmp_path)}, {})
    assert message == f"{tmp_path}/config.toml: seen is a directory; allowed: a readable TOML file"


@contextlib.contextmanager
def nobody():
    """Root reads every file: become somebody who does not for a moment (who is not root already is)."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_only_the_service_needs_the_file_of_the_service(tmp_path, monkeypatch):
    place = tmp_path / "config.toml"
    place.write_text("log_interval = 5\n")
    place.chmod(0)
    monkeypatch.setattr(files, "SYSTEM_PLACE", str(place))
    message = f"{place}: seen permission denied; allowed: a readable TOML file"
    with nobody():
        loaded = read_config(None, {}, {})
        assert (loaded.config, loaded.file) == (Config(), None)
        assert loaded.warnings == (f"{message}; going on without it",)
        assert refusal(read_config, None, {"CONFIGURATION_DIRECTORY": str(tmp_path)}, {}) == message
        assert refusal(read_config, str(place), {}, {}) == f"--config: {message}"


def test_a_file_beyond_a_mebibyte_is_the_wrong_file(tmp_path):
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * (load_module.MAX_FILE - 1) + b"\n")
    assert read_config(str(path), {}, {}).config == Config()
    path.write_bytes(b"#" * load_module.MAX_FILE + b"\n")
    assert refusal(read_config, str(path), {}, {}) == (
        f"{path}: seen more than 1048576 bytes; allowed: a TOML file up to that size"
    )


def test_a_file_without_an_end_in_sight_is_not_read_to_it(tmp_path):
    place = tmp_path / "huge.toml"
    with open(place, "wb") as file:
        file.truncate(1 << 40)
    said = f"{place}: seen more than 1048576 bytes; allowed: a TOML file up to that size"
    assert refusal(read_config, str(place), {}, {}) == said
