"""Requests as real clients send them, in all three forms, and what is wrong with some."""

import pytest

from relay.practice import requests
from relay.practice.requests import ForAccount, ForContract, HistoricalData, MarketData, Request
from relay.practice.stocks import Named
from relay.wire.framing import LENGTH, WireError, join_fields
from tests.relay.practice.peer import SPY_PROTOBUF, SPY_TEXT, proto

SPY = Named(756733, "SPY", "STK", "SMART", "USD")
ANY_SPY = Named(0, "SPY", "STK", "SMART", "USD")

# As recorded: ib_async at 178 (conId known), ibapi 9.81 at 157, ibapi 10.51 at 201 and 226.
HISTORY_IB_ASYNC = join_fields(20, 3, *SPY_TEXT, 0, "", "1 day", "5 D", 1, "TRADES", 1, 0, "")
HISTORY_201 = LENGTH.pack(20) + join_fields(
    4001, 0, "SPY", "STK", "", "", "", "", "SMART", "", "USD", "", "", 0, "", "1 day", "5 D", 1, "TRADES", 1, 0, ""
)
HISTORY_226 = bytes.fromhex(
    "000000dc08a11f1218080012035350591a0353544b4205534d4152545203555344220531206461792a0335204430013a065452414445534001"
)
DATA_IBAPI_981 = join_fields(1, 11, 4002, *SPY_TEXT, 0, "", 0, 0, "")
DATA_STOQEY = join_fields(1, 11, 4002, "", "SPY", "STK", "", "", "", "", "SMART", "", "USD", "", "", 0, "", 0, 0, "")
DATA_SNAPSHOT = join_fields(1, 11, 4002, *SPY_TEXT, 0, "", 1, 0, "")
DATA_226 = bytes.fromhex("000000c908a21f1218080012035350591a0353544b4205534d4152545203555344")


@pytest.mark.parametrize(
    ("payload", "version", "read", "expected"),
    [
        (
            HISTORY_IB_ASYNC,
            178,
            requests.historical_data,
            HistoricalData(3, SPY, "", "1 day", "5 D", True, "TRADES", 1, False),
        ),
        (
            HISTORY_201,
            201,
            requests.historical_data,
            HistoricalData(4001, ANY_SPY, "", "1 day", "5 D", True, "TRADES", 1, False),
        ),
        (
            HISTORY_226,
            226,
            requests.historical_data,
            HistoricalData(4001, ANY_SPY, "", "1 day", "5 D", True, "TRADES", 1, False),
        ),
        (
            join_fields(20, 3, *SPY_TEXT, 0, "20250531 00:00:00 UTC", "1 min", "60 S", 0, "MIDPOINT", 2, 1, ""),
            176,
            requests.historical_data,
            HistoricalData(3, SPY, "20250531 00:00:00 UTC", "1 min", "60 S", False, "MIDPOINT", 2, True),
        ),
        (
            LENGTH.pack(220)
            + proto((1, 3), (2, SPY_PROTOBUF), (3, "20250531"), (4, "1 min"), (5, "60 S"), (7, "BID"), (8, 2), (9, 1)),
            226,
            requests.historical_data,
            HistoricalData(3, SPY, "20250531", "1 min", "60 S", False, "BID", 2, True),
        ),
        (
            join_fields(20, 3, *SPY_TEXT, 0, "", "1 day", "5 D", 1, "BID", 1, 0, "a=b;"),
            176,
            requests.historical_data,
            HistoricalData(3, SPY, "", "1 day", "5 D", True, "BID", 1, False, True),
        ),
        (
            join_fields(50, 3, 3, *SPY_TEXT, 5, "BID", 1, ""),
            176,
            requests.real_time_bars,
            ForContract(3, SPY, 5, "BID", True),
        ),
        (
            join_fields(87, 3, *SPY_TEXT, 0, 1, "BID", 2),
            176,
            requests.head_timestamp,
            ForContract(3, SPY, what="BID", date_format=2),
        ),
        (
            join_fields(9, 8, 3, *SPY_TEXT, 0, "ISIN", "US78462F1030", ""),
            176,
            requests.contract_details,
            ForContract(3, SPY, security_id="US78462F1030"),
        ),
        (
            join_fields(1, 11, 3, *SPY_TEXT, 0, "233", 0, 1, ""),
            176,
            requests.market_data,
            MarketData(3, SPY, False, "233", True),
        ),
        (
            join_fields(76, 1, 5, "DU1", "M", 1),
            176,
            requests.account_multi,
            ForAccount(5, "DU1", model="M", ledger_only=True),
        ),
        (join_fields(62, 1, 5, "All", "A, B"), 176, requests.account_summary, (5, "All", frozenset(("A", "B")))),
        (DATA_IBAPI_981, 157, requests.market_data, MarketData(4002, SPY, False)),
        (DATA_STOQEY, 193, requests.market_data, MarketData(4002, ANY_SPY, False)),
        (DATA_SNAPSHOT, 176, requests.market_data, MarketData(4002, SPY, True)),
        (DATA_226, 226, requests.market_data, MarketData(4002, ANY_SPY, False)),
        (join_fields(6, 2, 1, "DU1"), 176, requests.account_data, ForAccount(0, "DU1", True)),
        (join_fields(6, 2, 0, ""), 176, requests.account_data, ForAccount(0, "", False)),
        (LENGTH.pack(206) + proto((1, 1), (2, "DU1")), 207, requests.account_data, ForAccount(0, "DU1", True)),
        (join_fields(76, 1, 5, "DU1", "", 0), 176, requests.account_multi, ForAccount(5, "DU1")),
        (LENGTH.pack(276) + proto((1, 5), (2, "DU1")), 207, requests.account_multi, ForAccount(5, "DU1")),
    ],
)
def test_a_request_says_the_same_in_every_form(payload, version, read, expected):
    assert read(Request(payload, version)) == expected


@pytest.mark.parametrize(
    ("payload", "version", "expected"),
    [
        (join_fields(20, 3), 176, 3),  # no version field
        (join_fields(2, 2, 3), 176, 3),  # version field first
        (join_fields(3, 45, 3), 144, 3),
        (join_fields(3, 3), 145, 3),
        (join_fields(4, 1, 3), 191, 3),
        (join_fields(4, 3), 192, 3),
        (join_fields(92, 3, "DU1"), 176, 3),
        (LENGTH.pack(292) + proto((1, 3)), 210, 3),
        (LENGTH.pack(292) + proto((1, -7)), 210, -7),
        (join_fields(61, 1), 176, None),  # has none
        (join_fields(500, 3), 176, None),  # nobody knows
        (join_fields(92, "x"), 176, None),  # unreadable
        (join_fields(92, 1 << 40), 176, None),
        (LENGTH.pack(292) + b"\x0a", 210, None),
    ],
)
def test_the_request_id_is_found_where_the_version_puts_it(payload, version, expected):
    assert Request(payload, version).request_id == expected


@pytest.mark.parametrize(
    ("payload", "version", "read"),
    [
        (join_fields(20, 3, "SPY"), 176, requests.historical_data),
        (join_fields(20, "x", *SPY_TEXT), 176, requests.historical_data),
        (b"20\x003", 176, requests.historical_data),
        (join_fields(1, 11, 3), 176, requests.market_data),
        (LENGTH.pack(201) + b"\xff\xff", 226, requests.market_data),
        (LENGTH.pack(201) + proto((1, 3), (2, 5)), 226, requests.market_data),
        (LENGTH.pack(201) + proto((1, 3), (2, b"\x0a")), 226, requests.market_data),
        (LENGTH.pack(201) + proto((1, "three")), 226, requests.market_data),
        (join_fields(6, 2), 176, requests.account_data),
        (join_fields(76, 1, "five", ""), 176, requests.account_multi),
    ],
)
def test_a_request_that_makes_no_sense_is_a_wire_error(payload, version, read):
    with pytest.raises(WireError):
        read(Request(payload, version))


@pytest.mark.parametrize(("payload", "version"), [(b"", 176), (b"\0\0", 226), (b"x\0", 176), (b"20\0", 226)])
def test_a_payload_without_a_message_id_is_a_wire_error(payload, version):
    with pytest.raises(WireError):
        Request(payload, version)


def test_names_of_contracts_are_cut_where_no_real_one_is_that_long():
    long = "X" * 100_000
    asked = requests.contract_details(
        Request(join_fields(9, 8, 1, 0, long, long, "", "", "", "", long, "", long, "", "", 0, "", ""), 176)
    )
    assert asked.contract == Named(0, "X" * 64, "X" * 64, "X" * 64, "X" * 64)


@pytest.mark.parametrize("at", [3, 4, 5, 6], ids=["expiry", "strike", "right", "multiplier"])
def test_a_field_that_no_stock_has_is_noticed_in_both_forms(at):
    text = list(SPY_TEXT)
    text[at] = "1"
    field = (at + 1, 1.0 if at in (4, 6) else "1")
    asked = [
        requests.contract_details(Request(join_fields(9, 8, 3, *text, 0, "", "", ""), 176)),
        requests.contract_details(Request(LENGTH.pack(209) + proto((1, 3), (2, SPY_PROTOBUF + proto(field))), 226)),
    ]
    assert all(one.contract.of_no_stock for one in asked)
