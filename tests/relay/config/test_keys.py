"""The table of keys: every key takes its default, says no to what it does not allow, and reads text as TOML would."""

import dataclasses
import math

import pytest

from relay.config.addresses import InvalidValue
from relay.config.keys import MAP_KEYS, TOP_KEYS, Latency, LogFormat, Protocol
from relay.config.load import Config, PortMap

KEYS = TOP_KEYS | MAP_KEYS
NUMBERS = {
    # key: smallest, largest, 0 allowed besides
    "log_file_size": (1, 1024, False),
    "log_interval": (0.1, 86400, True),
    "max_connections": (1, 1_000_000, True),
    "drain_timeout": (0.1, 3600, True),
    "connect_timeout": (0.1, 300, False),
    "first_bytes_timeout": (0.1, 3600, False),
    "half_close_timeout": (0.1, 86400, False),
    "idle_timeout": (0.1, 604800, True),
    "flush_timeout": (0.1, 600, False),
    "max_per_source": (1, 1_000_000, True),
    "keepalive_idle": (1, 7200, True),
    "keepalive_interval": (1, 7200, False),
    "keepalive_count": (1, 127, False),
    "user_timeout": (1, 3600, True),
}


def test_a_switch_is_a_word_in_a_text_and_a_boolean_in_a_file():
    switch = KEYS["survive"]
    for text, value in (("true", True), ("True", True), ("yes", True), ("0", False), ("NO", False), ("false", False)):
        assert switch.read(switch.from_text(text)) is value
    for bad in ("", "maybe", "2", 1, 0, None, []):
        with pytest.raises(InvalidValue):
            switch.read(switch.from_text(bad) if isinstance(bad, str) else bad)


def test_the_table_and_the_dataclasses_name_the_same_keys_in_the_same_order():
    assert [field.name for field in dataclasses.fields(Config)] == [*TOP_KEYS, "maps"]
    assert [field.name for field in dataclasses.fields(PortMap)] == list(MAP_KEYS)
    assert not set(TOP_KEYS) & set(MAP_KEYS)  # a variable's or a flag's name must mean one thing


@pytest.mark.parametrize(("name", "owner"), [(n, Config()) for n in TOP_KEYS] + [(n, PortMap()) for n in MAP_KEYS])
def test_a_default_shown_and_typed_again_is_the_same_value(name, owner):
    default, key = getattr(owner, name), KEYS[name]
    shown = key.show(default).removesuffix(" s").removesuffix(" MiB").partition(" (")[0]
    assert key.read(key.from_text(shown)) == default


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_taken_up_to_its_bounds_and_not_beyond(name):
    low, high, zero = NUMBERS[name]
    key = KEYS[name]
    assert [key.read(value) for value in (low, high)] == [low, high]
    for bad in (-1, low / 2 if low < 1 else -low, high + 1, 10**30, True, False, "1", None, [1], {"a": 1}):
        with pytest.raises(InvalidValue):
            key.read(bad)
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(InvalidValue):
            key.read(bad)
    if zero:
        assert (key.read(0), key.show(0).startswith("0 (")) == (0, True)
    else:
        with pytest.raises(InvalidValue):
            key.read(0)


def test_every_number_is_in_the_table_of_bounds():
    assert [name for name, key in KEYS.items() if "number" in key.allowed] == list(NUMBERS)


def test_seconds_are_floats_and_counts_are_whole():
    assert type(KEYS["connect_timeout"].read(5)) is float
    assert type(KEYS["keepalive_idle"].read(5)) is int
    for name in ("keepalive_idle", "max_connections", "max_per_source", "keepalive_count"):
        with pytest.raises(InvalidValue):
            KEYS[name].read(5.0)


TEXTS = [
    # key, text, what TOML would have given
    ("log_interval", "60", 60),
    ("log_interval", "0.5", 0.5),
    ("log_interval", "-1", -1),
    ("log_interval", "1e3", "1e3"),
    ("log_interval", "60s", "60s"),
    ("log_interval", "nan", "nan"),
    ("log_interval", "1_000", "1_000"),
    ("log_interval", "٦٠", "٦٠"),
    ("log_interval", "9" * 5000, "9" * 5000),
    ("log_format", "json", "json"),
    ("upstream", "127.0.0.1:4002", "127.0.0.1:4002"),
    ("listen", "auto:4003", ["auto:4003"]),
    ("listen", "auto:4003,[::1]:5, 10.0.0.1:6", ["auto:4003", "[::1]:5", "10.0.0.1:6"]),
    ("listen", ",", ","),
    ("allow", "auto 10.0.0.0/8", ["auto", "10.0.0.0/8"]),
]


@pytest.mark.parametrize(("name", "text", "value"), TEXTS, ids=[f"{row[0]}-{row[1][:20]}" for row in TEXTS])
def test_a_text_becomes_what_the_file_would_have_held(name, text, value):
    assert KEYS[name].from_text(text) == value
    assert type(KEYS[name].from_text(text)) is type(value)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("-", True),
        ("/var/log/ib-relay.log", True),
        ("", False),
        ("relay.log", False),
        ("~/relay.log", False),
        ("/var/log/", False),
        ("/a\0b", False),
        (1, False),
        (None, False),
        (["-"], False),
    ],
)
def test_a_log_file_is_standard_output_or_an_absolute_path(value, taken):
    key = KEYS["log_file"]
    if taken:
        assert key.read(value) == value
    else:
        with pytest.raises(InvalidValue):
            key.read(value)


@pytest.mark.parametrize(("name", "values"), [("log_format", LogFormat), ("protocol", Protocol), ("latency", Latency)])
def test_a_choice_takes_its_words_and_nothing_else(name, values):
    assert [KEYS[name].read(value.value) for value in values] == list(values)
    for bad in ("", "IB", "text ", 1, True, None, ["ib"], {}):
        with pytest.raises(InvalidValue):
            KEYS[name].read(bad)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("paper", True),
        ("a", True),
        ("live_2-x", True),
        ("x" * 32, True),
        ("x" * 33, False),
        ("", False),
        ("Paper", False),
        ("a.b", False),
        ("a b", False),
        ("é", False),
        ("paper\n", False),
        (5, False),
    ],
)
def test_a_map_name_is_short_and_plain(name, taken):
    if taken:
        assert KEYS["name"].read(name) == name
    else:
        with pytest.raises(InvalidValue):
            KEYS["name"].read(name)


@pytest.mark.parametrize("name", ["listen", "allow"])
def test_an_empty_list_says_nothing_and_is_refused(name):
    with pytest.raises(InvalidValue):
        KEYS[name].read([])
