"""The message tables, against recordings and against each other."""

import pytest

from relay.wire import message_values, names, protobuf_form, text_form, versions
from relay.wire.direction import Direction
from relay.wire.messages import MAX_ID
from tests.relay.wire.vectors import message_frames

UP, DOWN = Direction.CLIENT_TO_GATEWAY, Direction.GATEWAY_TO_CLIENT
TABLES = [(UP, names.CLIENT_TO_GATEWAY, 85), (DOWN, names.GATEWAY_TO_CLIENT, 87)]


@pytest.mark.parametrize(
    "direction, message_id, name",
    [
        (UP, 71, "START_API"),
        (UP, 4, "CANCEL_ORDER"),
        (DOWN, 4, "ERR_MSG"),
        (UP, 49, "REQ_CURRENT_TIME"),
        (DOWN, 49, "CURRENT_TIME"),
        (DOWN, -1, "END_CONN"),
        (DOWN, 60, "UNKNOWN_60"),
        (UP, 999, "UNKNOWN_999"),
    ],
)
def test_an_id_means_what_its_direction_says(direction, message_id, name):
    assert names.message_name(direction, message_id) == name


def test_the_messages_that_are_read_have_the_names_of_the_tables():
    read = {key: names.message_name(*key) for key in (*text_form.READERS, *protobuf_form.READERS)}
    assert read == message_values.NAMES


@pytest.mark.parametrize("direction, table, size", TABLES)
def test_tables_are_complete_and_within_the_range_of_ids(direction, table, size):
    assert len(table) == size
    assert len(set(table.values())) == size
    assert all(-1 <= message_id < MAX_ID for message_id in table)


@pytest.mark.parametrize("direction, table, size", TABLES)
def test_every_message_with_a_protobuf_form_has_a_name(direction, table, size):
    gated = {i for i in range(MAX_ID) if versions.protobuf_since(direction, i) is not None}
    assert gated - table.keys() == set()


def test_the_recordings_use_a_good_part_of_both_tables():
    seen = {(frame.direction, frame.name) for _, frame in message_frames()}
    assert len(seen) >= 30
    assert {name for direction, name in seen if direction is UP} <= set(names.CLIENT_TO_GATEWAY.values())
    assert {name for direction, name in seen if direction is DOWN} <= set(names.GATEWAY_TO_CLIENT.values())
