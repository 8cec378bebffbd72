"""The report for tools: its keys are the documented ones, its strings are safe, its evidence can be read back."""

import json
import re

from diagnostics.evidence import Fact
from diagnostics.report import json_report as module
from diagnostics.report.json_report import json_report
from diagnostics.saved_evidence import load, plain_object
from tests.diagnostics.golden import hostile
from tests.diagnostics.report.samples import EVIL, HIDDEN, SILENCE, diagnosis, evidence


def documented() -> dict[str, str]:
    """Of the table in the docstring: key, and what is said of it."""
    table, key = {}, None
    for line in module.__doc__.splitlines():
        if match := re.match(r"    ([a-z_.]+) {2,}(.+)", line):
            key = match[1]
            table[key] = match[2]
        elif key and line.startswith(" " * 25):
            table[key] += " " + line.strip()
    return table


def test_the_keys_of_the_object_are_the_documented_ones():
    told = json.loads(json_report(evidence(facts=(Fact("os", "Linux", "here"),)), diagnosis(SILENCE)))
    assert [key for key in documented() if "." not in key] == list(told)
    route, finding = told["routes"][0], told["findings"][0]
    inside = {
        "verdict": told["verdict"],
        "routes": route,
        "routes.stages": route["stages"][0],
        "findings": finding,
        "findings.candidates": finding["candidates"][0],
        "facts": told["facts"][0],
    }
    assert {key: documented()[key].split(", ") for key in inside} == {key: list(found) for key, found in inside.items()}


def test_the_json_is_one_object_of_printable_ascii():
    told = json_report(*hostile(EVIL))
    assert told.isascii() and told.endswith("}\n")
    for text in strings(json.loads(told)):
        assert not HIDDEN.search(text)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def test_the_evidence_in_the_json_can_be_read_back():
    given = evidence(facts=(Fact("os", "Linux", "here"),))
    told = json.loads(json_report(given, diagnosis()))
    assert load(json.dumps(told["evidence"])) == given
    assert told["evidence"] == plain_object(given)
