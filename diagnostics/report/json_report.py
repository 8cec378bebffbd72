"""The report as JSON for tools.

`json_report` gives one object; a key is never missing, null means unknown or not looked at. All strings are cleaned.

    schema_version       1; grows when a key goes or changes its meaning, not when one is added
    tool_version         the ib-diagnose that looked
    created              Unix time of the run
    exit_code            what the command ends with; 5 only with --fail-on warning
    verdict              level, line, route, side, configured
    routes               route, host, port, kind, why, address, addresses, source, same_as, server_version, accounts,
                         codes, farms, stages
    routes.stages        stage, outcome, seconds, detail, error
    findings             code, slug, severity, title, seen, between, routes, fix, commands, check, candidates
    findings.candidates  code, slug, meaning, check
    facts                name, value, source, confidence
    evidence             all that was seen, as --save writes it and --from reads it

Routes are in the order they were thought of, findings in the order of importance, candidates from the likeliest on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from diagnostics.evidence import Evidence, Probe
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.place.addresses import label
from diagnostics.rules.candidates import meaning
from diagnostics.rules.diagnosis import Candidate, Diagnosis, Finding, exit_code
from diagnostics.saved_evidence import Json, plain_object
from relay.printable import printable

JSON_VERSION = 1
MAX_STRING = 2000  # characters

ROUTE_KEYS = ("address", "addresses", "source", "same_as", "server_version", "accounts", "codes", "farms", "stages")


def json_report(evidence: Evidence, diagnosis: Diagnosis, *, fail_on_warning: bool = False) -> str:
    """One JSON object, ending with a newline; its keys are named at the top of this file."""
    cleaned_evidence = cleaned_object(plain_object(evidence))
    report: dict[str, Json] = {
        "schema_version": JSON_VERSION,
        "tool_version": cleaned_evidence["tool_version"],
        "created": evidence.created,
        "exit_code": exit_code(diagnosis, fail_on_warning),
        "verdict": cleaned_object(plain_object(diagnosis.verdict)),
        "routes": [_route(probe) for probe in evidence.probes],
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "facts": cleaned_evidence["facts"],
        "evidence": cleaned_evidence,
    }
    return json.dumps(report, indent=2) + "\n"


def _route(probe: Probe) -> Json:
    known = cleaned_object(plain_object(probe))
    route = cleaned_object(plain_object(probe.route))
    return {"route": printable(label(probe.route)), **route, **{key: known[key] for key in ROUTE_KEYS}}


def _finding(finding: Finding) -> Json:
    entry = CATALOGUE[finding.code]
    return cleaned_object(
        {
            "code": finding.code,
            "slug": entry.slug,
            "severity": entry.severity,
            "title": entry.title,
            "seen": finding.message,
            "between": finding.between,
            "routes": list(finding.routes),
            "fix": finding.fix,
            "commands": list(finding.commands),
            "check": finding.check,
            "candidates": [_candidate(finding, candidate) for candidate in finding.candidates],
        }
    )


def _candidate(finding: Finding, candidate: Candidate) -> Json:
    return {
        "code": candidate.code,
        "slug": CATALOGUE[candidate.code].slug,
        "meaning": meaning(finding.code, candidate.code),
        "check": candidate.check,
    }


def cleaned_object(document: Mapping[str, Json]) -> dict[str, Json]:
    """The same with every string in it made safe."""
    return {key: cleaned(value) for key, value in document.items()}


def cleaned(value: Json) -> Json:
    """Lists and dicts with every string in them made safe."""
    if isinstance(value, str):
        return printable(value, MAX_STRING)
    if isinstance(value, dict):
        return cleaned_object(value)
    return [cleaned(item) for item in value] if isinstance(value, list) else value
