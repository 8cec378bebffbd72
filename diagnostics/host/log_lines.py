"""Lines of a log: its bytes to text, and each line to who wrote it, when, and what it says.

A line may carry the marks of everything it came through: docker's json-file, `docker logs -t`, `docker compose logs`,
kubectl, containerd, journald, a logger of Python. They are taken off from the left, however many there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

MAX_TEXT = 16 << 20  # characters, from the end: a week of a talkative gateway
MAX_LINE = 2000  # characters looked at; IBC's lines are short, Java's dumps are not and say nothing to us
MAX_MARKS = 8  # of one line
SAMPLE = 4096  # bytes that tell an encoding
JSON_LONGER = 1000  # characters that the marks of json-file and its escapes may add to a line


class Speaker(Enum):
    """Which program a line shows to have written it, by a form that no other program uses."""

    IBC = "IBC: "
    GATEWAY = "[JTS-Main] - "  # the gateway's own log, launcher.log and ibgateway.DATE.log
    AUTOMATER = "OnIbAutomaterOutputDataReceived(): "  # QuantConnect's, in the log of Lean
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line without its marks. `at` is in seconds of Unix time, or as if the log's own clock were UTC."""

    text: str
    speaker: Speaker = Speaker.UNKNOWN
    service: str = ""  # as docker compose, kubectl or journald name it; "" where the line does not say
    at: float | None = None
    has_zone: bool = False  # `at` is Unix time


def decode(data: bytes) -> str:
    """The text of a log or of another file: UTF-8 or UTF-16, with or without a mark, else Latin-1. Never raises."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    sample = data[:SAMPLE]
    for name, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if zeros and zeros.count(0) > len(zeros) // 2:  # Latin letters have a zero byte each
            return data.decode(name, "replace").removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The end of a long log may begin within a letter, and a copy made while it is written may end there.
        broken_inside = 3 < error.start < len(data) - 3
        return data.decode("latin-1" if broken_inside else "utf-8", "replace")


def lines(text: str) -> Iterator[LogLine]:
    """Every line of the end of a log."""
    return map(read_line, text[-MAX_TEXT:].splitlines())


ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A name that docker compose, or `kubectl logs --prefix`, puts before a line. Portainer leaves the name out.
COMPOSE = re.compile(r"([A-Za-z0-9][\w.-]{0,80}) *\| ?|\| ")
POD = re.compile(r"\[pod/([\w./-]{1,200})\] ")
CONTAINERD = re.compile(r"(?:stdout|stderr) [FP] ")
# Without a date before it or a number behind the name it could be any "word word: ".
JOURNAL = re.compile(
    r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,80} (?=[\w.@/-]{1,80}(?:\[\d+\])?: )|"
    r"[\w.-]{1,80} (?=[\w.@/-]{1,80}\[\d+\]: |kernel: ))([\w.@/-]+)(?:\[\d+\])?: "
)
STAMP = re.compile(
    r"\[?(\d{4})([-/]?)(\d\d)\2(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,:](\d{1,9}))?"
    r" ?(Z|UTC|[+-]\d\d:?\d\d)?\]?(?![\w:])"
)
LEVEL = re.compile(r"(?:- )?(?:DEBUG|INFO|WARNING|ERROR)(?: -)? (?=\d{4}-\d\d-\d\d[T ])")
GATEWAY = re.compile(r"\[\w\w\] (?:INFO|WARN|ERROR|DEBUG) +\[[^\]]{1,80}\] - [- ]*")
AUTOMATER = re.compile(r"(?:(?:TRACE|ERROR|DEBUG):: )?(?:\w{1,80}\.)?OnIbAutomater\w{1,40}\(\): ")
STARTED_ON = re.compile(r"(?:Starting IBC version).{0,40} on (\d{4}-\d\d-\d\d) at (\d\d:\d\d:\d\d)", re.IGNORECASE)
EXITED = re.compile(r"([A-Za-z0-9][\w.-]{0,80}) (exited with code \d+.*)")


def read_line(line: str) -> LogLine:
    """One line, whatever it is."""
    rest, at, has_zone = _of_json_file(line), None, False
    rest, service = ESCAPE.sub("", rest[:MAX_LINE]).lstrip("\ufeff "), ""
    for _ in range(MAX_MARKS):
        rest = rest.lstrip()
        if found := STAMP.match(rest):
            moment = _moment(found)
            if moment is not None and (at is None or (found[9] and not has_zone)):
                at, has_zone = moment, bool(found[9])
        elif not service and (found := COMPOSE.match(rest) or POD.match(rest) or JOURNAL.match(rest)):
            service = found[1] or ""
        else:
            found = CONTAINERD.match(rest) or LEVEL.match(rest)
        if found is None:
            break
        rest = rest[found.end() :]
    if not service and (found := EXITED.fullmatch(rest.rstrip())):
        service, rest = found[1], found[2]
    if at is None and (found := STARTED_ON.search(rest)):
        at = _moment(STAMP.match(f"{found[1]} {found[2]}"))
    speaker, said = _speaker(rest)
    return LogLine(said, speaker, service, at, has_zone)


def _of_json_file(line: str) -> str:
    """What is in a line of docker's json-file, after its time; any other line as it is."""
    if not line.startswith('{"log":') or len(line) > MAX_LINE + JSON_LONGER:
        return line
    try:
        found = json.loads(line)
        return f"{found.get('time', '')} {str(found['log']).rstrip()}"
    except (ValueError, RecursionError):
        return line


def _speaker(text: str) -> tuple[Speaker, str]:
    if text[:5].upper() == "IBC: ":
        return Speaker.IBC, text[5:]
    if found := GATEWAY.match(text):
        return Speaker.GATEWAY, text[found.end() :]
    if found := AUTOMATER.match(text):
        return Speaker.AUTOMATER, text[found.end() :]
    return Speaker.UNKNOWN, text


def _moment(found: re.Match[str] | None) -> float | None:
    """The seconds of a STAMP; None for a time that no calendar has."""
    if found is None:
        return None
    zone = "" if found[9] in (None, "Z", "UTC") else f"{found[9][:3]}:{found[9][-2:]}"
    date, clock = f"{found[1]}-{found[3]}-{found[4]}", f"{found[5]}:{found[6]}:{found[7]}"
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{zone}")
        return (moment if zone else moment.replace(tzinfo=UTC)).timestamp() + float(f"0.{found[8] or 0}")
    except (OverflowError, ValueError):
        return None
