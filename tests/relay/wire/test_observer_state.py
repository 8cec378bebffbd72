"""relay/wire/observer_state.py: an observer taken apart at any byte and put together again goes on."""

import json
import random

import pytest

from relay.wire import observer_state
from relay.wire.framing import encode_frame, join_fields
from relay.wire.heard import replayed
from relay.wire.hello import ClientHello, Redirect, ServerHello
from relay.wire.messages import NextValidId, StartApi, encode
from relay.wire.observer import Observer
from relay.wire.stage import Stage

UP = (
    ClientHello(100, 176).encode()
    + encode(StartApi(7), 176)
    + b"".join(encode_frame(join_fields(number, "x" * number)) for number in range(1, 60))
)
DOWN = ServerHello(176, "20250101 09:30:00 EST").encode() + b"".join(
    (
        encode_frame(join_fields(4, 2, -1, 2104, "Market data farm connection is OK:usfarm")),
        encode_frame(join_fields(15, 1, "DU1234567,DU7654321")),
        encode_frame(join_fields(9, 1, 1)),
        encode_frame(join_fields(4, 2, 5, 200, "No security definition")),
        *(encode_frame(join_fields(number, "y" * number)) for number in (1, 2, 45, 46, 1, 2)),
        encode_frame(b""),
    )
)


def known(observer):
    values = observer_state.saved(observer)
    values["counts"] = observer_state.frames(observer)
    return json.loads(json.dumps(values))


def watched(upto_up, upto_down, observer=None, from_up=0, from_down=0):
    observer = observer or Observer()
    observer.client_to_gateway(UP[from_up:upto_up], 1.0)
    observer.gateway_to_client(DOWN[from_down:upto_down], 2.0)
    return observer


def cuts():
    source = random.Random(9)
    anywhere = [(source.randrange(len(UP)), source.randrange(len(DOWN))) for _ in range(300)]
    return [*anywhere, (0, 0), (len(UP), len(DOWN))]


def test_saved_and_restored_it_knows_the_same_and_goes_on():
    whole = known(watched(len(UP), len(DOWN)))
    for up, down in cuts():
        observer = observer_state.restored(json.loads(json.dumps(observer_state.saved(watched(up, down)))))
        if up < 60:
            continue  # the gateway spoke before the client's hello: opaque either way, see below
        assert observer.opaque is None
        result = known(watched(len(UP), len(DOWN), observer, up, down))
        not_compared = {"peak": 0, "request_at": 0, "start_api_at": 0}
        assert result | not_compared == whole | not_compared


def test_an_old_save_and_the_lanes_of_now_make_an_observer_that_goes_on_at_the_byte():
    whole = watched(len(UP), len(DOWN))
    for up, down in cuts():
        if up < 60 or down < 200:
            continue
        observer = watched(60, 200)
        save, frames_then = json.loads(json.dumps(observer_state.saved(observer))), observer_state.frames(observer)
        watched(up, down, observer, 60, 200)
        now, frames = observer_state.positions(observer), observer_state.frames(observer)
        again = observer_state.restored(save)
        assert observer_state.frames(again) == frames_then
        held = [None if one is None else bytes(one) for one in (now.up_held, now.down_held)]
        observer_state.advance(again, observer_state.UP, now.up, held[0], frames[0] - frames_then[0])
        observer_state.advance(again, observer_state.DOWN, now.down, held[1], frames[1] - frames_then[1])
        observer_state.raise_peak(again, now.peak)
        watched(len(UP), len(DOWN), again, up, down)
        assert again.opaque is None
        assert observer_state.frames(again) == observer_state.frames(whole)
        assert (again.messages_up, again.messages_down) == (whole.messages_up, whole.messages_down)
        assert again.requests_peak >= now.peak


LONG = (
    ServerHello(176, "").encode()
    + encode(NextValidId(1), 176)
    + encode_frame(join_fields(15, 1, ",".join(f"U{number}" for number in range(1_000_000, 1_010_000))))
    + encode_frame(join_fields(2, "y"))
)


@pytest.mark.parametrize("down", [len(LONG) - left for left in (90_000, 80_000, 9, 8, 0)])
def test_a_list_too_long_to_be_read_is_known_to_have_come_by_whoever_sees_its_end(down):
    hello = ClientHello(100, 176).encode() + encode(StartApi(7), 176)
    observer = Observer()
    observer.client_to_gateway(hello, 1.0)
    start = len(LONG) - 90_017  # behind the order id
    observer.gateway_to_client(LONG[:start], 2.0)
    save, frames_then = json.loads(json.dumps(observer_state.saved(observer))), observer_state.frames(observer)
    observer.gateway_to_client(LONG[start:down], 2.0)
    now, frames = observer_state.positions(observer), observer_state.frames(observer)
    killed = observer_state.restored(save)
    held = None if now.down_held is None else bytes(now.down_held)
    observer_state.advance(killed, observer_state.DOWN, now.down, held, frames[1] - frames_then[1])
    handed_over = observer_state.restored(json.loads(json.dumps(observer_state.saved(observer))))
    for again in (killed, handed_over) if down < len(LONG) - 8 else (handed_over,):
        again.gateway_to_client(LONG[down:], 2.0)
        assert (again.opaque, again.stage, again.accounts, again.account_count) == (None, Stage.READY, (), None)
        assert observer_state.frames(again) == (1, 3)


def test_an_observer_that_lost_sight_keeps_what_it_knew_and_looks_at_nothing_more():
    observer = watched(len(UP), len(DOWN))
    before = observer_state.frames(observer)
    observer_state.lose(observer, "the relay was restarted")
    assert observer.client_to_gateway(UP, 3.0) == observer.gateway_to_client(b"\xff" * 99, 3.0) == ()
    assert (observer.opaque, observer.stage, observer.client_id) == ("the relay was restarted", Stage.READY, 7)
    assert (observer_state.frames(observer), observer.accounts) == (before, ("DU***567", "DU***321"))


def test_the_first_reason_to_be_opaque_stays():
    observer = Observer()
    observer.client_to_gateway(b"GET / HTTP/1.1\r\n", 1.0)
    reason = observer.opaque
    observer_state.lose(observer, "another")
    assert observer.opaque == reason is not None


OTHERS = [
    ("nothing yet", b"", b""),
    ("opaque", b"GET / HTTP/1.1\r\n\r\n", b""),
    ("legacy", b"63\x00", b"76\x00"),
    (
        "with messages that could not be read",
        ClientHello(100, 176).encode(),
        ServerHello(176, "").encode() + encode_frame(join_fields(4, 2, "U1234567")) * 2,
    ),
    (
        "with codes that hold, and one that announces the end",
        ClientHello(100, 176).encode(),
        ServerHello(176, "").encode()
        + b"".join(
            encode_frame(join_fields(4, 2, -1, code, text))
            for code, text in (
                (1100, "lost"),
                (2103, "Market data farm connection is broken:usfarm"),
                (2103, "no name"),
                (1101, "back, data lost"),
                (10089, "subscription"),
                (2110, "cut off"),
                (100, "too fast"),
            )
        ),
    ),
    ("redirected", ClientHello(100, 176).encode(), Redirect("elsewhere", 4001).encode()),
]


@pytest.mark.parametrize("up, down", [one[1:] for one in OTHERS], ids=[one[0] for one in OTHERS])
def test_every_kind_of_session_comes_back_as_it_was(up, down):
    observer = Observer()
    observer.client_to_gateway(up, 1.0)
    observer.gateway_to_client(down, 1.0)
    again = observer_state.restored(json.loads(json.dumps(observer_state.saved(observer))))
    assert known(again) == known(observer)


def test_what_a_release_before_has_saved_is_read_and_made_printable():
    """0.1.0 did not count what it could not read, and kept what a gateway had said as it came."""
    values = observer_state.saved(watched(len(UP), len(DOWN))) | {
        "opaque": "gateway: forged\nline",
        "redirect": "evil\x1b[2J",
        "accounts": ["DU***\u202e67"],
    }
    del values["not_understood"], values["account_count"]
    observer = observer_state.restored(values)
    assert (observer.opaque, observer.redirect, observer.accounts, observer.not_understood) == (
        "gateway: forged line",
        "evil?[2J",
        ("DU***?67",),
        None,
    )
    assert observer.account_count == 1


@pytest.mark.parametrize("shown, count", [(0, 0), (15, 15), (16, None)])
def test_of_a_release_before_the_number_of_accounts_is_known_up_to_what_it_kept(shown, count):
    values = observer_state.saved(watched(len(UP), len(DOWN))) | {"accounts": ["DU***567"] * shown}
    del values["account_count"]
    assert observer_state.restored(values).account_count == count


@pytest.mark.parametrize("last", [None, 162, 2103, 1100, 1102, 2104])
def test_of_a_release_before_the_last_code_is_taken_over_and_can_be_taken_back(last):
    """0.1.0 kept one code: the last that was no greeting, whether it still held or not."""
    values = observer_state.saved(watched(len(UP), len(DOWN))) | {"last_error_code": last}
    del values["heard"], values["fatal"]
    observer = observer_state.restored(values)
    assert observer.heard == replayed([] if last is None else [last])
    assert observer.fatal is None
    for code in (2104, 1102):
        observer.gateway_to_client(encode_frame(join_fields(4, 2, -1, code, "back:usfarm")), 3.0)
    assert observer.heard.last == (162 if last == 162 else None)


def test_a_release_before_finds_the_last_code_where_it_looks_for_it():
    assert observer_state.saved(watched(len(UP), len(DOWN)))["last_error_code"] == 200


def test_values_that_contradict_each_other_make_it_opaque_and_raise_nothing():
    values = observer_state.saved(watched(len(UP), len(DOWN))) | {"server_version": None}
    observer = observer_state.restored(values)
    observer.gateway_to_client(encode(NextValidId(8), 176), 3.0)
    assert observer.opaque == "gateway: a frame came before the server hello"


STRANGE = [
    ("no such stage", {"stage": "flying"}),
    ("text for a number", {"server_version": "176"}),
    ("a number for text", {"redirect": 5}),
    ("no range of versions", {"client_range": [100, 176, 200]}),
    ("a count that is text", {"counts": [[9, "1"]]}),
    ("a table in no state", {"up": [-9, None]}),
    ("something held inside a frame", {"down": [7, "abc"]}),
    ("something held between frames", {"down": [0, "abcdefgh"]}),
    ("a number of accounts that is text", {"account_count": "1"}),
    ("counts that are none", {"counts": 5}),
    ("codes that are none", {"heard": [["2103", "usfarm"]]}),
    ("an announced end that is none", {"fatal": [100, "now"]}),
    ("doubts that are none", {"not_understood": [1]}),
]


@pytest.mark.parametrize("change", [one[1] for one in STRANGE], ids=[one[0] for one in STRANGE])
def test_what_is_no_observer_is_refused(change):
    values = observer_state.saved(watched(len(UP), len(DOWN))) | change
    with pytest.raises((KeyError, TypeError, ValueError)):
        observer_state.restored(values)
