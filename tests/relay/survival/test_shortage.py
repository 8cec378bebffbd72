"""relay/survival/shortage.py: what is said of sessions that the service manager has no room for."""

import pytest

from relay.survival import shortage
from relay.survival.shortage import Shortage, outlived, shortage_ahead
from tests.relay.test_server import Lines


def test_it_is_said_once_and_again_after_a_while_and_a_kill_s_share_is_noted(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(shortage, "monotonic", lambda: now)
    log, noted = Lines(), []
    said = Shortage(log, noted.append)
    for count, exposed in ((1, 0), (2, 1), (1, 1), (0, 0), (1, 0)):
        said.changed(count, exposed, 7)
    assert [len(log.named("keep.full")), said.count, noted] == [1, 1, [0, 1, 1, 0, 0]]
    assert "no room for more than 7 sessions" in log.named("keep.full")[0]
    said.changed(0, 0, 7)
    now += shortage.SAY_AGAIN
    said.changed(1, 0, 7)
    assert len(log.named("keep.full")) == 2


@pytest.mark.parametrize("admitted, room, warned", [(512, 512, 0), (512, 600, 0), (513, 512, 1)])
def test_it_is_said_before_any_session_where_more_are_let_in_than_kept(admitted, room, warned):
    assert len(shortage_ahead(admitted, room)) == warned


OUTLIVED = [
    ((1, 0, 0, "a restart", ""), "1 session outlived a restart"),
    (
        (2, 1, 0, "the upgrade", ", after a pause of 9 ms"),
        "2 sessions outlived the upgrade, after a pause of 9 ms, 1 did not",
    ),
    (
        (0, 0, 3, "a restart", ""),
        "0 sessions outlived a restart, 3 ended with the old process, as there was no room to keep them",
    ),
]


@pytest.mark.parametrize("given, said", OUTLIVED)
def test_what_became_of_the_sessions(given, said):
    assert outlived(*given) == said
