"""Which message is protobuf since when, against recordings."""

import pytest

from relay.wire import versions
from relay.wire.direction import Direction
from relay.wire.messages import read_id
from tests.relay.wire.vectors import message_frames

UP, DOWN = Direction.CLIENT_TO_GATEWAY, Direction.GATEWAY_TO_CLIENT


@pytest.mark.parametrize(
    "direction, message_id, since",
    [
        (UP, 71, 213),
        (UP, 7, 201),
        (UP, 72, None),
        (UP, 108, 219),
        (DOWN, 4, 203),
        (DOWN, 15, 207),
        (DOWN, 9, 213),
        (DOWN, 49, 213),
        (DOWN, 47, None),
        (DOWN, 999, None),
    ],
)
def test_a_message_is_protobuf_from_its_gate_on(direction, message_id, since):
    assert versions.protobuf_since(direction, message_id) == since
    if since is not None:
        assert versions.is_protobuf(direction, message_id, since)
        assert not versions.is_protobuf(direction, message_id, since - 1)


def test_no_message_is_in_two_gates_and_none_before_binary_ids():
    for gates in versions._PROTOBUF_GATES.values():
        ids = [message_id for group in gates.values() for message_id in group]
        assert len(ids) == len(set(ids))
        assert min(gates) >= versions.BINARY_IDS and max(gates) <= versions.NEWEST


def test_every_recorded_frame_has_the_form_its_version_says():
    for run, frame in message_frames():
        message_id, is_protobuf, _ = read_id(frame.data[4:], run.server_version)
        assert is_protobuf == versions.is_protobuf(frame.direction, message_id, run.server_version), (str(run), frame)


@pytest.mark.parametrize(
    "announced, most, said",
    [
        (176, 223, "server version 176"),
        (176, 176, "server version at least 176"),
        (100, 176, "server version 100"),
    ],
)
def test_an_answer_with_our_maximum_says_only_the_least_the_gateway_speaks(announced, most, said):
    assert versions.version_said(announced, most) == said
    more = " (we ask for no more)" if announced == most else ""
    assert versions.version_said(announced, most, explained=True) == said + more
