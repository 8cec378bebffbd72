"""An Evidence as JSON text, and such a text read back with every limit and type looked at.

A file may come from anywhere: from an older release, from another tool, from somebody's editor.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum

from diagnostics.evidence import SCHEMA_VERSION, Evidence, without_accounts
from relay.wire.events import mask_accounts

Json: typing.TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class EvidenceError(ValueError):
    """A text that is not a saved Evidence; the message names what was seen and what was expected."""


def dump(evidence: Evidence) -> str:
    """As JSON text, for `load`."""
    return json.dumps(plain_object(evidence), indent=2) + "\n"


def plain_object(instance: object) -> dict[str, Json]:
    """A dataclass as a dict: its fields by name, dataclasses, Enums and tuples in them as dicts, values and lists."""
    if not is_dataclass(instance) or isinstance(instance, type):
        raise TypeError(f"{type(instance).__name__}: an instance of a dataclass was expected")
    return {field.name: plain(getattr(instance, field.name)) for field in fields(instance)}


def plain(value: object) -> Json:
    """What JSON has for it; TypeError for anything that no field of an Evidence can hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return plain_object(value)


MAX_FILE = 4 << 20  # bytes; a run of 32 routes has some ten KiB
MAX_ITEMS = 1000  # of any list
MAX_NUMBER = 1e11  # Unix times until the year 5138


def load(text: str) -> Evidence:
    """Read what `dump` wrote, or the JSON report that holds it; EvidenceError for anything else, naming the place.

    Accounts that somebody put in unmasked are masked.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"not JSON: {error}") from None
    if not isinstance(found, dict) or "schema_version" not in found:
        raise EvidenceError("no evidence of ib-diagnose: an object with schema_version was expected")
    if "verdict" in found and isinstance(found.get("evidence"), dict):
        found = found["evidence"]  # a report (report/json_report.py)
    if (version := found.get("schema_version")) != SCHEMA_VERSION:
        raise EvidenceError(f"schema_version {version!r:.40} was seen, this version reads {SCHEMA_VERSION}")
    evidence = _read(Evidence, found, "evidence")
    assert isinstance(evidence, Evidence)
    return _masked(evidence)


MASKED = re.compile(r"[^*]{0,2}\*\*\*[^*]{0,3}")  # as mask_accounts leaves them


def _masked(evidence: Evidence) -> Evidence:
    """Somebody may have written into the file; what we save is masked already, and stays as it is."""
    probes = tuple(
        replace(
            probe,
            accounts=tuple(one if MASKED.fullmatch(one) else mask_accounts((one,))[0] for one in probe.accounts),
            stages=tuple(replace(result, detail=without_accounts(result.detail)) for result in probe.stages),
        )
        for probe in evidence.probes
    )
    log = evidence.gateway_log
    log = log and replace(log, dialogs=tuple(without_accounts(title) for title in log.dialogs))
    return replace(evidence, probes=probes, gateway_log=log)


def _read(annotation: object, found: object, where: str) -> object:
    """`found` as a value of the annotated type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        if found is None and type(None) in arguments:
            return None
        return _read(next(argument for argument in arguments if argument is not type(None)), found, where)
    if origin is tuple:
        return _read_list(arguments[0], found, where)
    assert isinstance(annotation, type), annotation
    if is_dataclass(annotation):
        return _read_object(annotation, found, where)
    if issubclass(annotation, Enum):
        return _read_enum(annotation, found, where)
    if annotation is float and (type(found) is int or type(found) is float):
        return _read_number(found, where)
    if type(found) is not annotation:
        raise EvidenceError(f"{where}: {annotation.__name__} was expected, {_kind(found)} was seen")
    return found


def _read_list(annotation: object, found: object, where: str) -> tuple[object, ...]:
    if not isinstance(found, list) or len(found) > MAX_ITEMS:
        raise EvidenceError(f"{where}: a list of at most {MAX_ITEMS} was expected, {_kind(found)} was seen")
    return tuple(_read(annotation, item, f"{where}[{at}]") for at, item in enumerate(found))


def _read_object(dataclass_type: type, found: object, where: str) -> object:
    if not isinstance(found, dict):
        raise EvidenceError(f"{where}: an object was expected, {_kind(found)} was seen")
    hints = typing.get_type_hints(dataclass_type)
    unknown = sorted(set(found) - set(hints))
    if unknown:
        raise EvidenceError(f"{where}: unknown key {unknown[0]!r:.40}")
    values = {name: _read(hints[name], value, f"{where}.{name}") for name, value in found.items()}
    make: Callable[..., object] = dataclass_type
    try:
        return make(**values)
    except TypeError:
        missing = [name for name in hints if name not in values]
        raise EvidenceError(f"{where}: {', '.join(missing[:3])} missing") from None


def _read_enum(enum_type: type[Enum], found: object, where: str) -> Enum:
    try:
        return enum_type(found)
    except ValueError:
        allowed = ", ".join(member.value for member in enum_type)
        raise EvidenceError(f"{where}: one of {allowed} was expected, {found!r:.40} was seen") from None


def _read_number(found: float, where: str) -> float:
    if not -MAX_NUMBER <= found <= MAX_NUMBER:  # NaN is on neither side
        raise EvidenceError(f"{where}: a number up to {MAX_NUMBER:g} was expected, {found!r:.40} was seen")
    return float(found)


def _kind(value: object) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.40}"
