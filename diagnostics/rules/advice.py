"""What a finding advises here: the words for this kind of place, filled in for the route and with what the user typed.

A command of ours keeps the target that was asked for: without it, it would look at another place than the finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from diagnostics.evidence import Probe
from diagnostics.findings.catalogue import CATALOGUE, ELSEWHERE
from diagnostics.findings.wording import commands_for, worded
from diagnostics.place.addresses import DEFAULT_PORT, host_and_port, is_loopback
from diagnostics.rules.run_view import RunView

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:")
GATEWAY_PORTS = (4001, 4002, 7496, 7497)  # those of Gateway and TWS themselves
USUAL_TIMEOUT = 6.0  # seconds: the default of `ib-diagnose diagnose`


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a finding, and what decides whether it is the right one."""

    fix: str
    check: str
    commands: tuple[str, ...]


def advice(run: RunView, code: str, probes: tuple[Probe, ...]) -> Advice:
    """What the catalogue says of the code, in the words of this place, for a finding about these probes."""
    setting, entry = run.setting, CATALOGUE[code]
    on_loopback = bool(probes) and all(is_loopback(probe.address or "") for probe in probes)
    here = next((one for one in ELSEWHERE.get(code, ()) if one.holds(setting, on_loopback)), None)
    fix, check, commands = entry.fix, entry.check, entry.commands
    if here is not None:
        fix, check = here.fix or fix, here.check or check
        commands = commands if here.commands is None else here.commands
    return Advice(
        worded(setting, fix),
        filled_in(worded(setting, check), probes[0] if probes else run.best),
        tuple(command_of(command, run, probes) for command in commands_for(setting, commands)),
    )


def filled_in(text: str, probe: Probe | None) -> str:
    """The text with HOST, PORT and ADDRESS of this route.

    A host that is not plainly a name or an address is not put in: it may come from a file.
    """
    if probe is None:
        return text
    if probe.redirect and "HOST:PORT" in text:
        return text.replace("HOST:PORT", probe.redirect) if _is_plain(probe.redirect) else text
    host, port, address = probe.route.host, probe.route.port, probe.address or ""
    if _is_plain(host):
        text = _put(text, "HOST:PORT", host_and_port(host, port))
        text = _put(text, "HOST", host)
    if _is_plain(address):
        text = _put(text, "ADDRESS", address)
    if port in GATEWAY_PORTS:
        text = text.replace("--upstream 127.0.0.1:4002", f"--upstream 127.0.0.1:{port}")
    return _put(text, "PORT", str(port))


def command_of(command: str, run: RunView, probes: tuple[Probe, ...]) -> str:
    """The command for a finding about these probes; none: about the gateway as a whole."""
    configured = tuple(probe for probe in run.evidence.probes if probe.route.kind == "configured")
    asked_for = tuple(probe for probe in probes if probe.route.kind == "configured")
    about = (asked_for or probes or configured or ((run.best,) if run.best else ()))[:1]
    if command.startswith("ib-diagnose "):
        command = _with_options(command, run, asked_for or about if probes else configured or about)
    return filled_in(command, probes[0] if probes else about[0] if about else None)


def _with_options(command: str, run: RunView, targets: tuple[Probe, ...]) -> str:
    """The command with what was typed and matters for it, unless it says something else about that itself."""
    words = command.split()
    looks = not words[1].startswith("-")  # `wait` and `watch`; they take one target, and no id of the user's
    at = 2 if looks else 1
    asked, options = run.evidence.asked, []
    if "--target" not in words:
        options += [f"--target {_target(probe)}" for probe in (targets[:1] if looks else targets)]
        probes = run.evidence.probes
        if not targets and probes and probes[0].route.port != DEFAULT_PORT:
            options.append(f"--port {probes[0].route.port}")
    if not looks:
        if asked.as_a_client:
            options.append(f"--client-versions {asked.min_version}..{asked.max_version}")
        if asked.client_id is not None and "--client-id" not in words:
            options.append(f"--client-id {asked.client_id}")
        if not asked.session:
            options.append("--no-session")
        if asked.timeout > USUAL_TIMEOUT and "--timeout" not in words:
            options.append(f"--timeout {asked.timeout:g}")
    return " ".join((*words[:at], *options, *words[at:]))


def _target(probe: Probe) -> str:
    host = probe.route.host
    return host_and_port(host, probe.route.port) if _is_plain(host) else f"HOST:{probe.route.port}"


def _put(text: str, blank: str, value: str) -> str:
    """The value for a blank that stands alone: IB_HOST and IB_PORT are names of variables."""
    return re.sub(rf"(?<![\w-]){blank}(?!\w)", lambda _: value, text)


def _is_plain(host: str) -> bool:
    return bool(host) and set(host) <= PLAIN and host[0] != "-"
