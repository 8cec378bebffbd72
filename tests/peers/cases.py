"""The matrix: which client meets which behaviour at which server version, and the verdict on what came of it. Pure."""

import collections
import dataclasses

from relay.practice import BEHAVIOURS
from tests.peers.clients import CLIENTS, Client, Kind
from tests.peers.plays import DEADLINE, PLAYS, STEP_TIMEOUT, Occupant, Play

# Text ids; first binary ids; protobuf for errors, accounts, history, and everything; the newest
# (relay/wire/versions.py).
VERSIONS = (176, 200, 201, 203, 207, 208, 213, 226)
BEHAVIOUR_VERSIONS = (176, 226)
CLIENT_ID = 17
BARS = 5  # a request for five daily bars

NEVER_COMPARED = frozenset({"tick_count", "notes", "seconds"})


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One client, one behaviour, one server version; `typed`: the practice gateway is the real command line."""

    client: Client
    play: Play
    version: int
    typed: bool = False

    @property
    def name(self):
        return f"{self.client.name} {self.play.name} at {self.version}{' as typed' if self.typed else ''}"

    @property
    def agreed_version(self):
        """What client and gateway settle on."""
        return min(self.version, self.client.newest)

    @property
    def occupant_id(self):
        return CLIENT_ID if self.play.occupant is Occupant.SAME_ID else CLIENT_ID + 1

    def task(self, session, host, port):
        """What the driver is told to do (driver_common.Task)."""
        asked = {
            "host": host,
            "port": port,
            "client_id": CLIENT_ID,
            "timeout": STEP_TIMEOUT,
            "deadline": DEADLINE,
            "ticks": 3,
            "burst": 0,
            "watch": session.watch,
        }
        return asked | dict(self.play.task)


def matrix(clients=CLIENTS, versions=True, behaviours=True):
    """All cases of the clients, slow ones first so that the last job does not run alone.

    LookupError if plays.py lags behind.
    """
    unplayed = BEHAVIOURS.keys() - {play.behaviour for play in PLAYS}
    if unplayed:
        raise LookupError(f"behaviours that no client is sent at: {', '.join(sorted(unplayed))}")
    normal = PLAYS[0]
    cases = []
    for client in clients:
        if versions:
            cases += [Case(client, normal, version) for version in VERSIONS]
            cases.append(Case(client, normal, VERSIONS[-1], typed=True))
        if behaviours:
            cases += [
                Case(client, play, version)
                for play in PLAYS
                for version in BEHAVIOUR_VERSIONS
                if not (versions and play is normal)
            ]
    return sorted(cases, key=lambda case: -_weight(case))


def sample(todo):
    """Of these, one case for each behaviour, and of `normal` one for each version; clients take turns."""
    groups = {}
    for case in todo:
        which = (case.version, case.typed) if case.play is PLAYS[0] else case.play.name
        groups.setdefault(which, []).append(case)
    often = collections.Counter()  # how often a client or a version was taken
    chosen = []
    for group in groups.values():
        case = min(group, key=lambda case: (often[case.client.name], often[case.version]))
        often.update((case.client.name, case.version))
        chosen.append(case)
    return chosen


def _weight(case):
    """Roughly how long a case takes, in seconds."""
    return (
        sum(session.watch for session in case.play.sessions)
        + 2 * len(case.play.sessions)
        + (case.play.value == 4.0) * 4
    )


# The verdict


def judge(case, direct, relayed):
    """Everything that is not as it must be, as lines; empty for a pass."""
    problems = []
    for at, session in enumerate(case.play.sessions):
        where = f"session {at + 1}: " if len(case.play.sessions) > 1 else ""
        found = [f"direct: {text}" for text in _unplayed(case, session, direct.gots[at])]
        found += _unequal(case, session, direct.gots[at], relayed.gots[at])
        if at < len(relayed.records):
            found += _misreported(case, session, relayed.gots[at], relayed.records[at])
        problems += [where + text for text in found]
    if len(relayed.records) != len(case.play.sessions):
        problems.append(f"relay: {len(relayed.records)} close records for {len(case.play.sessions)} sessions")
    problems += [f"relay: wrote {line!r}" for line in relayed.noise]
    return problems


def _unplayed(case, session, got):
    """Did the behaviour do to the client what it is there for? Otherwise two equal runs would prove nothing."""
    stages = session.fails_at(case.client)
    if stages:
        if got["failed_at"] not in stages:
            yield f"failed at {got['failed_at']} ({got['failed_how']}), expected {' or '.join(sorted(stages))}"
    else:
        yield from _unhealthy(case, session, got)
    if not session.errors <= set(got["errors"]):
        yield f"error codes {got['errors']}, expected {sorted(session.errors)} among them"
    if session.told and not got["told_disconnected"]:
        yield "was not told that the connection had ended"


def _unhealthy(case, session, got):
    """What a healthy session gives a client, all of it."""
    if got["failed_at"]:
        yield f"failed at {got['failed_at']}: {got['failed_how']}"
        return
    wanted = {
        "server_version": case.agreed_version,
        "next_valid_id": session.order_id,
        "accounts": list(session.accounts),
        "current_time": True,
        "bars_complete": True,
        "ticks": True,
        "synchronized": True if case.client.kind is Kind.IB_ASYNC else None,
    }
    for field, value in wanted.items():
        if got[field] != value:
            yield f"{field} is {got[field]!r}, expected {value!r}"
    if len(got["bars"]) != BARS or not all(
        low <= min(start, close) <= max(start, close) <= high and volume > 0
        for _, start, high, low, close, volume in got["bars"]
    ):
        yield f"{len(got['bars'])} bars, expected {BARS} sound ones: {got['bars']}"


def _unequal(case, session, direct, relayed):
    """Can the user tell that there is a relay? Only where it repairs."""
    if case.client.kind in session.repaired:
        yield from (f"relayed, to be repaired: {text}" for text in _unhealthy(case, session, relayed))
        return
    for field in direct.keys() - NEVER_COMPARED - session.either:
        if direct[field] != relayed[field]:
            yield f"{field} is {direct[field]!r} without the relay, {relayed[field]!r} with it"
    if session.either:
        yield from (f"relayed: {text}" for text in _unplayed(case, session, relayed))


def _misreported(case, session, got, record):
    """Does the close record tell what was played?"""
    end = session.end_for(case.client)
    wanted = {
        "ib.stage": end.stages,
        "end.by": {end.by},
        "end.how": {end.how},
        "end.phase": {end.phase},
        "end.reason": {end.reason},
    }
    if end.last_error_code is not None:
        wanted["ib.last_error_code"] = {end.last_error_code}
    said = {name: record.get(name) for name in wanted}
    wrong = [name for name, allowed in wanted.items() if said[name] not in allowed]
    if wrong:
        meant = {name: "|".join(map(str, sorted(allowed))) for name, allowed in wanted.items()}
        yield f"record says {said}, expected {meant}"
    if record.get("ib.stage") in ("start_api", "ready") and record.get("ib.client_id") != CLIENT_ID:
        yield f"record has client id {record.get('ib.client_id')}, the client used {CLIENT_ID}"
    if record.get("ib.stage") == "opaque" and not record.get("ib.opaque"):
        yield "record is opaque and does not say why"
    if record.get("ib.stage") == "ready":
        if record.get("ib.server_version") != case.agreed_version:
            yield f"record has server version {record.get('ib.server_version')}, agreed was {case.agreed_version}"
        if record.get("ib.opaque"):
            yield f"record is opaque in a session of real clients: {record['ib.opaque']}"
        if not (record["ib.messages.down"] >= 10 and record["ib.messages.up"] >= 3):
            yield f"record counts {record['ib.messages.up']} messages up and {record['ib.messages.down']} down"


def different_bars(results):
    """All healthy clients asked for the same days: the distinct answers as [(bars, names)], for one is right."""
    answers = {}
    for case, played in results:
        for got in played.gots:
            if got["failed_at"] is None:
                key = tuple((str(bar[0])[:10].replace("-", ""), *map(float, bar[1:])) for bar in got["bars"])
                answers.setdefault(key, set()).add(case.name)
    return list(answers.items())
