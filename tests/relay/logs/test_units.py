"""relay/logs/units.py: bytes and seconds as people read them."""

import pytest

from relay.logs.units import duration, size


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**2, "1.0 MiB"),
        (5 * 1024**2, "5.0 MiB"),
        (1024**3, "1.0 GiB"),
        (3 * 1024**4, "3072.0 GiB"),
    ],
)
def test_a_size_for_people(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.0, "0.000 s"),
        (0.012, "0.012 s"),
        (0.9996, "1.0 s"),
        (1.0, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 0 s"),
        (60.0, "1 min 0 s"),
        (312.9, "5 min 12 s"),
        (3599.9, "59 min 59 s"),
        (3600.0, "1 h 0 min"),
        (25380.0, "7 h 3 min"),
        (900000.0, "250 h 0 min"),
    ],
)
def test_a_duration_for_people(seconds, text):
    assert duration(seconds) == text
