"""diagnostics/looks/check.py: one look at real gateways, healthy and not, and the one line it makes."""

import asyncio

import pytest

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, ProbeStage, RepairedSetting, Route, StageResult
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.looks import check as module
from diagnostics.looks.check import EXIT_CODES, Goal, Look, look, route_of
from diagnostics.place.addresses import DEFAULT_PORT
from diagnostics.place.targets import ProbeTarget
from diagnostics.probing import resolve
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.diagnosis import EXIT, exit_code
from relay.practice import Practice, PracticeGateway
from tests.diagnostics.peers import LINUX_ONLY, black_hole, practice
from tests.diagnostics.recorded import NOT_READY, REFUSED, SILENT, STRANGER, UNANSWERED, probe
from tests.relay.kit.loopback import unused_port

HOST = "127.0.0.1"


async def looked(port, goal=Goal.HELLO, limit=2.0, patience=0.3):
    route = Route(HOST, port, "configured", "a test")
    asked = Asked(session=goal in (Goal.SESSION, Goal.ONLINE), timeout=patience)
    return await asyncio.to_thread(look, route, goal, asked, limit)


# behaviour of the gateway, goal, exit code, what the line begins with behind the place
LOOKS = [
    ("normal", Goal.TCP, 0, "tcp, "),
    ("normal", Goal.HELLO, 0, "hello, server version at least 176, "),
    ("normal", Goal.SESSION, 0, "session, server version at least 176, DU***567, "),
    ("normal", Goal.ONLINE, 0, "online, server version at least 176, DU***567, "),
    ("offline", Goal.SESSION, 0, "session, server version at least 176, DU***567, "),
    ("offline", Goal.ONLINE, 4, "session usable, the gateway says it is cut off from IB (1100): IBD701 "),
    ("outage=60", Goal.ONLINE, 4, "session usable, the gateway says it is cut off from IB (1100): IBD701 "),
    ("outage=0.05", Goal.ONLINE, 0, "online, server version at least 176, DU***567, "),
    ("farms-broken", Goal.ONLINE, 0, "online, server version at least 176, DU***567, "),
    ("start-api-ignored", Goal.ONLINE, 4, "start_api TIMED_OUT: IBD503 "),
    ("start-api-ignored", Goal.HELLO, 0, "hello, server version "),
    ("start-api-ignored", Goal.SESSION, 4, "start_api TIMED_OUT: IBD503 "),
    ("client-id-in-use", Goal.SESSION, 4, "start_api REFUSED: IBD501 "),
    ("silent", Goal.TCP, 0, "tcp, "),
    ("silent", Goal.HELLO, 3, "hello TIMED_OUT: IBD303 "),
    ("close", Goal.TCP, 3, "quiet CLOSED: IBD301 "),
    ("close", Goal.HELLO, 3, "quiet CLOSED: IBD301 "),
    ("http", Goal.HELLO, 3, "hello BAD_PEER: IBD402 "),
    ("ssh", Goal.SESSION, 3, "quiet BAD_PEER: IBD401 "),
]


@pytest.mark.slow
@pytest.mark.parametrize("behaviour, goal, code, said", LOOKS, ids=[f"{row[0]}, {row[1].value}" for row in LOOKS])
async def test_a_look_says_how_far_it_came_and_why_not_further(behaviour, goal, code, said):
    async with PracticeGateway(Practice.named(behaviour)) as gateway:
        seen = await looked(gateway.port, goal)
        word = "FAIL" if code else "OK"
        assert (seen.exit_code, seen.ready, seen.line.partition(said)[:2]) == (
            code,
            not code,
            (f"{word} {HOST}:{gateway.port}: ", said),
        )
        assert gateway.accepted == 1, "one look is one connection"


QUOTED = RepairedSetting("--target", "'\"127.0.0.1:4009\"'", ("quotes around it",), "127.0.0.1:4009")
BESIDE = [
    # what was seen, what was asked for; the code named as the cause, whatever else is to be said of the same route
    (probe(HOST, "configured", UNANSWERED, server_version=150), Asked(), "IBD504"),
    (probe(HOST, "configured", NOT_READY, server_version=150), Asked(), "IBD503"),
    (probe(HOST, "configured", codes=(1100,), server_version=150), Asked(), "IBD701"),
    (probe(HOST, "configured", REFUSED), Asked(repaired=(QUOTED,)), "IBD201"),
    (probe(HOST, "configured", SILENT), Asked(repaired=(QUOTED,)), "IBD303"),
    (probe(HOST, "configured", STRANGER, server_version=99), Asked(), "IBD406"),
]


@pytest.mark.parametrize("seen, asked, code", BESIDE, ids=[row[2] for row in BESIDE])
def test_the_finding_of_a_failure_is_what_explains_it_and_nothing_beside_it(seen, asked, code):
    assert module._finding(Look(Goal.ONLINE, HOST, seen, asked=asked)).split()[0] == code


async def test_a_port_where_nothing_listens_is_no_tcp():
    seen = await looked(unused_port())
    assert (seen.exit_code, seen.line.split(": ")[1]) == (2, "connect REFUSED")


@LINUX_ONLY
@pytest.mark.slow
def test_a_name_whose_first_address_is_silent_is_no_tcp_though_the_second_one_answers(monkeypatch):
    monkeypatch.setattr(resolve, "look_up", lambda host, port: resolve.Resolution(("127.0.0.2", HOST), 0.001))
    with practice() as gateway, black_hole("127.0.0.2", gateway.port):
        route = Route("gate.example", gateway.port, "configured", "a test")
        seen = look(route, Goal.HELLO, Asked(session=False), 2.0)
    found = f"IBD108 {CATALOGUE['IBD108'].title}"
    assert (seen.exit_code, seen.finding) == (2, found)
    assert seen.line.startswith(f"FAIL gate.example:{gateway.port}: connect TIMED_OUT: {found} (127.0.0.2 did not ")
    assert seen.line.endswith(" s; 127.0.0.1 answered)")


async def test_looks_that_tell_the_same_have_the_same_state():
    port = unused_port()
    first, second = await looked(port), await looked(port)
    assert first.probe != second.probe and first.state == second.state
    async with PracticeGateway() as gateway:
        assert (await looked(gateway.port)).state == (await looked(gateway.port)).state != first.state


CHANGES = [
    # one gateway, and another that is not the same to whoever watches
    ("the account", {}, {"accounts": ("U7654321",)}),
    (
        "an account that is not shown",
        {"behaviour": "fa-accounts", "value": 17.0},
        {"behaviour": "fa-accounts", "value": 18.0},
    ),
    ("the version", {}, {"server_version": 150}),
    ("the farms", {}, {"behaviour": "farms-broken"}),
    ("IB behind it", {}, {"behaviour": "offline"}),
]


@pytest.mark.parametrize("goal", [Goal.SESSION, Goal.ONLINE])
@pytest.mark.parametrize("before, after", [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
async def test_what_a_gateway_says_of_itself_is_part_of_its_state(before, after, goal):
    states = []
    for settings in (before, before, after):
        async with PracticeGateway(Practice(**settings)) as gateway:
            states.append((await looked(gateway.port, goal, patience=2.0)).state)
    assert states[0] == states[1] != states[2]


async def test_a_session_without_ib_behind_it_says_so_though_it_was_all_that_was_asked_for():
    async with PracticeGateway(Practice.named("offline")) as gateway:
        assert (await looked(gateway.port, Goal.SESSION)).line.endswith("the gateway says it is cut off from IB (1100)")
    async with PracticeGateway(Practice.named("farms-broken")) as gateway:
        line = (await looked(gateway.port, Goal.SESSION)).line
        assert line.endswith(
            "broken farms: market data usfarm.nj usfuture cashfarm usopt and 1 more (2103), "
            "historical data euhmds ushmds (2105), contract data secdefil (2157)"
        )


def test_another_farm_is_another_state_and_another_order_is_not():
    route = Route("gateway", 4002, "configured", "")
    stages = tuple(StageResult(stage, Outcome.OK) for stage in ProbeStage)

    def state(*farms):
        return Look(Goal.ONLINE, "gateway:4002", Probe(route, stages, codes=(2103,) * len(farms), farms=farms)).state

    farms = tuple(f"farm{number}" for number in range(9))
    assert state(*farms) == state(*reversed(farms)) != state(*farms[:-1], "cashfarm")


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", ["normal", "silent", "close", "http", "start-api-ignored", "client-id-in-use"])
async def test_a_look_for_a_session_has_the_exit_code_of_a_diagnosis(behaviour):
    async with PracticeGateway(Practice.named(behaviour)) as gateway:
        seen = await looked(gateway.port, Goal.SESSION)
    asked = Asked(session=True, timeout=0.3)
    assert seen.exit_code == exit_code(diagnose(Evidence(0.0, "", asked, (), (seen.probe,))))


def test_every_stage_has_an_exit_code_that_a_diagnosis_has_too():
    assert list(EXIT_CODES) == list(ProbeStage)
    assert set(EXIT_CODES.values()) == set(EXIT.values()) - {0}


def test_the_first_target_is_looked_at_or_the_likeliest_route_of_this_place():
    assert route_of((ProbeTarget("gw", 4002), ProbeTarget("other")), 7497) == Route(
        "gw", 4002, "configured", "--target says so"
    )
    assert route_of((ProbeTarget("gw"),), 7497).port == 7497
    assert route_of((), DEFAULT_PORT).port == DEFAULT_PORT


def test_what_was_not_asked_for_cannot_fail():
    from tests.diagnostics.looks.test_wait import seen

    closed = seen(ProbeStage.HELLO, Outcome.CLOSED)
    assert Look(Goal.TCP, "gw:1", closed.probe).ready
    assert not Look(Goal.SESSION, "gw:1", closed.probe).ready
