"""Bytes to text and lines to (service, speaker, time, text): every mark that a line can carry, and any line at all."""

import json

import pytest

from diagnostics.host.log_lines import MAX_LINE, LogLine, Speaker, decode, lines, read_line

TEN = 1_767_607_200.0  # 2026-01-05 10:00:00 UTC
IBC = "2026-01-05 10:00:00:123 IBC: Login attempt: 1"
JTS = "2026-01-05 10:00:00.500 [QH] INFO  [JTS-SocketListener-58] - API server listening on port 4001"
SAYS = "Login attempt: 1"
IN_JSON = json.dumps({"log": f"{IBC}\n", "stream": "stdout", "time": "2026-01-05T10:00:02.5Z"})

# name -> (line, what it is)
LINES = {
    "IBC": (IBC, LogLine(SAYS, Speaker.IBC, "", TEN + 0.123)),
    "IBC without a time": ("IBC: Login attempt: 1", LogLine(SAYS, Speaker.IBC)),
    "docker logs -t": (
        f"2026-01-05T10:00:01.123456789Z {IBC}",
        LogLine(SAYS, Speaker.IBC, "", TEN + 1.123456789, True),
    ),
    "a zone": ("2026-01-05T11:00:01+01:00 Killed", LogLine("Killed", Speaker.UNKNOWN, "", TEN + 1, True)),
    "a zone without a colon": ("2026-01-05T05:00:01-0500 a", LogLine("a", Speaker.UNKNOWN, "", TEN + 1, True)),
    "docker compose": (f"ib-gateway-1  | {IBC}", LogLine(SAYS, Speaker.IBC, "ib-gateway-1", TEN + 0.123)),
    "docker compose -t": (
        f"ib-gateway  | 2026-01-05T10:00:01.000Z {IBC}",
        LogLine(SAYS, Speaker.IBC, "ib-gateway", TEN + 1, True),
    ),
    "docker compose with colours": (
        f"\x1b[36mib-gateway-1  |\x1b[0m {IBC}",
        LogLine(SAYS, Speaker.IBC, "ib-gateway-1", TEN + 0.123),
    ),
    "a viewer that leaves the name out": (
        f"  | 2026-01-05T10:00:01.000-00:00 | {IBC}",
        LogLine(SAYS, Speaker.IBC, "", TEN + 1, True),
    ),
    "json-file": (IN_JSON, LogLine(SAYS, Speaker.IBC, "", TEN + 2.5, True)),
    "json-file, cut off": (IN_JSON[:40], LogLine(IN_JSON[:40])),
    "kubectl --prefix": (f"[pod/gateway-0/ib] {IBC}", LogLine(SAYS, Speaker.IBC, "gateway-0/ib", TEN + 0.123)),
    "containerd": (f"2026-01-05T10:00:01Z stdout F {IBC}", LogLine(SAYS, Speaker.IBC, "", TEN + 1, True)),
    "journald": ("Jan  5 10:00:00 box ibgateway[77]: Killed", LogLine("Killed", Speaker.UNKNOWN, "ibgateway")),
    "journald, short-iso": (
        f"2026-01-05T10:00:01+0000 box ibgateway[77]: {IBC}",
        LogLine(SAYS, Speaker.IBC, "ibgateway", TEN + 1, True),
    ),
    "the kernel": (
        "Jan  5 10:00:00 box kernel: Out of memory: Killed process 77 (java)",
        LogLine("Out of memory: Killed process 77 (java)", Speaker.UNKNOWN, "kernel"),
    ),
    "a logger of Python before docker's time": (
        f"2026-01-05 10:00:03,174 - INFO - 2026-01-05T10:00:01Z {IBC}",
        LogLine(SAYS, Speaker.IBC, "", TEN + 1, True),
    ),
    "the gateway's own log": (
        JTS,
        LogLine("API server listening on port 4001", Speaker.GATEWAY, "", TEN + 0.5),
    ),
    "Lean": (
        "20260105 10:00:00.500 TRACE:: InteractiveBrokersBrokerage.OnIbAutomaterOutputDataReceived(): 2FA",
        LogLine("2FA", Speaker.AUTOMATER, "", TEN + 0.5),
    ),
    "socat": ("2026/01/05 10:00:00 socat[90] E connect(5", LogLine("socat[90] E connect(5", at=TEN)),
    "IBC's script": (
        "Starting IBC version 3.23.0 on 2026-01-05 at 10:00:00",
        LogLine("Starting IBC version 3.23.0 on 2026-01-05 at 10:00:00", at=TEN),
    ),
    "compose tells of an end": (
        "ib-gateway-1 exited with code 4",
        LogLine("exited with code 4", service="ib-gateway-1"),
    ),
    "no service": ("Login failed: a reason", LogLine("Login failed: a reason")),
    "no time": ("2026-13-45 10:00:00 text", LogLine("text")),
    "a time that is none": ("2026-01-05 10:00 text", LogLine("2026-01-05 10:00 text")),
    "nothing": ("", LogLine("")),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_who_when_and_what(name):
    line, wanted = LINES[name]
    found = read_line(line)
    assert found.at == (None if wanted.at is None else pytest.approx(wanted.at, abs=1e-6))
    assert (found.text, found.speaker, found.service) == (wanted.text, wanted.speaker, wanted.service)
    assert found.has_zone == wanted.has_zone


TEXT = "Starting IBC version 3\nZ\u00fcrich\n"
ENCODED = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with a byte order mark": TEXT.encode("utf-8-sig"),
    "UTF-16, as PowerShell writes it": TEXT.encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "the end of a UTF-16 file": TEXT.encode("utf-16-le"),
    "the end of one of the other order": TEXT.encode("utf-16-be"),
    "Latin-1": TEXT.encode("latin-1"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_a_log_is_text_in_any_usual_encoding(name):
    assert decode(ENCODED[name]) == TEXT


@pytest.mark.parametrize(
    "data, text",
    [
        (b"", ""),
        (b"\xbcrich\nKilled\n", "\ufffdrich\nKilled\n"),  # the end of a long file began within a letter
        (b"Killed\nZ\xc3", "Killed\nZ\ufffd"),
        (b"\xff\xfe\x00", "\ufffd"),
        (b"\0" * 9, "\0" * 4 + "\ufffd"),
    ],
)
def test_broken_bytes_do_no_harm(data, text):
    assert decode(data) == text


@pytest.mark.parametrize(
    "line",
    ["\0", "\ud800", "|" * 5000, "- " * 5000, "2026-01-05 " * 500, '{"log":' * 900, "[pod/" * 500, "\x1b[" * 3000],
)
def test_any_line_is_read_within_bounds(line):
    found = read_line(line)
    assert len(found.text) <= MAX_LINE and len(found.service) <= 200


def test_lines_may_end_in_any_way():
    assert [line.text for line in lines("a\r\nb\rc\nd")] == ["a", "b", "c", "d"]
