"""Evidence and diagnoses as small as a report can have, and what must never come out of one."""

import re

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, ProbeStage, Route, StageResult
from diagnostics.findings.entry import Side
from diagnostics.rules.diagnosis import Candidate, Diagnosis, Finding, Level, Verdict

EVIL = "a\x1b[31m\x00\u202e\u2066b\x9b2J\r\nc\ud800"
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def results(*outcomes):
    """(outcome, seconds) from RESOLVE on, SKIPPED after them."""
    outcomes += ((Outcome.SKIPPED, None),) * (len(ProbeStage) - len(outcomes))
    return tuple(StageResult(stage, *outcome) for stage, outcome in zip(ProbeStage, outcomes, strict=True))


SILENT = results((Outcome.OK, 0.001), (Outcome.OK, 0.001), (Outcome.OK, 0.15), (Outcome.TIMED_OUT, 5.0))
ROUTE = Route("host.docker.internal", 4003, "name", "the host")


def evidence(*probes, **known):
    return Evidence(
        1763740000.0, "1.2.3", Asked(), probes=probes or (Probe(ROUTE, SILENT, address="172.17.0.1"),), **known
    )


def diagnosis(
    *findings, line="does not work: nothing answers", level=Level.NO_HANDSHAKE, route="host.docker.internal:4003"
):
    return Diagnosis(Verdict(level, line, route, Side.GATEWAY), findings)


SILENCE = Finding(
    "IBD303",
    "no answer in 5.0 s",
    ("host.docker.internal:4003",),
    (Candidate("IBD305", "look for CLOSE_WAIT"), Candidate("IBD304", "look at the screen")),
    ("ss -tn state close-wait '( sport = :4003 )'", "docker logs GATEWAY"),
    "Look at the gateway.",
    "On the gateway's side.",
)
