"""What a finding advises here: the words for this kind of place, and for a forwarder in between, filled in.

They are filled in for the route and with what the user typed.

A command of ours keeps the target that was asked for: without it, it would look at another place than the finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from diagnostics.evidence import Asked, Outcome, Probe
from diagnostics.findings.behind import (
    behind_words,
    commands_behind,
    commands_for_both,
    is_about_what_answers,
    said_behind,
)
from diagnostics.findings.catalogue import CATALOGUE, ELSEWHERE
from diagnostics.findings.wording import commands_for, worded
from diagnostics.place.addresses import DEFAULT_PORT, host_and_port, is_loopback
from diagnostics.place.targets import parse_target
from diagnostics.rules.between import Between, between
from diagnostics.rules.run_view import RunView, failure

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%")  # %: fe80::1%eth0
GATEWAY_PORTS = (4001, 4002, 7496, 7497)  # those of Gateway and TWS themselves
USUAL_TIMEOUT = 6.0  # seconds: the default of `ib-diagnose diagnose`
HOST = r"(?<![\w-])HOST(?!\w)"  # still to be put in
OF_VARIABLES = re.compile(r"\bIB_")  # a command that looks for the variables of a program


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a finding, and what decides whether it is the right one."""

    fix: str
    check: str
    commands: tuple[str, ...]
    between: str = ""  # what stands between, where the finding is about what is behind that


def advice(run: RunView, code: str, probes: tuple[Probe, ...]) -> Advice:
    """What the catalogue says of the code, in the words of this place, for a finding about these probes."""
    setting, entry = run.setting, CATALOGUE[code]
    on_loopback = bool(probes) and all(is_loopback(probe.address or "") for probe in probes)
    here = next((one for one in ELSEWHERE.get(code, ()) if one.holds(setting, on_loopback)), None)
    fix, check, commands = entry.fix, entry.check, entry.commands
    if here is not None:
        fix, check = here.fix or fix, here.check or check
        commands = commands if here.commands is None else here.commands
    if entry.fix_if_newer and _is_newer(run, probes):
        fix = entry.fix_if_newer
    about = probes[0] if probes else run.best
    said = Advice(fix, check, commands)
    if (behind := between(run, about)) is not None:
        said = _behind(said, code, behind)
    commands = commands_for(setting, said.commands)
    if behind is not None and not behind.is_sure:
        commands = commands_for_both(commands)
    suited = (command for command in commands if not _is_beside_the_point(command, run, probes))
    return Advice(
        worded(setting, said.fix),
        filled_in(worded(setting, said.check), about, behind),
        (*_without_the_range(run, code, probes), *filter(None, (command_of(one, run, probes) for one in suited))),
        said.between,
    )


def _without_the_range(run: RunView, code: str, probes: tuple[Probe, ...]) -> tuple[str, ...]:
    """The same run with our own range of versions, where the end may come from that of the client in question."""
    if code != "IBD404" or not run.evidence.asked.as_a_client:
        return ()
    typed = command_of("ib-diagnose --verbose", run, probes)
    return (re.sub(r" --client-versions \S+", "", typed),) if typed else ()


def _behind(said: Advice, code: str, behind: Between) -> Advice:
    """The same for what is behind that, if the finding is about it."""
    row = behind_words(code, behind.program)
    if not is_about_what_answers(code, said.commands):
        return said
    fix, check, commands = said.fix, said.check, said.commands
    if row is not None:
        commands = commands if row.commands is None else row.commands
        check = _said(row.check, behind) or check
        fix = _fix_behind(_said(row.fix, behind), fix, behind)
    return Advice(fix, check, commands_behind(behind.program, commands), behind.said)


def _said(text: str, behind: Between) -> str:
    return said_behind(text, behind.program, behind.port, behind.upstream)


def _fix_behind(fix: str, otherwise: str, behind: Between) -> str:
    if not fix or behind.is_sure:
        return fix or otherwise
    return f"If {behind.program} has port {behind.port}: {fix[0].lower()}{fix[1:]} Otherwise: {otherwise}"


def _was_ended(probes: tuple[Probe, ...]) -> bool:
    failed = [failure(probe) for probe in probes]
    return bool(failed) and all(one is not None and one.outcome in (Outcome.CLOSED, Outcome.RESET) for one in failed)


def _is_newer(run: RunView, probes: tuple[Probe, ...]) -> bool:
    """Whether the gateways answered with a later version than was asked for."""
    versions = [probe.server_version for probe in probes]
    return bool(versions) and all(one is not None and one > run.evidence.asked.max_version for one in versions)


def _is_beside_the_point(command: str, run: RunView, probes: tuple[Probe, ...]) -> bool:
    """Whether it waits longer for what was ended, or updates what is new, or looks for variables that were typed."""
    if command.startswith("ib-diagnose --timeout ") and _was_ended(probes):
        return True
    if command.startswith("docker pull ") and _is_newer(run, probes):
        return True
    repaired = run.evidence.asked.repaired
    return bool(repaired and OF_VARIABLES.search(command)) and all(one.origin.startswith("--") for one in repaired)


def filled_in(text: str, probe: Probe | None, behind: Between | None = None) -> str:
    """The text with HOST, PORT and ADDRESS of this route, UPSTREAM and APIPORT of what is behind it.

    A host that is not plainly a name or an address is not put in: it may come from a file.
    """
    if probe is None:
        return text
    text = _put_upstream(text, probe, behind)
    if probe.redirect and "HOST:PORT" in text:
        return _put(text, "HOST:PORT", _redirected_to(probe.redirect, probe.route.port))
    host, port, address = probe.route.host, probe.route.port, probe.address or ""
    if _is_plain(host):
        text = _put(text, "HOST:PORT", host_and_port(host, port))
        text = _put(text, "HOST", host)
    if _is_plain(address):
        text = _put(text, "ADDRESS", address)
    if port in GATEWAY_PORTS:
        text = text.replace("--upstream 127.0.0.1:4002", f"--upstream 127.0.0.1:{port}")
    return _put(text, "PORT", str(port))


def _put_upstream(text: str, probe: Probe, behind: Between | None) -> str:
    if behind is None:
        return _put(_put(text, "UPSTREAM", "HOST:PORT"), "APIPORT", "PORT")
    text = _put(text, "APIPORT", str(behind.upstream_port))
    return _put(text, "UPSTREAM", behind.upstream) if _is_plain(behind.upstream.strip("[").replace("]", "")) else text


def _redirected_to(redirect: str, port: int) -> str:
    """Where a redirect leads, as a target; one without a port means the port that was dialled. HOST:PORT if unclear."""
    try:
        target = parse_target(redirect)
    except ValueError:
        return "HOST:PORT"
    return host_and_port(target.host, target.port or port) if _is_plain(target.host) else "HOST:PORT"


def command_of(command: str, run: RunView, probes: tuple[Probe, ...]) -> str:
    """The command for a finding about these probes; none: about the gateway as a whole.

    "" where it needs a host and the one of the route is nothing to type. Where no route is known, HOST stays.
    """
    configured = tuple(probe for probe in run.evidence.probes if probe.route.kind == "configured")
    asked_for = tuple(probe for probe in probes if probe.route.kind == "configured")
    about = (asked_for or probes or configured or ((run.best,) if run.best else ()))[:1]
    if command.startswith("ib-diagnose "):
        command = _with_options(command, run, asked_for or about if probes else configured or about)
    shown = probes[0] if probes else about[0] if about else None
    typed = filled_in(command, shown, between(run, shown))
    return "" if about and re.search(HOST, typed) else typed


def _with_options(command: str, run: RunView, targets: tuple[Probe, ...]) -> str:
    """The command with what was typed and matters for it, unless it says something else about that itself."""
    words = _with_another_id(command.split(), run.evidence.asked)
    looks = not words[1].startswith("-")  # `wait` and `watch`; they take one target, and no id of the user's
    at = 2 if looks else 1
    asked, options = run.evidence.asked, []
    if "--target" not in words:
        options += [f"--target {_target(probe)}" for probe in (targets[:1] if looks else targets)]
        probes = run.evidence.probes
        if not targets and probes and probes[0].route.port != DEFAULT_PORT:
            options.append(f"--port {probes[0].route.port}")
    if asked.as_a_client and "--client-versions" not in words:
        options.append(f"--client-versions {asked.min_version}..{asked.max_version}")
    if not looks:
        if asked.client_id is not None and "--client-id" not in words:
            options.append(f"--client-id {asked.client_id}")
        if not asked.session:
            options.append("--no-session")
        if asked.timeout > USUAL_TIMEOUT and "--timeout" not in words:
            options.append(f"--timeout {asked.timeout:g}")
    return " ".join((*words[:at], *options, *words[at:]))


def _with_another_id(words: list[str], asked: Asked) -> list[str]:
    """The id that is suggested is to be another one than that of the run."""
    if asked.client_id is None or words[-2:] != ["--client-id", str(asked.client_id)]:
        return words
    return [*words[:-1], str(asked.client_id + 1)]


def _target(probe: Probe) -> str:
    host = probe.route.host
    return host_and_port(host, probe.route.port) if _is_plain(host) else f"HOST:{probe.route.port}"


def _put(text: str, blank: str, value: str) -> str:
    """The value for a blank that stands alone: IB_HOST and IB_PORT are names of variables."""
    return re.sub(rf"(?<![\w-]){blank}(?!\w)", lambda _: value, text)


def _is_plain(host: str) -> bool:
    return bool(host) and set(host) <= PLAIN and host[0] != "-"
