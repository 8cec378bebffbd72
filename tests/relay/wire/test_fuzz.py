"""A few thousand fuzzed streams with every test run, and what the fuzzer has found so far (`python -m tests.fuzz`)."""

import random

import pytest

from relay.wire.observer import BOUNDARY, PARTIAL, Observer
from tests.fuzz import DOWN, MUTATIONS, SEEDS, check, fuzz, main, mutated


@pytest.mark.slow
def test_two_thousand_damaged_sessions_find_nothing():
    assert fuzz(2000, seed=20260105) is None


class Leaky(Observer):
    """Lets WireError out."""

    __slots__ = ()

    def _watch(self, table, data, at, now):
        found = []
        self._chunk(table, data, at, now, found)
        return found


class Forgetful(Observer):
    """Loses the beginning of a frame at the end of a chunk."""

    __slots__ = ()

    def gateway_to_client(self, data, now):
        found = super().gateway_to_client(data, now)
        if self._down == PARTIAL:
            self._down = BOUNDARY
        return found


class Careless(Observer):
    """Keeps the caller's buffer instead of a copy."""

    __slots__ = ("kept", "late")

    def client_to_gateway(self, data, now):
        found = super().client_to_gateway(data, now)
        self.kept, kept = data, getattr(self, "kept", b"")
        return [*found, bytes(kept[:1])]


class Greedy(Observer):
    """Holds more than it should."""

    __slots__ = ("everything",)

    def gateway_to_client(self, data, now):
        self.everything = getattr(self, "everything", 0) + len(data)
        return super().gateway_to_client(data, now)

    @property
    def held(self):
        return 50 * getattr(self, "everything", 0)


@pytest.mark.parametrize("broken", [Leaky, Forgetful, Careless, Greedy])
def test_the_fuzzer_finds_an_observer_that_breaks_its_promise(broken):
    _, stream, error = fuzz(300, 1, broken)
    assert isinstance(error, (AssertionError, ValueError))
    with pytest.raises(type(error)):
        check(stream, random.Random(0), broken)


def test_a_seed_gives_the_same_streams_again():
    streams = [[mutated(random.Random(seed)) for seed in range(50)] for _ in range(2)]
    assert streams[0] == streams[1]
    assert len({str(stream) for stream in streams[0]}) > 45


@pytest.mark.parametrize("mutation", dict.fromkeys(MUTATIONS), ids=lambda mutation: mutation.__name__)
def test_every_mutation_changes_streams_and_leaves_the_seeds_alone(mutation):
    before = [list(stream) for stream in SEEDS]
    changed = 0
    for number, seed in enumerate(SEEDS):
        stream = list(seed)
        mutation(stream, random.Random(number))
        changed += stream != seed
    assert before == SEEDS
    assert changed > len(SEEDS) // 3


def test_the_command_says_what_it_did(capsys):
    assert main(["5", "77"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("fuzz: 5 streams, seed 77\nfuzz: nothing found in 5 streams, ")


# (what was wrong, the stream that showed it). Streams that once broke the codec; none may ever do so again.
FINDS = [
    (
        "a protobuf price that is NaN made an event that is not equal to itself",
        [
            (DOWN, bytes.fromhex("00000005 3232360000")),
            (DOWN, bytes.fromhex("00000011 000000c9 0801 1004 19000000000000f8ff")),
        ],
    ),
]


@pytest.mark.parametrize("name, stream", FINDS)
def test_what_was_found_once_stays_mended(name, stream):
    for number in range(20):
        check(stream, random.Random(number))
