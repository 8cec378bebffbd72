"""relay/config/limits.py: every limit of a unit has room for what the relay lets in under it."""

from pathlib import Path

import pytest

from relay.config.limits import (
    MOST_SESSIONS,
    OTHER_KEPT_FILES,
    OWN_FILES,
    QUEUE_FILES,
    SESSION_FILES,
    SESSION_OPEN,
    START_FILES,
    START_WINDOW,
    STARTS,
    TASKS,
    USUAL_OPEN_FILES,
    USUAL_SESSIONS,
    USUAL_STORE,
    UnitLimits,
    admitted,
    kept_sessions,
    unit_limits,
)
from relay.manager import systemd
from relay.survival import fdstore, inflight, kept_listeners
from relay.survival.kept import PARTS

MAX_ARG_STRLEN = 32 * 4096  # linux/binfmts.h: one variable of the environment
LONGEST_ID = "20260101T000000-123456789"

CONFIGURED = [0, 1, 2, 32, 100, 319, 512, 513, 1000, MOST_SESSIONS]
LISTENING = [0, 3, 60, 300]


@pytest.mark.parametrize("listening", LISTENING)
@pytest.mark.parametrize("configured", CONFIGURED)
def test_whatever_is_let_in_under_a_unit_of_ours_is_kept_and_can_be_started_again(configured, listening):
    limits = unit_limits(configured, listening)
    connections = admitted(configured, limits.open_files, in_service=True, keeps=True)
    assert connections == (configured or USUAL_SESSIONS)
    assert kept_sessions(limits.store, limits.open_files, listening) >= connections
    kept = connections * SESSION_FILES + OTHER_KEPT_FILES
    assert kept <= limits.store
    assert 2 * (kept + listening) < limits.open_files, (
        "systemd moves each to its place, behind the others if it is taken"
    )
    run = connections * SESSION_OPEN + OTHER_KEPT_FILES + listening + OWN_FILES
    assert run <= limits.open_files
    assert kept + listening <= systemd.MOST_DESCRIPTORS, "the relay takes them back"
    assert limits.memory >= connections * 2, "MiB"


def test_the_default_unit():
    assert unit_limits(0, 3) == UnitLimits(1665, 4096, 1088, 16, 300, 300)


@pytest.mark.parametrize("configured", [MOST_SESSIONS + 1, 5000, 1_000_000])
def test_more_than_can_be_kept_are_let_in_all_the_same(configured):
    limits = unit_limits(configured)
    assert admitted(configured, limits.open_files, in_service=True, keeps=True) == configured
    assert kept_sessions(limits.store, limits.open_files) == MOST_SESSIONS


def test_the_names_of_all_that_is_kept_fit_into_one_variable():
    """Beyond that no start succeeds: execve says E2BIG (status=203/EXEC)."""
    names = [f"{LONGEST_ID}.{part}" for part in PARTS] * MOST_SESSIONS
    names += [
        fdstore.NUMBERS,
        *inflight.NAMES,
        *[kept_listeners.name_of("fe80::1", 65535)] * kept_listeners.KEPT_LISTENERS,
    ]
    names += ["a" * 32] * 300  # of the maps' own sockets
    assert len("LISTEN_FDNAMES=" + ":".join(names)) < MAX_ARG_STRLEN


def test_what_is_counted_is_what_is_kept():
    assert len(PARTS) == SESSION_FILES == SESSION_OPEN - 1, "mmap opens the checkpoint once more"
    assert len(inflight.NAMES) == QUEUE_FILES
    assert len([fdstore.NUMBERS, *inflight.NAMES]) + kept_listeners.KEPT_LISTENERS == OTHER_KEPT_FILES


def test_descriptors_in_flight_are_fewer_than_a_user_may_have_on_their_way():
    """unix(7): ETOOMANYREFS beyond the soft limit of open files."""
    assert unit_limits(1).open_files > inflight.ROOM * SESSION_FILES


def test_a_loop_of_failing_starts_meets_the_limit_and_a_hundred_kills_in_a_row_do_not():
    fastest, slowest = 8, 2  # starts a second that fail at once; measured 4 to 5
    assert START_WINDOW * slowest > STARTS
    assert STARTS / fastest > 30, "seconds in which whoever replaces Python or the relay may be done"
    assert STARTS > 2 * 100


def test_the_processes_of_a_reload_a_stop_and_an_upgrade_have_room():
    relay, log, names, rehearsal, commands = 1, 1, 4, 4, 3
    assert relay + log + names + rehearsal + commands <= TASKS


KEPT = [
    # store, open files, listening, sessions
    (USUAL_STORE, USUAL_OPEN_FILES, 3, 116),  # the unit of the release before: 231 made a start fail
    (USUAL_STORE, 1 << 20, 3, 298),
    (1665, 512, 0, 31),  # a user's hard limit
    (135, 4096, 3, 2),
    (128, 4096, 0, 0),
    (1 << 20, 1 << 20, 0, MOST_SESSIONS),
]


@pytest.mark.parametrize("store, open_files, listening, sessions", KEPT)
def test_under_a_unit_of_somebody_else_the_smallest_limit_counts(store, open_files, listening, sessions):
    assert kept_sessions(store, open_files, listening) == sessions


ADMITTED = [
    # configured, open files, in a service, connections, and those where each is written down
    (0, 1024, False, 496, 232),
    (0, 1_048_576, False, 524_272, 262_120),
    (0, 1_048_576, True, 512, 512),
    (0, 1024, True, 496, 232),
    (200, 1024, False, 200, 200),
    (600, 1024, False, 496, 232),
    (0, 96, False, 32, 1),
    (0, 32, False, 1, 1),
    (0, 0, True, 1, 1),
    (5, 33, False, 1, 1),
]


@pytest.mark.parametrize("configured, open_files, in_service, plain, kept", ADMITTED)
def test_no_more_connections_than_there_are_descriptors_for(configured, open_files, in_service, plain, kept):
    assert admitted(configured, open_files, in_service, keeps=False) == plain
    assert admitted(configured, open_files, in_service, keeps=True) == kept


def test_readme_says_the_same():
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    start = 2 * unit_limits().store + START_FILES
    for said in (
        f"The service lets {USUAL_SESSIONS} connections in",
        f"up to {MOST_SESSIONS}.",
        f"{STARTS} starts within {'five' if START_WINDOW == 300 else '?'} minutes",
        f"{USUAL_SESSIONS} sessions from {-(-start // 100) * 100} files on",
    ):
        assert said in readme
