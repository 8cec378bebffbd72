"""relay/wire/heard.py: sequences of codes, and what of them is true at the end."""

import pytest

from relay.wire.heard import MAX_ANSWERS, MAX_HELD, Heard, Said, code_said, farms_named, holding_said, replayed

SEQUENCES = [
    # codes as they came, each with the farms its text named; what counts at the end
    ("", ""),
    ("2104:usfarm 2106:ushmds 2158:secdefil 2107:euhmds 2108:jfarm 2119:hfarm", ""),
    ("2103:usfarm 2104:usfarm 10089 162", "10089 162"),
    ("2110 2104:usfarm 201", "2110 201"),
    ("2103:usfarm", "2103:usfarm"),
    ("2103:usfarm 2103:cashfarm 2104:usfarm", "2103:cashfarm"),
    ("2103:usfarm 2104:cashfarm", "2103:usfarm"),
    ("2103:usfarm 2104", ""),
    ("2103 2104:cashfarm", ""),
    ("2103 2103:usfarm 2104:usfarm", ""),
    ("2103:usfarm 2119:usfarm", "2103:usfarm"),
    ("2103:usfarm 2108:usfarm", ""),
    ("2105:ushmds 2107:ushmds", ""),
    ("2105:ushmds 2104:ushmds", "2105:ushmds"),
    ("2105:ushmds 2106:ushmds", ""),
    ("2157:secdefil 2158:secdefil", ""),
    ("2103:usfarm 2103:cashfarm 2103:usfarm", "2103:cashfarm 2103:usfarm"),
    ("1100", "1100"),
    ("1100 162", "1100 162"),
    ("162 1100", "162 1100"),
    ("162 1100 1102", "162"),
    ("1100 1102", ""),
    ("1100 1101", "1101"),
    ("2110 1100 1102", ""),
    ("2110 2103:usfarm 1102", "2103:usfarm"),
    ("2110 2103:usfarm 2105:ushmds 1102:usfarm+secdefil", "2105:ushmds"),
    ("2105 1100 2103 1102 2106", "2103"),
    ("1102 1100", "1100"),
    ("2110 162 1102 162", "162"),
    ("162 200", "162 200"),
    ("162 200 162", "200 162"),
    ("326", "326"),
    ("100 2107", "100"),
    ("100 162", "100 162"),
    ("12345", "12345"),
    ("10089 2104:usfarm 0 2100", "10089"),
]


def heard(text):
    codes, _, farms = zip(*(one.partition(":") for one in text.split()), strict=True) if text else ((), (), ())
    return replayed([int(code) for code in codes], [names.replace("+", " ") for names in farms])


@pytest.mark.parametrize("codes, counting", SEQUENCES, ids=[one[0] or "nothing" for one in SEQUENCES])
def test_what_is_true_after_a_sequence_of_codes(codes, counting):
    entries = tuple(Said(int(code), farm) for code, _, farm in (one.partition(":") for one in counting.split()))
    assert heard(codes) == Heard(entries)
    assert heard(codes).last == (entries[-1].code if entries else None)


VIEWS = [
    # codes, by which IB is lost, the farms that are broken, what holds, the answers
    ("2104:usfarm", None, "", (), ()),
    ("1100 2110", 2110, "", (Said(1100), Said(2110)), ()),
    ("2110 1100 201", 1100, "", (Said(2110), Said(1100)), (201,)),
    (
        "2103 2157:secdefil",
        None,
        "market data (2103), contract data secdefil (2157)",
        (Said(2103), Said(2157, "secdefil")),
        (),
    ),
    (
        "2103:a1 2103:b2 2103:c3 2103:d4 2103:e5 2103:f6 2105",
        None,
        "market data a1 b2 c3 d4 and 2 more (2103), historical data (2105)",
        (*(Said(2103, farm) for farm in ("a1", "b2", "c3", "d4", "e5", "f6")), Said(2105)),
        (),
    ),
]


@pytest.mark.parametrize("codes, lost, broken, holding, answers", VIEWS, ids=[one[0] for one in VIEWS])
def test_the_parts_of_it(codes, lost, broken, holding, answers):
    found = heard(codes)
    assert found.farms == {said for said in holding if said.code not in (1100, 2110)}
    assert (found.upstream_lost, found.broken_farms, found.holding, found.answers) == (lost, broken, holding, answers)


def test_farms_that_are_not_known_are_of_the_kind_that_their_codes_say():
    assert replayed((2103, 2105), ("usfarm",)) == Heard((Said(2103, "usfarm"), Said(2105)))


def test_it_does_not_grow_without_end():
    found = Heard()
    for number in range(200):
        found = found.and_then(10000 + number).and_then(2103, (f"farm{number}",))
    assert found.answers == tuple(range(10200 - MAX_ANSWERS, 10200))
    assert found.holding == tuple(Said(2103, f"farm{number}") for number in range(MAX_HELD))
    found = found.and_then(1102, tuple(f"farm{number}" for number in range(MAX_HELD)))
    assert found.holding == ()


TEXTS = [
    # A code, a text as gateways write it (IbcAlpha/IBC#143, vnpy/vnpy#3084, Lean's brokerage for IB #169), its farms
    (2103, "Market data farm connection is broken:usfarm", ("usfarm",)),
    (2104, "Market data farm connection is OK:usfarm.nj", ("usfarm.nj",)),
    (2106, "HMDS data farm connection is OK:ushmds", ("ushmds",)),
    (2158, "Sec-def data farm connection is OK:secdefil", ("secdefil",)),
    (2119, "Market data farm is connecting:usfarm", ()),
    (2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds", ("ushmds",)),
    (2108, "Market data farm connection is inactive but should be available upon demand.usfarm.nj", ("usfarm.nj",)),
    (2104, "连接正常: mcgw1.ibllc.com.cn", ("mcgw1.ibllc.com.cn",)),
    (
        1102,
        (
            "Connectivity between IBKR and Trader Workstation has been restored - data maintained. All data farms are "
            "connected: eufarmnj; usfarm; ushmds; secdefnj."
        ),
        ("eufarmnj", "usfarm", "ushmds", "secdefnj"),
    ),
    (
        1101,
        (
            "... data lost. The following farms are connected: usfarm; usfarm.nj. The following farms are not "
            "connected: ushmds; cashfarm."
        ),
        ("usfarm", "usfarm.nj"),
    ),
    (1102, "Connectivity has been restored - data maintained.", ()),
    (1100, "Connectivity has been lost: usfarm", ()),
    (162, "no data:usfarm", ()),
    (2103, "Market data farm connection is broken", ()),
    (2103, "", ()),
    (2103, "broken:", ()),
    (2103, "broken:U1234567", ()),
    (2103, "broken:u1234567", ()),
    (2103, "broken:DU123.4567", ()),
    (2103, "broken:du1234567farm", ()),
    (2103, "broken:" + "x" * 33, ()),
    (2103, "broken:us\x1b[2Jfarm", ()),
    (2103, "." * 4000, ()),
    (1102, "connected:" * 400, ("connected",)),
    (1102, "All data farms are connected: U1234567; u1234567; usfarm", ()),
]


@pytest.mark.parametrize("code, text, farms", TEXTS, ids=[f"{one[0]} {one[1][:60]!r}" for one in TEXTS])
def test_the_farms_of_a_text_are_names_and_nothing_else(code, text, farms):
    assert farms_named(code, text) == farms


def test_in_words():
    said = (Said(2110), Said(2103, "usfarm"), Said(2103, "cashfarm"), Said(2105))
    assert holding_said(said) == (
        "2110 (gateway is cut off from IB and will reconnect by itself), "
        "2103 (market data farm disconnected: usfarm, cashfarm), 2105 (historical data farm disconnected)"
    )
    assert holding_said(()) == ""
    assert code_said(326) == "326 (client id already in use by another session)"
    assert code_said(12345) == "12345"
