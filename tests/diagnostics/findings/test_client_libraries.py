"""The table of client libraries against the hellos that were recorded of them, and against those our peers send."""

import pytest

from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.client_libraries import CLIENT_LIBRARIES, needing_more_than
from relay.wire.hello import ClientHello, client_hello_end
from tests.peers.clients import CLIENTS
from tests.relay.wire.vectors import RUNS


def recorded(library):
    """The ranges in the recorded hellos of that release."""
    hellos = [
        run.frames[0].data
        for run in RUNS
        if run.whole and not run.legacy and library.name in run.peer and f" {library.release}" in run.peer
    ]
    assert all(client_hello_end(data) == len(data) for data in hellos)
    decoded = map(ClientHello.decode, hellos)
    return {(hello.min_version, hello.max_version) for hello in decoded}


@pytest.mark.parametrize("library", CLIENT_LIBRARIES, ids=str)
def test_a_range_is_the_one_that_was_recorded_or_its_source_is_named(library):
    seen = recorded(library)
    assert seen == ({(library.oldest, library.newest)} if "recorded" in library.source else set())
    assert seen or " at v" in library.source, "a file of a release"


def test_every_library_that_was_recorded_is_in_the_table():
    known = {(library.oldest, library.newest) for library in CLIENT_LIBRARIES}
    for run in RUNS:
        if run.whole and not run.legacy:
            hello = ClientHello.decode(run.frames[0].data)
            assert (hello.min_version, hello.max_version) in known, run


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_the_peers_of_the_conformance_runs_ask_for_is_in_the_table(client):
    assert client.newest in {library.newest for library in CLIENT_LIBRARIES}


@pytest.mark.parametrize(
    "version, count", [(99, len(CLIENT_LIBRARIES)), (100, 3), (156, 3), (157, 1), (212, 1), (213, 0)]
)
def test_a_library_needs_more_than_a_version_below_its_oldest(version, count):
    assert len(needing_more_than(version)) == count


def test_the_page_of_the_finding_names_every_library_and_its_range():
    assert all(str(library) in CATALOGUE["IBD406"].docs for library in CLIENT_LIBRARIES)
