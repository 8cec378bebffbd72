"""The bytes of answers per server version, compared with frames that real clients accepted."""

import struct

import pytest

from relay.practice.answers import LAST_TIMESTAMP, Answers
from relay.practice.market import Bar, Contract, Quote
from relay.wire.framing import LENGTH, FrameReader, join_fields, split_fields
from relay.wire.protobuf import read_fields
from tests.relay.practice.peer import proto

VERSIONS = (157, 176, 200, 201, 203, 207, 208, 213, 226)
BAR = Bar(1_763_424_000, 100.0, 101.5, 99.5, 100.75, 12345, 100.5, 321)
BAR_PROTOBUF = proto(
    (1, "20261118"), (2, 100.0), (3, 101.5), (4, 99.5), (5, 100.75), (6, "12345"), (7, "100.5"), (8, 321)
)
START, END = "20200101 00:00:00", "20200201 00:00:00"


def text(number, *fields):
    return join_fields(number, *fields)


def binary(number, *fields):
    return LENGTH.pack(number) + join_fields(*fields)


def protobuf(number, *pairs):
    return LENGTH.pack(number + 200) + proto(*pairs)


@pytest.mark.parametrize(
    ("version", "encode", "payloads"),
    [
        (176, lambda a: a.tick_price(4002, 1, 100.0, 100), [b"1\x006\x004002\x001\x00100.0\x00100\x001\x00"]),
        (205, lambda a: a.tick_price(4002, 1, 100.0, 100), [b"\0\0\0\x016\x004002\x001\x00100.0\x00100\x001\x00"]),
        (
            206,
            lambda a: a.tick_price(4002, 1, 100.0, 100),
            [bytes.fromhex("000000c908a21f1001190000000000005940220331303028") + b"\1"],
        ),
        (176, lambda a: a.tick_size(4002, 0, 102), [b"2\x006\x004002\x000\x00102\x00"]),
        (213, lambda a: a.tick_size(4002, 0, 102), [b"\0\0\0\xca\x08\xa2\x1f\x10\x00\x1a\x03102"]),
        (176, lambda a: a.tick_string(4002, LAST_TIMESTAMP, "17"), [b"46\x006\x004002\x0045\x0017\x00"]),
        (226, lambda a: a.tick_string(4002, LAST_TIMESTAMP, "17"), [b"\0\0\0\xf6\x08\xa2\x1f\x10-\x1a\x0217"]),
        (176, lambda a: a.tick_request_parameters(4002), [b"81\x004002\x000.01\x009c0001\x003\x00"]),
        (213, lambda a: a.tick_request_parameters(4002), [b"\0\0\1\x19\x08\xa2\x1f\x12\x040.01\x1a\x069c0001 \x03"]),
        (200, lambda a: a.market_data_type(4002, 1), [b"58\x001\x004002\x001\x00"]),
        (207, lambda a: a.market_data_type(4002, 1), [b"\0\0\1\2\x08\xa2\x1f\x10\x01"]),
        (176, lambda a: a.tick_snapshot_end(3), [text(57, 1, 3)]),
        (226, lambda a: a.tick_snapshot_end(3), [protobuf(57, (1, 3))]),
        (176, lambda a: a.position_end(), [b"62\x001\x00"]),
        (206, lambda a: a.position_end(), [binary(62, 1)]),
        (207, lambda a: a.position_end(), [b"\0\0\1\x06"]),
        (176, lambda a: a.open_order_end(), [b"53\x001\x00"]),
        (203, lambda a: a.open_order_end(), [b"\0\0\0\xfd"]),
        (176, lambda a: a.completed_orders_end(), [b"102\x00"]),
        (203, lambda a: a.completed_orders_end(), [b"\0\0\0\x66"]),
        (204, lambda a: a.completed_orders_end(), [b"\0\0\x01\x2e"]),
        (176, lambda a: a.execution_end(2), [b"55\x001\x002\x00"]),
        (201, lambda a: a.execution_end(2), [protobuf(55, (1, 2))]),
        (176, lambda a: a.position_multi_end(2), [text(72, 1, 2)]),
        (
            176,
            lambda a: a.account_value("NetLiquidation", "1000000.00", "USD", "DU1234567"),
            [b"6\x002\x00NetLiquidation\x001000000.00\x00USD\x00DU1234567\x00"],
        ),
        (
            207,
            lambda a: a.account_value("NetLiquidation", "1", "USD", "DU1"),
            [protobuf(6, (1, "NetLiquidation"), (2, "1"), (3, "USD"), (4, "DU1"))],
        ),
        (176, lambda a: a.account_update_time("09:50"), [b"8\x001\x0009:50\x00"]),
        (176, lambda a: a.account_download_end("DU1234567"), [b"54\x001\x00DU1234567\x00"]),
        (
            176,
            lambda a: a.account_update_multi(1, "DU1", "NetLiquidation", "1", "USD"),
            [b"73\x001\x001\x00DU1\x00\x00NetLiquidation\x001\x00USD\x00"],
        ),
        (
            226,
            lambda a: a.account_update_multi(1, "DU1", "NetLiquidation", "1", "USD"),
            [protobuf(73, (1, 1), (2, "DU1"), (3, ""), (4, "NetLiquidation"), (5, "1"), (6, "USD"))],
        ),
        (176, lambda a: a.account_update_multi_end(1), [b"74\x001\x001\x00"]),
        (
            176,
            lambda a: a.account_summary(1, "DU1", "BuyingPower", "4", "USD"),
            [text(63, 1, 1, "DU1", "BuyingPower", "4", "USD")],
        ),
        (207, lambda a: a.account_summary_end(1), [protobuf(64, (1, 1))]),
        (
            176,
            lambda a: a.historical_data(3, [("20261118", BAR)], START, END),
            [text(17, 3, START, END, 1, "20261118", 100.0, 101.5, 99.5, 100.75, 12345, 100.5, 321)],
        ),
        (
            200,
            lambda a: a.historical_data(3, [("20261118", BAR)], START, END),
            [text(17, 3, 1, "20261118", 100.0, 101.5, 99.5, 100.75, 12345, 100.5, 321), text(108, 3, START, END)],
        ),
        (
            207,
            lambda a: a.historical_data(3, [("20261118", BAR)], START, END),
            [binary(17, 3, 1, "20261118", 100.0, 101.5, 99.5, 100.75, 12345, 100.5, 321), binary(108, 3, START, END)],
        ),
        (
            208,
            lambda a: a.historical_data(3, [("20261118", BAR)] * 2, START, END),
            [protobuf(17, (1, 3), (2, BAR_PROTOBUF), (2, BAR_PROTOBUF)), protobuf(108, (1, 3), (2, START), (3, END))],
        ),
        (
            176,  # open, close, high, low: another order than in 17
            lambda a: a.historical_data_update(3, "20261118", BAR),
            [text(90, 3, 321, "20261118", 100.0, 100.75, 101.5, 99.5, 100.5, 12345)],
        ),
        (208, lambda a: a.historical_data_update(3, "20261118", BAR), [protobuf(90, (1, 3), (2, BAR_PROTOBUF))]),
        (
            176,
            lambda a: a.real_time_bar(3, BAR),
            [text(50, 3, 3, BAR.start, 100.0, 101.5, 99.5, 100.75, 12345, 100.5, 321)],
        ),
        (
            208,
            lambda a: a.real_time_bar(3, BAR),
            [
                # open, high, low, close, volume, average and count are the fields 3 to 9
                protobuf(50, (1, 3), (2, BAR.start), *enumerate((100.0, 101.5, 99.5, 100.75, "12345", "100.5", 321), 3))
            ],
        ),
        (176, lambda a: a.head_timestamp(3, "19930129-14:30:00"), [text(88, 3, "19930129-14:30:00")]),
        (200, lambda a: a.current_time_in_millis(17.5), [text(109, 17500)]),
        (213, lambda a: a.current_time_in_millis(17.5), [protobuf(109, (1, 17500))]),
        (176, lambda a: a.current_time(17.9), [text(49, 1, 17)]),
        (176, lambda a: a.error(-1, 1100, "lost", 17.5), [text(4, 2, -1, 1100, "lost", "")]),
        (200, lambda a: a.error(-1, 1100, "lost", 17.5), [text(4, -1, 1100, "lost", "", 17500)]),
        (203, lambda a: a.error(-1, 1100, "lost", 17.5), [protobuf(4, (1, -1), (2, 17500), (3, 1100), (4, "lost"))]),
    ],
)
def test_an_answer_has_the_form_of_its_server_version(version, encode, payloads):
    assert FrameReader().feed(encode(Answers(version))) == payloads


# Fields of CONTRACT_DATA by server version: what each step of ibapi's decoder takes away.
@pytest.mark.parametrize(
    ("version", "fields"), [(157, 38), (163, 39), (164, 39), (176, 39), (182, 40), (186, 41), (204, 41)]
)
def test_contract_details_have_as_many_text_fields_as_clients_read(version, fields):
    spy = Contract(756733, "SPY")
    details, end = FrameReader().feed(Answers(version).contract_details(5, spy, "PRACTICE SPY"))
    body = split_fields(details[4:] if version >= 201 else details)
    body = body if version >= 201 else body[1:]
    assert len(body) == fields
    assert body[0 if version >= 164 else 1] == b"5"
    assert b"756733" in body and b"PRACTICE SPY" in body
    assert end == (binary(52, 1, 5) if version >= 201 else text(52, 1, 5))


def test_contract_details_as_protobuf_nest_contract_and_details():
    details, end = FrameReader().feed(Answers(205).contract_details(5, Contract(756733, "SPY"), "PRACTICE SPY"))
    assert details[:4] == LENGTH.pack(210) and end == protobuf(52, (1, 5))
    (_, request_id), (_, contract), (_, extra) = read_fields(details[4:])
    assert request_id == 5
    assert read_fields(contract)[:2] == [(1, 756733), (2, b"SPY")]
    assert dict(read_fields(extra))[7] == b"PRACTICE SPY"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_quote_is_bid_ask_last_and_never_crosses_when_prices_rise(version):
    answers, quote = Answers(version), Quote(9.99, 10.01, 10.0, 100, 200, 10)
    bid, ask, last = answers.quote(3, quote)
    assert answers.quote(3, quote, rising=True) == (ask, bid, last)
    assert answers.tick_price(3, 2, 10.01, 200) == ask
    (price,) = FrameReader().feed(last)
    assert (struct.pack("<d", 10.0) if version >= 206 else b"\x0010.0\x00") in price


@pytest.mark.parametrize("version", VERSIONS)
def test_a_matching_symbol_is_found_in_every_form(version):
    (payload,) = FrameReader().feed(Answers(version).symbol_samples(3, Contract(756733, "SPY"), "PRACTICE SPY"))
    assert b"SPY" in payload and (b"PRACTICE" in payload) == (version >= 176)
