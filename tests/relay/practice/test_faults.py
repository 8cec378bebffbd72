"""Every behaviour as a client sees it, over real sockets: one rehearsal each, and none without."""

import asyncio
import errno
import socket

import pytest

from relay.practice import BEHAVIOURS, Moment, Practice, faults
from relay.wire import messages
from relay.wire.framing import LENGTH, FrameReader, encode_frame
from relay.wire.hello import ClientHello, FirstBytes, Redirect, decode_server_hello, recognise, server_hello_end
from relay.wire.messages import ErrorMessage, ManagedAccounts, NextValidId
from tests.relay.kit.loopback import until
from tests.relay.practice.peer import ACCOUNTS, FIN, PATIENCE, RST, client, codes, gateway, kinds

REHEARSALS = {}
HELLO = ClientHello(100, 176).encode()
HEALTHY_NOTICES = [2104] * 5 + [2106] * 2 + [2158]
BROKEN_NOTICES = [2103] * 5 + [2105] * 2 + [2157]


def rehearsal(behaviour, **settings):
    """Registers `async def see(gateway)` as what must be seen of a behaviour."""

    def register(see):
        REHEARSALS[behaviour.partition("=")[0]] = (behaviour, settings, see)
        return see

    return register


SLOW = {"restart"}  # a second passes before it dies


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in BEHAVIOURS])
async def test_a_behaviour_is_played_as_it_is_called(name):
    behaviour, settings, see = REHEARSALS[name]
    async with gateway(behaviour, **settings) as practice:
        await see(practice)


def test_behaviours_and_rehearsals_cover_each_other():
    assert set(REHEARSALS) == set(BEHAVIOURS)


def test_every_fault_of_the_tables_belongs_to_a_behaviour_of_that_moment():
    tables = {
        Moment.ACCEPT: faults.AT_ACCEPT,
        Moment.FIRST_BYTES: faults.AT_FIRST_BYTES,
        Moment.HELLO: faults.AT_HELLO,
        Moment.START_API: faults.AT_START_API,
        Moment.SESSION: faults.WHEN_READY,
    }
    for moment, table in tables.items():
        ssh_speaks_twice = {"ssh"} if moment is Moment.FIRST_BYTES else set()
        assert {name for name in table if BEHAVIOURS[name].moment is not moment} == ssh_speaks_twice


# Healthy


@rehearsal("normal")
async def normal(practice):
    async with client(practice) as peer:
        assert (await peer.hello()).server_version == 176
        assert await peer.is_quiet()  # nothing before START_API
        await peer.start()
        greeting = await peer.greeting()
        assert greeting[:2] == [ACCOUNTS, NextValidId(1)] and codes(greeting) == HEALTHY_NOTICES
        assert await peer.answers()


@rehearsal("ticks=2000")
async def ticks(practice):
    async with client(practice, ready=True) as peer:
        began = asyncio.get_running_loop().time()
        subscribe(peer)
        await peer.until(46)  # the last of the opening ticks
        for _ in range(200):
            assert isinstance(await peer.message(), messages.TickPrice)
        assert 0.08 < asyncio.get_running_loop().time() - began < PATIENCE


# The port


@rehearsal("wedged")
async def wedged(practice):
    loop, clients = asyncio.get_running_loop(), []
    try:
        for _ in range(2):  # the backlog takes these, and a hello each
            clients.append(sock := socket.socket())
            sock.setblocking(False)
            await asyncio.wait_for(loop.sock_connect(sock, (practice.host, practice.port)), PATIENCE)
            await loop.sock_sendall(sock, HELLO)
        for _ in range(4):  # and somewhere here it is full
            clients.append(sock := socket.socket())
            sock.setblocking(False)
            sock.connect_ex((practice.host, practice.port))
        for _ in range(50):  # turns of the loop that accepts, if anything does
            await asyncio.sleep(0)
        assert clients[-1].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        with pytest.raises(OSError) as error:  # noqa: PT011 (its number is looked at below)
            clients[-1].getpeername()
        assert error.value.errno in (errno.ENOTCONN, errno.EINVAL)  # still connecting
        for sock in clients[:2]:
            with pytest.raises(BlockingIOError):
                sock.recv(1)
        assert practice.accepted == 0
    finally:
        for sock in clients:
            sock.close()


# At accept


@rehearsal("close")
async def close(practice):
    async with client(practice) as peer:
        peer.send(HELLO)
        assert await peer.end() == (FIN, b"")


@rehearsal("reset")
async def reset(practice):
    # In connect already, or at the first read.
    with pytest.raises(ConnectionResetError):  # noqa: PT012 (either statement may find it)
        async with client(practice) as peer:
            assert await peer.end() == (RST, b"")
            raise ConnectionResetError


@rehearsal("fail-first=2")
async def fail_first(practice):
    for _ in range(2):
        async with client(practice) as peer:
            peer.send(HELLO)
            assert await peer.end() == (FIN, b"")
    async with client(practice, ready=True) as peer:
        assert await peer.answers()


@rehearsal("client-limit=2")
async def client_limit(practice):
    async with client(practice, ready=True, client_id=1) as first:
        async with client(practice, ready=True, client_id=2), client(practice) as third:
            assert await third.end() == (FIN, b"")
        await until(lambda: practice.sessions == 1, "the second is gone")
        async with client(practice, ready=True, client_id=3) as next_one:
            assert await next_one.answers() and await first.answers()


@rehearsal("silent")
async def silent(practice):
    async with client(practice) as peer:
        peer.send(HELLO)
        assert await peer.is_quiet()
        assert await peer.said_before_fin() == (FIN, b"")


@rehearsal("garbage")
async def garbage(practice):
    async with client(practice) as peer:
        peer.send(HELLO)
        noise = await peer.reader.readexactly(256)
        assert server_hello_end(noise) == -1 and recognise(noise) is FirstBytes.GARBAGE
        assert await peer.is_quiet()


@rehearsal("ssh")
async def ssh(practice):
    async with client(practice) as peer:
        banner = await asyncio.wait_for(peer.reader.readline(), PATIENCE)  # before we say anything
        assert recognise(banner) is FirstBytes.SSH and server_hello_end(banner) == -1
        peer.send(HELLO)
        assert await peer.end() == (FIN, b"Invalid SSH identification string.\r\n")


# At the first bytes


@rehearsal("http")
async def http(practice):
    async with client(practice) as peer:
        assert await peer.is_quiet()
        peer.send(HELLO)
        how, answer = await peer.end()
        assert how == FIN and recognise(answer) is FirstBytes.HTTP
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: %d\r\n" % len(body) in head


@rehearsal("tls")
async def tls(practice):
    async with client(practice) as peer:
        assert await peer.is_quiet()
        peer.send(HELLO)
        how, answer = await peer.end()
        assert how == FIN and recognise(answer) is FirstBytes.TLS and len(answer) == 7


# At the hello


@rehearsal("close-after-hello")
async def close_after_hello(practice):
    async with client(practice) as peer:
        assert (await peer.hello()).server_version == 176
        assert await peer.end() == (FIN, b"")


@rehearsal("reset-after-hello")
async def reset_after_hello(practice):
    async with client(practice) as peer:
        assert (await peer.hello()).server_version == 176
        assert await peer.end() == (RST, b"")


@rehearsal("silent-after-hello")
async def silent_after_hello(practice):
    async with client(practice) as peer:
        assert (await peer.hello()).server_version == 176
        await peer.start()
        assert await peer.is_quiet()
        peer.writer.write_eof()
        assert await peer.is_quiet()  # it does not even notice that we left
        assert practice.sessions == 1


@rehearsal("hello-dribbled=0.001")
async def hello_dribbled(practice):
    async with client(practice) as peer:
        peer.send(HELLO)
        pieces = [await asyncio.wait_for(peer.reader.read(100), PATIENCE)]
        while server_hello_end(b"".join(pieces)) == 0:
            pieces.append(await asyncio.wait_for(peer.reader.read(100), PATIENCE))
        assert pieces[0] == b"\0" and len(pieces) > 5
        peer.version = decode_server_hello(b"".join(pieces)).server_version
        await peer.start()
        assert (await peer.greeting())[:2] == [ACCOUNTS, NextValidId(1)]


@rehearsal("hello-glued")
async def hello_glued(practice):
    async with client(practice) as peer:
        assert (await peer.hello()).server_version == 176
        greeting = [await peer.message() for _ in range(2 + len(HEALTHY_NOTICES))]  # without START_API
        assert greeting[:2] == [ACCOUNTS, NextValidId(1)] and codes(greeting) == HEALTHY_NOTICES
        await peer.start()
        assert await peer.is_quiet()
        assert await peer.answers()


@rehearsal("oversize-frame")
async def oversize_frame(practice):
    async with client(practice) as peer:
        peer.send(HELLO)
        assert LENGTH.unpack(await peer.reader.readexactly(4)) == (0x7FFFFFFF,)
        assert await peer.reader.readexactly(4) == b"176\0"
        assert await peer.is_quiet()


@rehearsal("redirect=gateway.example:4001")
async def redirect(practice):
    async with client(practice) as peer:
        peer.send(HELLO)
        frame = encode_frame(await peer.payload())
        assert decode_server_hello(frame) == Redirect("gateway.example", 4001)
        assert await peer.is_quiet()


# At START_API


@rehearsal("start-api-ignored")
async def start_api_ignored(practice):
    async with client(practice) as peer:
        assert (await peer.hello()).server_version == 176
        await peer.start()
        assert await peer.is_deaf()
        assert await peer.said_before_fin() == (FIN, b"")  # it reads on, and notices that we leave


@rehearsal("close-on-start-api")
async def close_on_start_api(practice):
    async with client(practice) as peer:
        assert (await peer.hello()).server_version == 176
        await peer.start()
        assert await peer.end() == (FIN, b"")


@rehearsal("client-id-in-use")
async def client_id_in_use(practice):
    async with client(practice) as peer:
        await peer.hello()
        await peer.start(41)
        assert codes([await peer.message()]) == [326]
        assert await peer.end() == (FIN, b"")


async def greeting_of(practice):
    async with client(practice) as peer:
        await peer.hello()
        await peer.start()
        greeting = await peer.rest()
        assert await peer.answers()
        return greeting


@rehearsal("no-accounts")
async def no_accounts(practice):
    assert kinds(await greeting_of(practice)) == [NextValidId] + [ErrorMessage] * 8


@rehearsal("empty-accounts")
async def empty_accounts(practice):
    assert (await greeting_of(practice))[:2] == [ManagedAccounts(()), NextValidId(1)]


@rehearsal("no-next-id")
async def no_next_id(practice):
    assert kinds(await greeting_of(practice)) == [ManagedAccounts] + [ErrorMessage] * 8


@rehearsal("farms-broken")
async def farms_broken(practice):
    greeting = await greeting_of(practice)
    assert greeting[:2] == [ACCOUNTS, NextValidId(1)] and codes(greeting) == BROKEN_NOTICES
    await no_data(practice)


@rehearsal("offline")
async def offline(practice):
    greeting = await greeting_of(practice)
    assert greeting[:2] == [ACCOUNTS, NextValidId(1)] and codes(greeting) == [2110, *BROKEN_NOTICES, 1100]
    await no_data(practice)


async def no_data(practice):
    async with client(practice, ready=True, client_id=8) as peer:
        await peer.rest()
        subscribe(peer)
        peer.ask(20, 4, 756733, "SPY", "STK", *[""] * 9, 0, "", "1 day", "5 D", 1, "TRADES", 1, 0, "")
        assert codes([await peer.message()]) == [162]
        assert await peer.is_quiet()


@rehearsal("slow-hello=0.2")
async def slow_hello(practice):
    loop = asyncio.get_running_loop()
    async with client(practice) as peer:
        said = loop.time()
        await peer.hello()
        assert loop.time() - said >= 0.19
        await peer.start()
        assert (await peer.greeting())[:2] == [ACCOUNTS, NextValidId(1)]


@rehearsal("slow-start-api=0.2")
async def slow_start_api(practice):
    loop = asyncio.get_running_loop()
    async with client(practice) as peer:
        await peer.hello()
        said = loop.time()
        await peer.start()
        assert (await peer.greeting())[:2] == [ACCOUNTS, NextValidId(1)]
        assert loop.time() - said >= 0.19


@rehearsal("live-account")
async def live_account(practice):
    greeting = await greeting_of(practice)
    assert greeting[:2] == [ManagedAccounts(("U1234567",)), NextValidId(1)] and codes(greeting) == HEALTHY_NOTICES


@rehearsal("fa-accounts=2")
async def fa_accounts(practice):
    assert (await greeting_of(practice))[0] == ManagedAccounts(("F1234567", "U1234568", "U1234569"))


@rehearsal("accounts-swapped")
async def accounts_swapped(practice):
    seen = [(await greeting_of(practice))[0].accounts for _ in range(3)]
    assert seen == [("DU1234567",), ("U7654321",), ("DU1234567",)]


@rehearsal("order-ids-back")
async def order_ids_back(practice):
    assert [(await greeting_of(practice))[1] for _ in range(3)] == [
        NextValidId(1001),
        NextValidId(901),
        NextValidId(801),
    ]


@rehearsal("id-closing=60")
async def id_closing(practice):
    async with client(practice, ready=True, client_id=9):
        pass
    await until(lambda: not practice.sessions, "it has left")
    assert await taken(practice, 9)
    async with client(practice, ready=True, client_id=8) as other:
        assert await other.answers()
    assert await taken(practice, 9)


async def taken(practice, client_id):
    """Is the id refused with 326?"""
    async with client(practice) as peer:
        await peer.hello()
        await peer.start(client_id)
        first = await peer.message()
        if first == ACCOUNTS:
            return False
        assert codes([first]) == [326] and await peer.end() == (FIN, b"")
        return True


@rehearsal("localised")
async def localised(practice):
    greeting = await greeting_of(practice)
    assert codes(greeting) == HEALTHY_NOTICES
    assert greeting[2].text == "La conexi\\u00f3n con los datos de mercado est\\u00e1 bien:usfarm.nj"


# In the session


@rehearsal("outage-after=0.2")
async def outage_after(practice):
    loop = asyncio.get_running_loop()
    began, heard = loop.time(), []
    async with client(practice, ready=True) as peer:
        while not heard or heard[-1][0] != 1102:
            heard += [(code, loop.time() - began) for code in codes([await peer.message()]) if code < 2000]
        assert [code for code, _ in heard] == [1100, 1102]
        assert heard[0][1] > 0.15 and heard[1][1] > 0.35
        assert await peer.answers()


@rehearsal("not-entitled=10168")
async def not_entitled(practice):
    async with client(practice, ready=True) as peer:
        await peer.rest()
        subscribe(peer)
        refusal = await peer.message()
        assert (refusal.request_id, refusal.code) == (3, 10168)
        assert refusal.text.endswith("Delayed market data is not enabled.")
        assert await peer.is_quiet()


@rehearsal("slow-sync=0.15")
async def slow_sync(practice):
    loop = asyncio.get_running_loop()
    async with client(practice, ready=True) as peer:
        await peer.rest()
        asked = loop.time()
        peer.ask(61, 1)
        peer.ask(5, 1)
        assert await peer.answers()  # the clock is not late
        assert [await peer.message(), await peer.message()] == [62, 53]
        assert loop.time() - asked >= 0.149


@rehearsal("outage=0.2")
async def outage(practice):
    async with client(practice, ready=True) as peer:
        heard = []
        while 1102 not in heard:
            heard += [one.code for one in await peer.until(ErrorMessage) if isinstance(one, ErrorMessage)]
        assert [code for code in heard if code < 2000] == [1100, 1102]
        await peer.answers()


@rehearsal("session-close=0.1")
async def session_close(practice):
    await in_mid_session(practice, FIN, 0)


@rehearsal("session-reset=0.1")
async def session_reset(practice):
    await in_mid_session(practice, RST, 0)


@rehearsal("truncated-frame=0.1")
async def truncated_frame(practice):
    await in_mid_session(practice, FIN, 8)


async def in_mid_session(practice, how, left_over):
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with client(practice, ready=True) as peer:
        assert await peer.answers()
        ended, data = await peer.end()
        reader = FrameReader()
        reader.feed(data)
        assert (ended, bool(reader.pending)) == (how, bool(left_over))
        assert loop.time() - began > 0.09


@rehearsal("session-stall=0.05")
async def session_stall(practice):
    async with client(practice, ready=True) as peer:
        subscribe(peer)
        await peer.until(46)
        await until(lambda: not practice.ready_sessions, "it stalls")
        await peer.drain()
        assert await peer.is_deaf()  # neither ticks nor answers
        assert practice.sessions == 1


@rehearsal("pacing=20")
async def pacing(practice):
    async with client(practice, ready=True) as peer:
        assert await peer.answers()  # START_API and this are the first two
        for _ in range(40):
            peer.ask(49, 1)
        seen = await peer.until(ErrorMessage)
        assert codes(seen) == [100] and 18 <= len(seen) - 1 <= 20
        assert await peer.end() == (FIN, b"")


@rehearsal("restart=0.2")
async def restart(practice):
    async with client(practice, ready=True) as peer:
        await peer.end()
    with pytest.raises(ConnectionRefusedError):
        async with client(practice):
            pass
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with client(practice, ready=True) as peer:
                    assert await peer.answers()
                    return
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


async def test_a_late_hello_comes_though_the_client_has_left():
    async with gateway("slow-hello=0.2") as practice, client(practice) as peer:
        peer.send(HELLO)
        how, said = await peer.said_before_fin()
        assert how == FIN and decode_server_hello(said).server_version == 176


async def test_an_id_that_was_closing_is_free_in_the_end():
    async with gateway("id-closing=0.1") as practice:
        async with client(practice, ready=True, client_id=9):
            pass
        async with asyncio.timeout(PATIENCE):
            while await taken(practice, 9):
                pass


async def test_behaviours_are_played_together():
    typed = "not-entitled=10089+outage=0.1+accounts-swapped+slow-start-api=0.1+localised=zh+live-account"
    async with gateway(typed) as practice:
        await greeting_of(practice)
        async with client(practice) as peer:
            await peer.hello()
            await peer.start(5)
            assert await peer.message() == ManagedAccounts(("DU7654321",))
            heard = []
            while 1102 not in heard:
                heard += [one.code for one in await peer.until(ErrorMessage) if isinstance(one, ErrorMessage)]
            subscribe(peer)
            assert codes([await peer.message()]) == [10089]


async def test_a_chinese_text_is_chinese_in_protobuf_and_escaped_in_text():
    seen = {}
    for version in (176, 226):
        async with gateway("localised=zh") as practice, client(practice) as peer:
            await peer.hello(maximum=version)
            await peer.start()
            (seen[version], *_) = [one.text for one in await peer.until(ErrorMessage) if isinstance(one, ErrorMessage)]
    assert seen[226] == "\u5e02\u573a\u6570\u636e\u8fde\u63a5\u6b63\u5e38:usfarm.nj"
    assert seen[176].startswith("\\u5e02") and seen[176].isascii()


def subscribe(peer):
    peer.ask(1, 11, 3, 756733, "SPY", "STK", *[""] * 9, 0, "", 0, 0, "")


def test_practice_settings_fit_the_rehearsals():
    for behaviour, settings, _ in REHEARSALS.values():
        Practice.named(behaviour, **settings)
