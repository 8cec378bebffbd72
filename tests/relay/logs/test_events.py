"""relay/logs/events.py: the tables have what the relay says, all of it and nothing else."""

import ast
import json
from pathlib import Path
from typing import get_args

import pytest

from relay.logs.backlog import Backlog
from relay.logs.ends import Ends, FirstEnd, Later
from relay.logs.events import EVENTS, RECORD_FIELDS, EventName
from relay.logs.lines import json_record
from relay.logs.record import Cause, EndPhase, Reason, Record
from relay.wire.heard import Said

RELAY = Path(__file__).resolve().parents[3] / "relay"


def events_said() -> dict[str, set[str]]:
    """Every name of an event in a call of `event` or `LogEvent`, and the fields it is called with anywhere."""
    said: dict[str, set[str]] = {}
    for path in RELAY.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for name, fields in calls_in(function):
                    said.setdefault(name, set()).update(fields)
    return said


def calls_in(function):
    dicts = {
        node.targets[0].id: keys_of(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(function):
        called = isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called not in ("event", "LogEvent") or not (node.args and isinstance(node.args[0], ast.Constant)):
            continue
        fields = set()
        for keyword in node.keywords:
            if keyword.arg is None:
                fields |= dicts[keyword.value.id] if isinstance(keyword.value, ast.Name) else keys_of(keyword.value)
            elif keyword.arg != "severity":
                fields.add(keyword.arg)
        if called == "LogEvent":
            fields |= keys_of(node.args[4])
        yield node.args[0].value, fields


def keys_of(node: ast.Dict) -> set[str]:
    return {key.value for key in node.keys if isinstance(key, ast.Constant)}


def test_every_event_and_every_field_has_its_place_in_the_table():
    assert events_said() == {name: set(kind.fields) for name, kind in EVENTS.items()}
    assert set(get_args(EventName)) == set(EVENTS)


FULL = Record(
    event="close",
    at=1735741800.5,
    connection_id="20250101T143000-000412",
    map_name="paper",
    client_address="172.18.0.5",
    client_port=50412,
    local_port=4003,
    server_address="127.0.0.1",
    server_port=4002,
    backlogs=(Backlog(0, 60, True, 1.5), Backlog(7, 60, True, 61.5)),
    cause=Cause("upstream", "rst", Reason.UPSTREAM_RESET, "a detail", "ECONNRESET"),
    phase=EndPhase.DATA,
    ib_stage="ready",
    holding=(Said(2103, "usfarm"),),
    error_codes=(162,),
    announced=100,
    redirect="zdc1.example",
    ends=Ends(
        FirstEnd("upstream", "fin", 0.5, "ready", waited=0.25),
        (Later("upstream", "rst", 0.1),),
        (("PLACE_ORDER", 1),),
        60,
    ),
    not_understood="2 messages, the first: gateway: ERR_MSG: too few fields",
)
OPTIONAL = {"end.waited_s", "end.then", "end.late_messages", "end.late_bytes"}
OPTIONAL |= {"ib.holding", "ib.error_codes", "end.ib_code"}
MAY_BE_MISSING = {"ib.redirect", "ib.not_understood", "end.detail", "error.type", *OPTIONAL}
ENDED = "after a side's end"
LOOKED = "progress, close"


@pytest.mark.parametrize(
    "record, kinds",
    [
        (FULL._replace(event="open", ends=None, backlogs=()), {"all"}),
        (FULL._replace(event="open", ib_stage=None, ends=None, backlogs=()), {"all"}),
        (FULL._replace(event="ready", ends=None, backlogs=()), {"all", "not open", "IB, not open"}),
        (FULL._replace(event="progress", ib_stage=None), {"all", "not open", LOOKED, ENDED}),
        (FULL._replace(ib_stage=None, ends=None), {"all", "not open", LOOKED, "close"}),
        (FULL, {"all", "not open", "IB, not open", LOOKED, "close", ENDED}),
    ],
    ids=lambda value: f"{value.event} {value.ib_stage}" if isinstance(value, Record) else "",
)
def test_a_record_has_the_fields_of_the_table_in_its_order(record, kinds):
    assert list(json.loads(json_record(record, 0))) == [row.name for row in RECORD_FIELDS if row.records in kinds]


def test_only_these_may_be_missing():
    ends = Ends(FULL.ends.first._replace(waited=None))
    cause = FULL.cause._replace(detail=None, error_type=None)
    bare = FULL._replace(redirect=None, not_understood=None, cause=cause, ends=ends)
    bare = bare._replace(holding=(), error_codes=(), announced=None)
    missing = {row.name for row in RECORD_FIELDS} - set(json.loads(json_record(bare, 0)))
    assert (
        missing
        == MAY_BE_MISSING
        == {row.name for row in RECORD_FIELDS if "may be missing" in row.meaning}
        | {row.name for row in RECORD_FIELDS if "missing if" in row.meaning}
    )


def test_what_the_kernels_were_not_asked_or_did_not_tell_is_missing():
    looked = [row.name for row in RECORD_FIELDS if row.records == LOOKED]
    for backlogs in ((), (Backlog(7, None, None, None),) * 2):
        fields = set(json.loads(json_record(FULL._replace(backlogs=backlogs), 0)))
        assert {row.name for row in RECORD_FIELDS} - fields == set(looked)
    fields = set(json.loads(json_record(FULL._replace(backlogs=(Backlog(0, 7, False, 5.0),) * 2), 0)))
    assert set(looked) - fields == {"ib_relay.blocked.up_s", "ib_relay.blocked.down_s"}
