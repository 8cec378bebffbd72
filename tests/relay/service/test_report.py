"""relay/service/report.py: what is said of what was seen. The looks themselves: tests/systemd/test_service.py."""

import pytest

from relay.service.report import ends_of_sessions, kept_text

MORE = "three of every session that outlives the relay, the others its own"
KEPT = [
    # descriptors, what the relay says, what is told
    (0, "", "nothing: sessions end with the relay"),
    (3, "listening on a, 0 live sessions", "3 descriptors of the relay's own; there are no live sessions"),
    (
        6,
        "listening on a, 1 live session",
        f"6 descriptors: {MORE}",
    ),
    (36, "stopping", f"36 descriptors: {MORE}"),
]


@pytest.mark.parametrize("descriptors, says, told", KEPT)
def test_descriptors_are_not_called_sessions(descriptors, says, told):
    assert kept_text(descriptors, says) == told


LINES = [
    # a line of the journal, whether it is the end of a session
    (
        "2026-11-28T05:00:00.000Z INFO  a #1 closed after 1 s: left [client_closed: by client, fin]; up 1 B",
        True,
    ),
    ("2026-11-28T05:00:00.000Z WARN  a #2 closed after 1 s: left [client_left_in_handshake: by client]; up 1 B", True),
    ("2026-11-28T05:00:00.000Z INFO  a #3 closed after 1 s: left [client_left_in_handshake: by client]; up 1 B", False),
    ("2026-11-28T05:00:00.000Z INFO  a #4 closed after 1 s: no hello [not_ib: by relay, rst]; up 1 B", False),
    ("2026-11-28T05:00:00.000Z INFO  a #5 open: 127.0.0.1:4711 on port 4003", False),
    ('{"severity_text": "INFO", "event.name": "ib_relay.connection.close", "end.reason": "client_closed"}', True),
    ('{"severity_text": "INFO", "event.name": "ib_relay.connection.close", "end.reason": "not_ib"}', False),
    ('{"severity_text": "WARN", "event.name": "ib_relay.connection.close", "end.reason": "acl_denied"}', True),
]


@pytest.mark.parametrize("line, is_end", LINES)
def test_port_checks_and_our_own_proofs_are_no_ends_of_sessions(line, is_end):
    assert ends_of_sessions([line]) == [line] * is_end
