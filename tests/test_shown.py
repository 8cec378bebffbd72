"""What others wrote is one printable, bounded line wherever it is shown: every sink, with hostile text in every field.

Three parts: that there are no other ways (the source), values through every formatter, and real peers behind every
command. Whoever adds a field or a sink is found by the first two: they take the fields from the classes themselves.
"""

import ast
import asyncio
import contextlib
import dataclasses
import functools
import json
import re
import subprocess
import sys
import threading
import types
import typing
from enum import Enum
from pathlib import Path

import pytest

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, ProbeStage, Route, StageResult
from diagnostics.looks.check import Goal, Look
from diagnostics.report.html import html_report
from diagnostics.report.json_report import json_report
from diagnostics.report.text import text_report
from diagnostics.rules.diagnose import diagnose
from diagnostics.saved_evidence import dump, load
from relay import terminal
from relay.cli.demo import _say
from relay.config.addresses import Upstream
from relay.config.load import PortMap
from relay.logs.events import EVENTS
from relay.logs.lines import json_event, json_record, text_event, text_record
from relay.logs.record import Cause, EndPhase, LogEvent, Reason, Record
from relay.manager import systemd
from relay.printable import LONGEST_LINE
from relay.service.prove import prove
from relay.wire import events, messages
from relay.wire.framing import encode_frame, join_fields
from relay.wire.hello import ClientHello, ServerHello
from relay.wire.messages import ErrorMessage, ManagedAccounts, NextValidId, StartApi
from relay.wire.observer import Observer
from relay.wire.session import ClientSession
from tests.diagnostics import commands
from tests.relay.kit.scripted import LOOPBACK, PATIENCE, Peer, free_port, wait_until
from tests.relay.kit.scripted import Upstream as Server

ROOT = Path(__file__).parents[1]
FORGED = "2026-01-01T00:00:00.000Z ERROR default #666 forged"
# A line of its own, orders for a terminal (title, clear, C1), text that reads backwards, what nobody sees, no end.
HOSTILE = (
    f"x\n{FORGED}\r\x1b]0;owned\x07\x1b[2J\x9b2J\u2028\u2029\x85\u202eback\u2066\u200b\ufeff\u0335\x00\x7fy" + "z" * 500
)
RAW = HOSTILE.encode()
OURS = re.compile(r"\x1b\[[0-9;]*m")  # the colours of a page


def check(text: str) -> None:
    """Nothing but printable lines, and no line that we have not begun."""
    assert [line for line in text.split("\n") if not line.isprintable()] == []
    assert not [line for line in text.split("\n") if line.startswith(FORGED[:20])], "a forged line"
    assert "\u0335" not in text


# The source: there is no other way.

SOURCES = {
    str(path.relative_to(ROOT)): path for house in ("relay", "diagnostics") for path in (ROOT / house).rglob("*.py")
}
# Who makes text of bytes, and why that text is not a peer's, or is not shown.
DECODES = {
    "relay/wire/peer_text.py": "the one for peers",
    "relay/wire/observer_state.py": "held bytes, as latin-1 into JSON for the next process, and back",
    "relay/config/load.py": "the configuration file",
    "relay/manager/systemd.py": "our own status line, cut at a limit of bytes",
    "relay/service/owner.py": "the command line of a process, compared; told through Teller",
    "relay/service/trial.py": "what a candidate tells its manager, understood and not shown",
    "relay/service/program.py": "a source of ours in a zipapp",
    "relay/service/render.py": "a plist of ours",
    "relay/survival/handover.py": "the answer of a successor",
    "relay/survival/inflight.py": "a memfd of ours",
    "relay/survival/numbers.py": "a memfd of ours",
    "relay/survival/state.py": "bytes in flight, as latin-1 into JSON for the next process",
    "relay/survival/upgrade.py": "the command line of a process, compared and not shown",
    "diagnostics/archive.py": "our own archive",
    "diagnostics/host/forwarders.py": "command lines; kept: ports, an address that is compared, one that was parsed",
    "diagnostics/host/log_lines.py": "a gateway's log, or a file a user names; what is told of it is made printable",
    "diagnostics/host/sockets.py": "the kernel's tables of sockets",
    "diagnostics/place/file_tree.py": "files; Reading makes them printable",
}
STREAMS = {  # who touches the standard streams themselves
    "relay/terminal.py": "the one",
    "relay/__main__.py": "before anything of ours can be imported",
    "diagnostics/__main__.py": "before anything of ours can be imported",
    "diagnostics/cli/diagnosing.py": "is somebody there to see progress?",
    "diagnostics/cli/looking.py": "is it closed?",
    "diagnostics/cli/output.py": "its encoding, and whether it is a terminal",
}
DOCUMENTS = {  # who writes to standard output what is not looked at line by line
    "relay/terminal.py": "defines it",
    "relay/cli/service.py": "the exact bytes of unit files",
    "diagnostics/cli/output.py": "reports, which the tests below look at",
}
DRAWS = {"relay/terminal.py": "defines it", "relay/cli/demo.py": "a line that is drawn over"}  # terminal.Output


@functools.cache
def nodes(name: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(SOURCES[name].read_text(encoding="utf-8"))))


def files_with(found) -> set[str]:
    return {name for name in SOURCES if any(map(found, nodes(name)))}


def _decodes(node: ast.AST) -> bool:
    """bytes.decode(...), told from our own classes' decode by what it is given."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "decode"):
        return False
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return not given or all(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in given)


def _attribute(name: str):
    return lambda node: isinstance(node, ast.Attribute) and node.attr == name


def test_one_function_says_what_is_printable():
    assert files_with(_attribute("isprintable")) == {"relay/printable.py"}


def test_bytes_become_text_where_it_is_known_what_becomes_of_it():
    assert files_with(_decodes) == set(DECODES)


def test_the_wire_puts_nothing_into_words_by_itself():
    """A reason with repr() in it has a peer's bytes in it; `peer_text.kind` says what kind they are."""
    wire = [name for name in SOURCES if name.startswith(("relay/wire/", "diagnostics/probing/", "relay/connection/"))]
    quoting = {
        (name, ast.unparse(node))
        for name in wire
        for node in nodes(name)
        if (isinstance(node, ast.FormattedValue) and node.conversion != -1)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("repr", "ascii"))
    }
    assert {name for name, _ in quoting} <= {"relay/connection/phase.py"}, quoting  # which quotes an event of its own


def test_only_these_touch_the_standard_streams():
    def touches(node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            return True
        return (
            isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr") and ast.unparse(node.value) == "sys"
        )

    assert files_with(touches) == set(STREAMS)


def test_only_these_write_what_is_not_looked_at():
    def writes(node):
        return getattr(node, "name", getattr(node, "attr", getattr(node, "id", None))) == "write_document"

    assert files_with(writes) == set(DOCUMENTS)
    users = files_with(_attribute("Output")) | files_with(
        lambda node: isinstance(node, ast.ClassDef) and node.name == "Output"
    )
    assert users == {"relay/terminal.py", "relay/cli/commands.py"}  # which gives it to the demo


# Values: every text of every class that is shown.


LONG = HOSTILE * 20


def hostile(annotation: object, given: object = None) -> object:
    """A value of that type with HOSTILE in every text of it."""
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if annotation is str:
        return HOSTILE
    if origin in (types.UnionType, typing.Union):
        return hostile(next(one for one in arguments if one is not type(None)), given)
    if origin is tuple:
        return tuple(map(hostile, [one for one in arguments if one is not Ellipsis]))
    if dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation)
        return annotation(**{field.name: hostile(hints[field.name]) for field in dataclasses.fields(annotation)})
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation))
    return {int: 1, float: 1.0, bool: True}[annotation]


TEXTS_OF_A_RECORD = [
    name
    for name, kind in Record.__annotations__.items()
    if "str" in str(kind) and name not in ("event", "connection_id")
]


def records(reason: Reason = Reason.CLIENT_CLOSED):
    """One of every kind, with hostile text in every field that holds any; map and id are words of ours."""
    values = {name: (LONG, LONG) if name == "accounts" else LONG for name in TEXTS_OF_A_RECORD}
    values |= {"map_name": "default", "ib_stage": "opaque", "connection_id": "20260101T000000-000001"}
    cause = Cause("client", "fin", reason, LONG, LONG)
    numbers = {"at": 0.0, "client_port": 1, "local_port": 2, "server_port": 3, "client_id": 7, "server_version": 176}
    numbers |= {"handshake": 1.0, "idle": 1.0, "messages_up": 1, "messages_down": 1}
    for event in ("open", "ready", "progress", "close"):
        yield Record(event=event, cause=cause, phase=EndPhase.DATA, **numbers, **values)


@pytest.mark.parametrize("reason", Reason)
def test_a_record_is_one_line_of_text_and_one_of_json(reason):
    for record in records(reason):
        for line in (text_record(record, 1), json_record(record, 1)):
            check(line)
            assert "\n" not in line
        assert len(text_record(record, 1)) <= LONGEST_LINE
        assert json.loads(json_record(record, 1))


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_one_line_of_text_and_one_of_json(name):
    event = LogEvent(name, "WARN", LONG, 0.0, dict.fromkeys(EVENTS[name].fields, LONG))
    for line in (text_event(event), json_event(event)):
        check(line)
        assert "\n" not in line
    assert len(text_event(event)) <= LONGEST_LINE


def evidences():
    """One with hostile text in every field, once for every outcome of every stage, so that most of the rules match."""
    whole = hostile(Evidence)
    for stage in ProbeStage:
        for outcome in Outcome:
            results = tuple(
                StageResult(each, Outcome.OK, 0.1, HOSTILE, HOSTILE) for each in ProbeStage if each != stage
            )
            results += (StageResult(stage, outcome, 1.0, HOSTILE, HOSTILE),)
            ordered = tuple(sorted(results, key=lambda one: list(ProbeStage).index(one.stage)))
            probe = dataclasses.replace(whole.probes[0], stages=ordered)
            twin = dataclasses.replace(probe, same_as=None, route=dataclasses.replace(probe.route, kind="configured"))
            yield dataclasses.replace(whole, probes=(probe, twin), schema_version=1)


def test_every_report_is_clean_whatever_was_seen():
    for evidence in evidences():
        diagnosis = diagnose(evidence)
        for verbose in (False, True):
            check(text_report(evidence, diagnosis, verbose=verbose))
            coloured = text_report(evidence, diagnosis, verbose=verbose, colour=True)
            check(OURS.sub("", coloured))
            assert "\x1b[31mowned" not in coloured
        for document in (html_report(evidence, diagnosis), json_report(evidence, diagnosis), dump(evidence)):
            check(document)
        again = load(dump(evidence))
        assert without_accounts(again) == without_accounts(evidence), "which are masked where somebody wrote them in"
        assert load(dump(again)) == again


def without_accounts(evidence):
    probes = tuple(dataclasses.replace(probe, accounts=()) for probe in evidence.probes)
    return dataclasses.replace(evidence, probes=probes)


def test_a_colour_of_somebody_else_is_not_taken_for_ours():
    name = "host\x1b[31mowned"
    stages = tuple(StageResult(stage, Outcome.OK, 0.1) for stage in ProbeStage)
    probe = Probe(Route(name, 4003, "name", name), stages, accounts=(name,), redirect=name)
    evidence = Evidence(0.0, "0", Asked(), probes=(probe,))
    assert "\x1b[31mowned" not in text_report(evidence, diagnose(evidence), colour=True, verbose=True)


@pytest.mark.parametrize("goal", Goal)
def test_a_look_is_one_line(goal):
    for evidence in evidences():
        for finding in ("", HOSTILE):
            line = Look(goal, HOSTILE, evidence.probes[0], finding).line
            check(line)
            assert "\n" not in line and len(line) <= LONGEST_LINE


def test_what_a_command_prints_is_clean(capsys):
    say = terminal.Teller()
    say(LONG)
    say.check()
    terminal.write(f"{LONG}\n")
    terminal.tell(LONG)
    terminal.complain(LONG)
    _say(terminal.Output(), LONG)
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert all(line.isprintable() and len(line) <= LONGEST_LINE for line in text.split("\n"))
    assert shown.err.splitlines()[-1].startswith("ib-relay: x 2026-01-01T")


def test_the_status_line_for_the_manager_is_one_assignment():
    line = systemd._status(LONG)
    assert line.startswith("STATUS=") and line.isprintable()


# Bytes: every text of a message becomes a value that can be shown.


def texts_of(value: object) -> typing.Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from texts_of(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from texts_of(getattr(value, field.name))


def conversation(version: int) -> tuple[bytes, bytes]:
    """What client and gateway say, hostile wherever the protocol has a text."""
    wild = RAW.replace(b"\0", b"")
    up = ClientHello(100, 226, wild.decode()).encode() + messages.encode(StartApi(7, wild.decode()), version)
    down = encode_frame(b"%d\0%s\0" % (version, wild))
    down += messages.encode(ErrorMessage(-1, 2104, wild.decode(), wild.decode()), version)
    if version < 201:
        down += encode_frame(join_fields(4, 2, wild, wild, wild))
    down += messages.encode(ManagedAccounts((wild.decode(), "DU1234567")), version)
    down += messages.encode(NextValidId(1), version)
    return up, down


@pytest.mark.parametrize("version", [100, 176, 201, 226])
def test_every_text_of_an_event_is_printable_and_bounded(version):
    up, down = conversation(version)
    observer, session = Observer(), ClientSession(7, max_version=226)
    found = [*observer.client_to_gateway(up, 0.0), *observer.gateway_to_client(down, 0.0)]
    session.start(0.0)
    found += session.receive(down, 0.0)
    for data in (
        b"-1\0" + b"h" * 3000 + b"\0",
        b"-1\0" + RAW + b"\0",
        b"-1\0" + b"host\x1b[2J" + b"\0",
        b"1\n6\0" + b"\0",
        b"-1\0host:4001\0",
    ):
        other, ours = Observer(), ClientSession(7)
        found += other.client_to_gateway(ClientHello(100, 176).encode(), 0.0)
        found += other.gateway_to_client(encode_frame(data), 0.0)
        ours.start(0.0)
        found += ours.receive(encode_frame(data), 0.0)
        check(ours.detail)
        for text in (other.redirect, other.opaque):
            check(text or "")
    for text in (*observer.accounts, *session.accounts, session.detail, *texts_of(observer.not_understood or ())):
        check(text)
    for event in found:
        for text in texts_of(event):
            check(text)
            assert "\n" not in text and len(text) <= 4100
    with_text = {kind for kind in typing.get_args(events.Event) if "str" in str(typing.get_type_hints(kind))}
    silent = {events.NotUnderstood} if version >= 201 else set()
    assert {type(event) for event in found} >= with_text - silent, "an event with text that nobody tries here"


# Peers: a hostile gateway, and hostile clients, behind every command.


def answering(answers: typing.Sequence[bytes]):
    """A gateway that gives the next of its answers of now whenever the client has said something, or is done."""

    def play(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            for answer in answers:
                peer.recv(4096)
                peer.sendall(answer)
            peer.read_to_end()

    return play


WILD = RAW.replace(b"\0", b"")
GREETING = (
    encode_frame(join_fields(15, 1, b"\x1b\x07" + WILD + b"\x1b[2,DU1234567"))
    + encode_frame(join_fields(4, 2, -1, 2104, WILD))
    + encode_frame(join_fields(4, 2, "U7418529", 2104, "OK"))
    + encode_frame(join_fields(9, 1, 5))
)
NOW = encode_frame(join_fields(49, 1, 1795254615))
GATEWAYS = {
    "redirect": (encode_frame(b"-1\0evil\n" + FORGED.encode() + b"\x1b]0;owned\x07\0"),),
    "redirect-with-a-port": (encode_frame(b"-1\0evil\x1b[2J\xc2\x9b\xe2\x80\xae:4001\0"),),
    "redirect-that-is-long": (encode_frame(b"-1\0" + b"h" * 4000 + b"\0"),),
    "zone": (encode_frame(b"176\0" + WILD + b"\0"), GREETING, NOW),
    "version": (encode_frame(b"1\n" + WILD + b"\0\0"),),
    "http": (b"HTTP/1.1 200 OK\r\nServer: " + WILD + b"\r\n\r\n" + WILD,),
    "text": (WILD,),
    "noise": (bytes(range(255, 127, -1)),),
    "refused": (ServerHello(176, "now").encode(), encode_frame(join_fields(4, 2, -1, 326, WILD))),
    "next-id": (ServerHello(176, "now").encode(), encode_frame(join_fields(9, 1, "U7418529\n\x1b[2J"))),
}
CLIENTS = [
    ClientHello(100, 176, WILD.decode()).encode() + messages.encode(StartApi(7, WILD.decode()), 176),
    ClientHello(100, 176).encode() + encode_frame(join_fields(71, 2, "U7418529\n\x1b[2J")),
    ClientHello(100, 176).encode() + encode_frame(b"\x1b[2J\n\0"),
    b"GET /\x1b[2J\n" + FORGED.encode() + b"\n\r\n",
    b"API\0\0\0\x00\x20v100..\x1b[2J\n" + FORGED.encode(),
    WILD,
]


@contextlib.contextmanager
def running(*words: str):
    """`ib-relay words...`, and all that it has printed so far."""
    said: list[str] = []
    command = [sys.executable, "-m", "relay", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        reader = threading.Thread(target=lambda: said.extend(line.decode() for line in process.stdout))
        reader.start()
        try:
            yield said
        finally:
            process.terminate()
            process.wait(PATIENCE)
            reader.join(PATIENCE)


def ended(port: int, data: bytes) -> None:
    """Say it, and stay until the other side ends it or has nothing more to say."""
    with contextlib.suppress(OSError), Peer.dial((LOOPBACK, port)) as peer:
        peer.sendall(data)
        peer.half_close()
        peer.read_to_end()


LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (INFO |WARN |ERROR) (default #\d+-\d+|[a-z.]+:?) ")


def test_the_text_log_and_the_proof_of_the_service():
    port, answers, proofs = free_port(), [], []
    with Server().serve(answering(answers)) as server:
        upstream = f"{LOOPBACK}:{server.port}"
        with running("run", "--listen", f"{LOOPBACK}:{port}", "--upstream", upstream, "--log-format", "text") as said:
            wait_until(lambda: any("listening" in line for line in said), "the relay listens")
            for number, answers[:] in enumerate(GATEWAYS.values(), 1):
                for data in CLIENTS:
                    ended(port, data)
                proofs.append(prove(PortMap(upstream=Upstream(LOOPBACK, server.port)), LOOPBACK, port).message)
                wanted = number * (len(CLIENTS) + 1)
                wait_until(lambda: sum(" closed after " in line for line in said) >= wanted, "every line is there")  # noqa: B023
    for line in proofs:
        check(line)
    for line in said:
        check(line)
        assert LINE.match(line), line
        assert "7418529" not in line and "]0;owned" not in line
    assert sum("redirect to what is no host" in line for line in said) > 1
    assert sum("ERR_MSG: the request id is no integer (8 bytes, letters and digits)" in line for line in said) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("gateway", GATEWAYS)
async def test_every_command_of_ib_diagnose(gateway, tmp_path):
    log, saved = tmp_path / "gateway.log", str(tmp_path / "saved")
    log.write_bytes(RAW)
    with Server().serve(answering(GATEWAYS[gateway])) as server:
        target = ("--target", f"{LOOPBACK}:{server.port}", "--timeout", "1")
        looks = [
            ("check", "--level", "session", *target),
            (*target, "-v", "--gateway-log", str(log), "--save", saved),
            *([("wait", "--for", "session", *target)] if gateway == "redirect" else []),
        ]
        shown = [await asyncio.to_thread(commands.run, *words) for words in looks]
    if gateway == "zone":
        assert "Works" in shown[1].out, "one message that cannot be read is no reason to call it no gateway"
        shown += [commands.run("--from", saved, "--format", form) for form in ("html", "json")]
    for text in (*(text for one in shown for text in (one.out, one.err)), (tmp_path / "saved").read_text()):
        check(text)
        assert "7418529" not in text


def test_the_practice_gateway_and_its_clients():
    port = free_port()
    with running("practice", "--listen", f"{LOOPBACK}:{port}") as said:
        wait_until(lambda: any("never trades" in line for line in said), "the practice gateway listens")
        for data in CLIENTS:
            ended(port, data)
        wait_until(lambda: sum(" ended after " in line for line in said) >= len(CLIENTS), "every line is there")
    for line in said:
        check(line)
        assert "7418529" not in line and not line.startswith("2026")


def test_what_a_manager_and_an_old_log_say_in_the_status_of_the_service(monkeypatch, capsys):
    """They are read from outside: the log may have been written by a release before this one."""
    from relay.cli import service
    from relay.service import report
    from relay.service.definition import Refusal

    def refused(*_):
        raise Refusal(f"systemctl said:\n{HOSTILE}")

    looked = types.SimpleNamespace(rows=[("last end", HOSTILE), (HOSTILE, HOSTILE)], code=3)
    for look, code in ((lambda *_: looked, 3), (refused, Refusal("").code)):
        monkeypatch.setattr(report, "status", look)
        with pytest.raises(SystemExit) as left:
            service.status.callback(scope="user")
        assert left.value.code == code
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert text and all(line.isprintable() for line in text.split("\n"))
