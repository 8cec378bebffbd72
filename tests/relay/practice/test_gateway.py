"""The port, the sessions on it as a whole, starting and stopping."""

import asyncio
import gc
import socket
import struct

import pytest

from relay.practice import Practice, PracticeGateway
from relay.wire.hello import ClientHello
from tests.relay.kit.loopback import until, unused_port
from tests.relay.practice.peer import FIN, PATIENCE, SPY_TEXT, client, codes, gateway


async def test_it_listens_on_loopback_unless_asked():
    async with gateway() as practice:
        assert practice.host == "127.0.0.1" and practice.port > 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", practice.port)


async def test_it_listens_where_it_is_told():
    port, practice = unused_port(), PracticeGateway()
    await practice.start("127.0.0.1", port)
    async with practice:
        assert practice.port == port
        async with client(practice, ready=True) as peer:
            assert await peer.answers()
        with pytest.raises(RuntimeError):
            await practice.start()


async def test_ipv6_is_an_address_like_any_other():
    practice = PracticeGateway()
    try:
        await practice.start("::1")
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    async with practice, client(practice, ready=True) as peer:
        assert await peer.answers()


async def test_a_port_that_is_taken_is_an_os_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r"(?i)address already in use"):
        await PracticeGateway().start("127.0.0.1", taken.getsockname()[1])


async def test_a_client_id_belongs_to_one_live_session():
    async with gateway() as practice:
        async with client(practice, ready=True, client_id=7) as first, client(practice) as second:
            await second.hello()
            await second.start(7)
            assert codes([await second.message()]) == [326]
            assert await second.end() == (FIN, b"")
            assert await first.answers()
            async with client(practice, ready=True, client_id=8) as third:
                assert await third.answers()
        await until(lambda: not practice.sessions, "they are gone")
        async with client(practice, ready=True, client_id=7) as again:
            assert await again.answers()


async def test_a_stalled_session_keeps_its_client_id():
    async with gateway("session-stall=0") as practice, client(practice, ready=True, client_id=7):
        await until(lambda: not practice.ready_sessions, "it stalls")
        async with client(practice) as second:
            await second.hello()
            await second.start(7)
            assert codes([await second.message()]) == [326]


@pytest.mark.parametrize("behaviour", ["normal", "close", "reset", "garbage", "close-after-hello", "ssh"])
async def test_a_client_that_resets_at_once_is_no_trouble(behaviour):
    trouble = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: trouble.append(context))
    async with gateway(behaviour) as practice:
        for _ in range(20):
            with socket.create_connection((practice.host, practice.port)) as scanner:
                scanner.sendall(ClientHello(100, 176).encode())
                scanner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: practice.accepted == 20 and not practice.sessions, "all have come and gone")
    assert trouble == []


async def test_connections_beyond_the_bound_are_closed():
    async with gateway(max_sessions=1) as practice, client(practice, ready=True) as first:
        async with client(practice) as second:
            assert await second.end() == (FIN, b"")
        assert await first.answers()
        assert (practice.accepted, practice.ready_sessions) == (2, 1)


async def test_closing_cuts_every_session_whatever_it_is_doing():
    async with gateway("ticks=5000") as practice:
        async with client(practice) as silent, client(practice) as hello, client(practice, ready=True) as ready:
            await hello.hello()
            ready.ask(1, 11, 3, 756733, "SPY", "STK", *[""] * 9, 0, "", 0, 0, "")
            await ready.until(46)
            assert practice.sessions == 3
            await practice.close()
            assert practice.sessions == 0
            for peer in (silent, hello, ready):
                await peer.end()
        with pytest.raises(ConnectionRefusedError):
            async with client(practice):
                pass
    gc.collect()  # an unclosed socket would warn here, and a warning is a failure


async def test_closing_twice_or_before_starting_is_fine():
    practice = PracticeGateway()
    await practice.close()
    async with gateway() as other:
        await other.close()


@pytest.mark.slow
async def test_many_sessions_at_once():
    async with gateway() as practice:

        async def session(number):
            async with client(practice, ready=True, client_id=number) as peer:
                peer.ask(61, 1)
                await peer.until(62)

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(session(number) for number in range(100)))
        assert practice.accepted == 100


@pytest.mark.slow
async def test_a_restart_waits_for_a_port_somebody_else_took():
    lines = []
    practice = PracticeGateway(Practice(), lines.append)
    await practice.start(port=unused_port())
    async with practice:
        practice.restart(0.05)
        with socket.create_server((practice.host, practice.port)):
            await until(lambda: any("cannot listen" in line for line in lines), "the port is taken")
        await until(lambda: lines[-1].startswith("restart: back"), "the port is its own again")
        async with client(practice, ready=True) as peer:
            assert await peer.answers()


async def test_a_restart_can_be_cut_short_by_closing():
    async with gateway() as practice:
        practice.restart(3600.0)
    with pytest.raises(ConnectionRefusedError):
        async with client(practice):
            pass


async def test_the_same_seed_gives_every_client_the_same_prices():
    async def bars(seed):
        async with gateway(seed=seed) as practice, client(practice, ready=True) as peer:
            await peer.rest()
            peer.ask(20, 3, 756733, "SPY", "STK", *[""] * 9, 0, "20250531", "1 day", "5 D", 1, "TRADES", 1, 0, "")
            return await peer.payload()

    assert await bars(1) == await bars(1) != await bars(2)


def of_spy(peer, request_id, end="", bar="5 secs", duration="60 S", what="TRADES"):
    peer.ask(20, request_id, *SPY_TEXT, 0, end, bar, duration, 1, what, 1, 0, "")


async def test_the_pace_of_history_is_the_gateways_and_not_a_sessions():
    async with (
        gateway() as practice,
        client(practice, ready=True, client_id=1) as one,
        client(practice, ready=True, client_id=2) as two,
    ):
        await one.rest(), await two.rest()
        of_spy(one, 3)
        assert await one.message() == 17
        of_spy(two, 4)
        refusal = await two.message()
        assert (refusal.request_id, refusal.code) == (4, 162) and "pacing violation" in refusal.text


async def test_a_schedule_bars_and_refusals_over_a_socket():
    async with gateway(time_zone="US/Central") as practice, client(practice) as peer:
        assert (await peer.hello()).connection_time.endswith(" US/Central")
        await peer.start()
        await peer.greeting()
        of_spy(peer, 3, bar="1 day", duration="2 D", what="SCHEDULE")
        of_spy(peer, 4, end="20250530 09:00:00", bar="1 min", duration="60 S")
        of_spy(peer, 5, end="20990101-00:00:00", bar="1 min", duration="60 S")
        assert await peer.message() == 106
        fields = (await peer.payload()).split(b"\0")
        assert fields[3:6] == [b"20250530 09:00:00 US/Central", b"1", b"20250530 08:59:00 US/Central"]
        assert codes([await peer.message()]) == [162]
