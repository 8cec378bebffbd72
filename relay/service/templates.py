"""The shipped service definitions, wherever this relay was installed to: a wheel, a zipapp or a checkout."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import relay

# Inside the package the two folders have an underscore: setup.cfg and relay/pyz.py put them there.
FOLDERS = {"systemd": "_systemd", "launchd": "_launchd"}
NAMES = (
    "systemd/ib-relay.socket",
    "systemd/ib-relay.service",
    "systemd/ib-relay-closed.target",
    "systemd/user/ib-relay.socket",
    "systemd/user/ib-relay.service",
    "systemd/user/ib-relay-closed.target",
    "launchd/ib-relay.agent.plist",
    "launchd/ib-relay.daemon.plist",
)


def templates() -> dict[str, str]:
    """Name -> text of every one."""
    return {name: _read(name) for name in NAMES}


def _read(name: str) -> str:
    folder, _, rest = name.partition("/")
    packaged = files(relay).joinpath(FOLDERS[folder], *rest.split("/"))
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    # A checkout or an editable install: the folders lie beside the package.
    return (Path(relay.__file__).parent.parent / name).read_text(encoding="utf-8")
