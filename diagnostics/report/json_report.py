"""The report as JSON for tools.

`json_text` gives one object; a key is never missing, null means unknown or not looked at. All strings are cleaned.

    schema_version       1; grows when a key goes or changes its meaning, not when one is added
    tool_version         the ib-diagnose that looked
    created              Unix time of the run
    exit_code            what the command ends with; 5 only with --fail-on warning
    verdict              level, line, route, side
    routes               route, host, port, kind, why, address, addresses, source, same_as, server_version, accounts,
                         codes, stages
    routes.stages        stage, outcome, seconds, detail, error
    findings             code, slug, severity, title, seen, routes, fix, commands, check, candidates
    findings.candidates  code, slug, meaning, check
    facts                name, value, source, confidence
    evidence             all that was seen, as --save writes it and --from reads it

Routes are in the order they were thought of, findings in the order of importance, candidates from the likeliest on.
"""

from __future__ import annotations

import json

from diagnostics.evidence import Evidence, plain
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.place.routes import label
from diagnostics.report.table import clean
from diagnostics.rules.candidates import meaning
from diagnostics.rules.diagnosis import Diagnosis, Finding, exit_code

JSON_VERSION = 1


def json_text(evidence: Evidence, diagnosis: Diagnosis, *, fail_on_warning: bool = False) -> str:
    """One JSON object, ending with a newline; its keys are told at the top of this file."""
    seen = cleaned(plain(evidence))
    whole = {
        "schema_version": JSON_VERSION,
        "tool_version": seen["tool_version"],
        "created": evidence.created,
        "exit_code": exit_code(diagnosis, fail_on_warning),
        "verdict": cleaned(plain(diagnosis.verdict)),
        "routes": [
            _json_route(probe, label(one.route)) for probe, one in zip(seen["probes"], evidence.probes, strict=True)
        ],
        "findings": [_json_finding(finding) for finding in diagnosis.findings],
        "facts": seen["facts"],
        "evidence": seen,
    }
    return json.dumps(whole, indent=2) + "\n"


ROUTE_KEYS = ("address", "addresses", "source", "same_as", "server_version", "accounts", "codes", "stages")


def _json_route(probe: dict, name: str) -> dict:
    return {"route": clean(name), **probe["route"], **{key: probe[key] for key in ROUTE_KEYS}}


def _json_finding(finding: Finding) -> dict:
    entry = CATALOGUE[finding.code]
    return cleaned(
        {
            "code": finding.code,
            "slug": entry.slug,
            "severity": entry.severity,
            "title": entry.title,
            "seen": finding.message,
            "routes": list(finding.routes),
            "fix": entry.fix,
            "commands": list(finding.commands),
            "check": entry.check,
            "candidates": [
                {
                    "code": one.code,
                    "slug": CATALOGUE[one.code].slug,
                    "meaning": meaning(finding.code, one.code),
                    "check": one.check,
                }
                for one in finding.candidates
            ],
        }
    )


def cleaned(value):
    """Lists and dicts with every string in them made safe."""
    if isinstance(value, str):
        return clean(value, 2000)
    if isinstance(value, dict):
        return {key: cleaned(one) for key, one in value.items()}
    return [cleaned(one) for one in value] if isinstance(value, list) else value
