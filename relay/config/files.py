"""Configuration files: the places to look in, how a file is opened, and `load` with its content."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import replace

from relay.config.load import FILE_VARIABLE, MAX_FILE, NO_FILE, ConfigError, Loaded, clipped, load

SYSTEM_PLACE = "/etc/ib-relay/config.toml"
SERVICE_VARIABLE = "CONFIGURATION_DIRECTORY"  # systemd sets it for a unit with ConfigurationDirectory=, systemd.exec(5)


def places(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The places of an unnamed file, nearest first: the service's folder, the user's, the system's."""
    folders = [folder for folder in environ.get(SERVICE_VARIABLE, "").split(":") if folder]
    home, xdg = environ.get("HOME", ""), environ.get("XDG_CONFIG_HOME", "")
    if xdg.startswith("/"):  # a relative path must be ignored (XDG base directory specification)
        folders.append(f"{xdg}/ib-relay")
    elif home.startswith("/"):
        folders.append(f"{home.rstrip('/')}/.config/ib-relay")
    return tuple(dict.fromkeys([*(f"{folder}/config.toml" for folder in folders), SYSTEM_PLACE]))


def read_config(path: str | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """`load` with the file of `path` (the --config flag), of IB_RELAY_CONFIG, or in a standard place."""
    if path == "":  # an unset shell variable; an empty IB_RELAY_CONFIG, however, is how compose files spell "none"
        raise ConfigError('--config: seen ""; allowed: a readable TOML file')
    for named, origin in ((path, "--config"), (environ.get(FILE_VARIABLE), FILE_VARIABLE)):
        if named:
            try:
                text = _read(named)
            except (OSError, ValueError) as error:
                raise _unreadable(f"{origin}: {clipped(named, 200)}", error) from error
            return replace(load(text, named, environ, flags), file_origin=origin)
    return _from_standard_place(environ, flags)


def _from_standard_place(environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    for place in places(environ):
        try:
            text = _read(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            refusal = _unreadable(clipped(place, 200), error)
            if isinstance(error, PermissionError) and place == SYSTEM_PLACE and not environ.get(SERVICE_VARIABLE):
                # The service's own file, and this is not the service: a user is trying something out.
                loaded = load(None, NO_FILE, environ, flags)
                return replace(loaded, warnings=(f"{refusal}; going on without it", *loaded.warnings))
            raise refusal from error
        return load(text, place, environ, flags)
    return load(None, NO_FILE, environ, flags)


def _read(path: str) -> bytes:
    with open(path, "rb", opener=regular) as file:
        return file.read(MAX_FILE + 1)


def _unreadable(where: str, error: Exception) -> ConfigError:
    why = getattr(error, "strerror", None) or error  # not an OSError: a NUL byte in the path
    return ConfigError(f"{where}: seen {str(why).lower()}; allowed: a readable TOML file")


def regular(path: str, flags: int) -> int:
    """An `opener` for open(): a file that can be read again and again. OSError for a pipe or a device; it never waits.

    /dev/null is accepted: it is how people say "no file". A pipe, also as <(...) or /dev/stdin, is refused: a second
    reading, at a reload or an upgrade, finds nothing, and an empty file is a valid configuration.
    """
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) or (stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev):
        return fd
    os.close(fd)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "is a pipe" if stat.S_ISFIFO(status.st_mode) else "is a device")
