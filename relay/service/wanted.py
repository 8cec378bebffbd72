"""Everything an installation is made of here and now, worked out and not yet touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relay.config.load import Loaded
from relay.entry.bridges import find_bridges
from relay.service.definition import Layout, configuration, files, layout, target
from relay.service.managers import Systemctl, manager_here, systemd_version
from relay.service.program import Program, this_program
from relay.service.render import OLDEST, Manager, Scope, ServiceTarget


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything an installation is made of, worked out and not yet touched."""

    where: Layout
    program: Program
    loaded: Loaded
    new_configuration: str | None
    target: ServiceTarget
    files: dict[str, str]


def wanted(
    scope: Scope,
    listen: tuple[str, ...] = (),
    upstream: str | None = None,
    manager: Manager | None = None,
    version: int | None = None,
) -> Wanted:
    """What installing here and now would write. `manager` and `version` stand for another machine (`print`)."""
    chosen = manager or manager_here() or Manager.SYSTEMD
    where = layout(chosen, scope, Path.home())
    program = this_program()
    loaded, text = configuration(where, listen, upstream)
    found = version or (systemd_version() if chosen is Manager.SYSTEMD else None) or OLDEST
    namespaces = manager_here() is not chosen or chosen is Manager.LAUNCHD or Systemctl(scope).user_namespaces()
    aim = target(where, program, loaded.config, found, find_bridges().bridges, namespaces)
    return Wanted(where, program, loaded, text, aim, files(aim))
