"""relay/server.py: a whole relay in this process: reload, drain, no descriptors left, faults of ours."""

import asyncio
import contextlib
import ipaddress
import os
import resource
import socket
from time import monotonic

import pytest

from relay import acceptor, upkeep
from relay.config.load import ConfigError, load
from relay.connection.open_phase import Open
from relay.entry.bridges import Bridge, Survey
from relay.entry.listen_address import BindError
from relay.logs.record import Cause, EndPhase, Reason
from relay.net.poller import poller_of
from relay.server import Relay
from tests.relay.kit.loopback import HOST, PATIENCE, Far, until, unused_port

NEAR = Bridge("docker0", ipaddress.ip_interface("127.0.0.9/24"))
GONE = Bridge("docker0", ipaddress.ip_interface("203.0.113.7/24"))  # an address no host has (RFC 5737)


class Lines:
    """A log that keeps what it is given; `refuse` names record events whose writing is a fault."""

    def __init__(self):
        self.records, self.events, self.format, self.refuse = [], [], None, ()

    def write(self, record):
        if record.event in self.refuse:
            raise ZeroDivisionError("a fault of ours")
        self.records.append(record)

    def event(self, name, message, severity="INFO", **fields):
        self.events.append((name, severity, message))

    def set_format(self, log_format):
        self.format = log_format

    def named(self, name):
        return [message for found, _, message in self.events if found == name]

    def closes(self):
        return [record for record in self.records if record.event == "close"]


class House:
    """A relay on a port of its own before one gateway.

    `settings` are those of the file: top-level first, map second.
    """

    def __init__(self, top="", settings="", protocol="raw"):
        self.port = unused_port()
        self.top, self.settings, self.protocol = top, settings, protocol
        self.listen = f'"{HOST}:{self.port}"'
        self.log, self.fars = Lines(), []

    def text(self):
        return (
            f'{self.top}\n[[map]]\nname = "test"\nlisten = {self.listen}\nupstream = "{HOST}:{self.gateway_port}"\n'
            f'protocol = "{self.protocol}"\n{self.settings}\n'
        )

    def loaded(self):
        return load(self.text().encode(), "relay.toml", {}, {})

    async def __aenter__(self):
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.loop = asyncio.get_running_loop()
        self.gateways = socket.create_server((HOST, unused_port()))
        self.gateways.setblocking(False)
        self.gateway_port = self.gateways.getsockname()[1]
        self.relay = Relay(self.loaded(), self.log, self.loaded)
        await self.relay.start()
        self.serving = asyncio.create_task(self.relay.serve())
        return self

    async def __aexit__(self, *exception):
        self.relay.stop("the test's end", at_once=True)
        await asyncio.wait_for(self.serving, PATIENCE)
        for far in self.fars:
            far.close()
        self.gateways.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)

    async def client(self, port=None, host=HOST):
        """Connected by the kernel before the relay has had its turn, so that a refusal shows in the first read."""
        sock = socket.create_connection((host, port or self.port), PATIENCE)
        sock.setblocking(False)
        self.fars.append(Far(sock))
        return self.fars[-1]

    async def gateway(self):
        sock, _ = await asyncio.wait_for(self.loop.sock_accept(self.gateways), PATIENCE)
        self.fars.append(Far(sock))
        return self.fars[-1]

    async def session(self, **where):
        client = await self.client(**where)
        return client, await self.gateway()

    async def close_of(self, count=1):
        """The last of so many close records."""
        await until(lambda: len(self.log.closes()) >= count, f"{count} close records")
        return self.log.closes()[count - 1]

    def live(self):
        return len(self.relay._acceptor)


async def works(client, gateway):
    await client.send(b"question")
    assert await gateway.read(8) == b"question"
    await gateway.send(b"answer")
    assert await client.read(6) == b"answer"


# Start


async def test_a_relay_listens_says_so_and_relays():
    async with House() as house:
        assert house.log.events == [
            ("listening", "INFO", f"test: {HOST}:{house.port} -> {HOST}:{house.gateway_port}, raw")
        ]
        assert house.relay.bound() == [(HOST, house.port)]
        client, gateway = await house.session()
        await works(client, gateway)
        (record,) = house.relay.snapshot()
        assert (record.event, record.bytes_up, record.bytes_down) == ("progress", 8, 6)
        assert (record.client_address, record.client_port) == client.sock.getsockname()
        assert (record.local_port, record.map_name, record.active) == (house.port, "test", 1)


async def test_auto_listens_on_both_loopbacks_and_the_bridges_of_this_host(monkeypatch):
    monkeypatch.setattr(upkeep, "find_bridges", lambda: Survey((NEAR,)))
    house = House()
    house.listen = f'"auto:{house.port}"'
    async with house:
        assert {(HOST, house.port), ("127.0.0.9", house.port)} <= set(house.relay.bound())
        await works(*await house.session(host="127.0.0.9"))


async def test_warnings_of_the_configuration_are_in_the_log():
    house = House()
    house.listen = f'"0.0.0.0:{house.port}"'
    async with house:
        (warning,) = house.log.named("warning")
        assert "0.0.0.0" in warning


async def test_a_taken_port_is_an_error_and_leaves_no_socket():
    free, log = unused_port(), Lines()
    with socket.create_server((HOST, 0)) as taken:
        text = f'[[map]]\nlisten = ["{HOST}:{free}", "{HOST}:{taken.getsockname()[1]}"]\n'
        relay = Relay(load(text.encode(), "relay.toml", {}, {}), log)
        with pytest.raises(BindError, match=f"cannot listen on {HOST}:{taken.getsockname()[1]}: the port is taken"):
            await relay.start()
    assert (relay.bound(), log.events) == ([], [])
    socket.create_server((HOST, free)).close()


async def test_every_connection_has_a_number_of_its_own():
    async with House() as house:
        for _ in range(3):
            await house.session()
        numbers = [record.connection_id.rpartition("-")[2] for record in house.log.records]
        assert numbers == ["000001", "000002", "000003"]
        assert len({record.connection_id.rpartition("-")[0] for record in house.log.records}) == 1


# How many


async def test_the_limit_without_a_setting_is_what_the_descriptors_allow():
    async with House() as house:
        hard = house.limits[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard or hard == resource.RLIM_INFINITY
        assert 1 <= house.relay.max_connections <= hard // 2 or hard == resource.RLIM_INFINITY


# Reload


async def test_a_reload_changes_what_new_clients_meet_and_leaves_live_sessions_alone():
    async with House() as house:
        session = await house.session()
        with socket.create_server((HOST, 0)) as second:
            second.setblocking(False)
            before, house.port = house.port, unused_port()
            house.listen = f'"{HOST}:{house.port}"'
            house.gateway_port, house.top = second.getsockname()[1], 'log_format = "json"'
            await house.relay.reload()
            assert house.log.named("reload") == ["the new configuration is in force; live sessions are untouched"]
            assert house.log.format == "json"
            with pytest.raises(ConnectionRefusedError):
                await house.client(before)
            client = await house.client()
            gateway, _ = await asyncio.wait_for(house.loop.sock_accept(second), PATIENCE)
            house.fars.append(Far(gateway))
            await works(client, house.fars[-1])
        await works(*session)


async def test_a_listener_that_stays_is_not_closed_by_a_reload():
    async with House() as house:
        bound = [id(one.sock) for one in house.relay._listeners._listeners.values()]
        house.settings = "connect_timeout = 1"
        await house.relay.reload()
        assert [id(one.sock) for one in house.relay._listeners._listeners.values()] == bound
        await works(*await house.session())


@pytest.mark.parametrize("trouble", ["a wrong key", "a taken port", "a name nobody knows"])
async def test_a_reload_that_fails_keeps_everything_and_says_why(trouble):
    with socket.create_server((HOST, 0)) as taken:
        async with House("max_connections = 2") as house:
            before, session = house.relay.loaded, await house.session()
            house.top = "max_connections = 1"
            house.settings = 'idle_timeout = 0.1\nallow = "10.0.0.0/8"'
            if trouble == "a wrong key":
                house.settings += "\nno_such_key = 1"
            elif trouble == "a taken port":
                house.listen = f'["{HOST}:{house.port}", "{HOST}:{taken.getsockname()[1]}"]'
            else:
                house.listen = f'"no-such-host.invalid:{house.port}"'
            await house.relay.reload()
            ((_, severity, message),) = [one for one in house.log.events if one[0] == "reload"]
            assert (severity, message.startswith("refused, the old configuration stays: ")) == ("ERROR", True)
            words = {"a wrong key": "no_such_key", "a taken port": "taken", "a name nobody knows": "looked up"}
            assert words[trouble] in message
            assert (house.relay.loaded, house.relay.max_connections) == (before, 2)
            await works(*session)
            await works(*await house.session())


async def test_a_reload_brings_new_limits_into_force_at_once():
    async with House("max_connections = 1") as house:
        await house.session()
        house.top = "max_connections = 2"
        await house.relay.reload()
        await works(*await house.session())
        house.top = "max_connections = 1"
        await house.relay.reload()
        assert (await (await house.client()).read_to_end())[1] == "rst"


async def test_a_reload_brings_a_new_access_list_into_force_at_once():
    async with House() as house:
        session = await house.session()
        house.settings = 'allow = "10.0.0.0/8"'
        await house.relay.reload()
        assert (await (await house.client()).read_to_end())[1] == "rst"
        await works(*session)


async def test_who_is_inside_is_still_counted_after_a_reload():
    async with House(settings="max_per_source = 1") as house:
        client, _ = await house.session()
        await house.relay.reload()
        assert (await (await house.client()).read_to_end())[1] == "rst"
        client.reset()
        assert (await house.close_of(2)).active == 0  # the one that ends is none of those that are open
        await works(*await house.session())


async def test_a_reload_from_one_address_to_all_and_back():
    async with House() as house:
        for listen in ("0.0.0.0", HOST, "auto"):
            house.listen = f'"{listen}:{house.port}"'
            await house.relay.reload()
            assert [severity for name, severity, _ in house.log.events if name == "reload"][-1] == "INFO", (
                house.log.events
            )
            await works(*await house.session())


async def test_a_relay_that_is_stopping_does_not_reload():
    async with House() as house:
        await house.session()
        house.relay.stop("SIGTERM")
        assert house.relay.reload() is None
        assert (house.log.named("reload"), house.relay.bound()) == ([], [])


async def test_a_reload_of_what_cannot_be_read_any_more_is_refused():
    async with House() as house:

        def unreadable():
            raise ConfigError("relay.toml: seen no such file or directory; allowed: a readable TOML file")

        house.relay._reload = unreadable
        await house.relay.reload()
        assert house.log.events[-1][:2] == ("reload", "ERROR")
        await works(*await house.session())


# Stopping


async def test_without_connections_a_stop_is_the_end():
    async with House() as house:
        house.relay.stop("SIGTERM")
        await asyncio.wait_for(house.serving, 1)
        assert house.log.named("stopping") == ["SIGTERM: no new clients, no live connections"]
        assert house.log.events[-1][0] == "stopped"
        socket.create_server((HOST, house.port)).close()  # the port is free


async def test_while_draining_sessions_go_on_and_new_clients_are_refused():
    async with House() as house:
        client, gateway = await house.session()
        house.relay.stop("SIGTERM")
        assert house.log.named("stopping") == ["SIGTERM: no new clients, 1 live connection to end within 10 s"]
        with pytest.raises(ConnectionRefusedError):
            await house.client()
        await works(client, gateway)
        client.finish()
        gateway.finish()
        await asyncio.wait_for(house.serving, 1)
        record = await house.close_of()
        assert (record.cause.reason in (Reason.CLIENT_CLOSED, Reason.UPSTREAM_CLOSED), record.phase) == (
            True,
            EndPhase.DRAIN,
        )


@pytest.mark.parametrize("bound", ["0", "0.1"])
async def test_what_is_left_at_the_drain_bound_is_ended_and_both_sides_are_told(bound):
    async with House(f"drain_timeout = {bound}") as house:
        client, gateway = await house.session()
        begin = monotonic()
        house.relay.stop("SIGTERM")
        await asyncio.wait_for(house.serving, 2)
        assert float(bound) <= monotonic() - begin < 5
        record = await house.close_of()
        assert (record.cause, record.phase) == (Cause("relay", "policy", Reason.SHUTDOWN), EndPhase.DRAIN)
        assert [await client.read_to_end(), await gateway.read_to_end()] == [(b"", "fin")] * 2


@pytest.mark.parametrize("second", [{}, {"at_once": True}], ids=["SIGTERM", "SIGINT"])
async def test_a_second_signal_ends_a_drain_now(second):
    async with House() as house:
        await house.session()
        house.relay.stop("SIGTERM")
        house.relay.stop("again", **second)
        await asyncio.wait_for(house.serving, 1)
        assert (await house.close_of()).cause.reason is Reason.SHUTDOWN
        assert len(house.log.named("stopping")) == 1


async def test_a_drain_that_was_announced_is_not_cut_short_by_the_managers_sigterm():
    async with House("drain_timeout = 5") as house:
        client, gateway = await house.session()
        house.relay.drain("SIGUSR1")
        house.relay.stop("SIGTERM")
        assert house.log.named("stopping") == ["SIGUSR1: no new clients, 1 live connection to end within 5 s"]
        await works(client, gateway)
        house.relay.drain("SIGUSR1")
        await works(client, gateway)
        house.relay.stop("SIGTERM")
        await asyncio.wait_for(house.serving, 1)
        assert (await house.close_of()).cause.reason is Reason.SHUTDOWN


async def test_sigint_ends_everything_now():
    async with House() as house:
        await house.session()
        house.relay.stop("SIGINT", at_once=True)
        await asyncio.wait_for(house.serving, 1)
        assert house.log.named("stopping") == ["SIGINT: no new clients, 1 live connection to end now"]


@pytest.mark.parametrize("phase", ["dialling", "silent", "stalled"])
async def test_nobody_can_hold_up_the_end(phase):
    async with House("drain_timeout = 0.1", protocol="ib" if phase == "silent" else "raw") as house:
        if phase == "dialling":
            house.gateways.close()
            with socket.socket() as deaf, contextlib.ExitStack() as fillers:
                deaf.bind((HOST, house.gateway_port))
                deaf.listen(0)
                for _ in range(3):
                    filler = fillers.enter_context(socket.socket())
                    filler.setblocking(False)
                    filler.connect_ex(deaf.getsockname())
                await house.client()
                await until(lambda: house.live() == 1, "it is in")
                house.relay.stop("SIGTERM")
                await asyncio.wait_for(house.serving, 1)
        elif phase == "silent":
            await house.client()
            await until(lambda: house.live() == 1, "it is in")
        else:
            _, gateway = await house.session()
            flood = asyncio.create_task(gateway.send(bytes(32 << 20)))
            await until(lambda: house.relay.snapshot()[0].bytes_down > 1 << 16, "the flood")
        house.relay.stop("SIGTERM")
        await asyncio.wait_for(house.serving, 1)
        assert (await house.close_of()).cause.reason is Reason.SHUTDOWN
        if phase == "stalled":
            with pytest.raises(ConnectionError):
                await flood


# Descriptors that run out


@contextlib.contextmanager
def no_descriptors_left():
    """Every descriptor number below a new, low limit is taken."""
    before, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
    highest = max(map(int, os.listdir("/dev/fd"))) + 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield taken
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)


async def test_without_descriptors_clients_wait_nothing_spins_and_an_end_lets_the_next_one_in():
    async with House() as house:
        poller, calls = poller_of(house.loop), []
        leaving, staying = await house.session(), await house.session()
        accept = house.relay._acceptor.accept
        house.relay._listeners._accept = lambda listener: calls.append(1) or accept(listener)
        waiting = socket.socket()
        waiting.setblocking(False)
        house.fars.append(Far(waiting))
        with no_descriptors_left():
            waiting.connect_ex((HOST, house.port))
            await until(lambda: house.log.named("accept.paused"), "the pause")
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(calls) == 1
            assert house.log.named("accept.paused") == [
                "no descriptors left (Too many open files), 2 connections live; new clients wait"
            ]
            await works(*staying)
            leaving[0].reset()  # its two descriptors in the relay come free
            await until(lambda: house.live() == 2 and len(calls) > 1, "the waiting one is in")
        await works(Far(waiting), await house.gateway())
        assert poller is poller_of(house.loop)


@pytest.mark.slow
async def test_without_an_end_accepting_is_tried_again_after_a_while(monkeypatch):
    monkeypatch.setattr(acceptor, "ACCEPT_PAUSE", 0.1)
    async with House() as house:
        waiting = socket.socket()
        waiting.setblocking(False)
        house.fars.append(Far(waiting))
        with no_descriptors_left():
            waiting.connect_ex((HOST, house.port))
            await until(lambda: len(house.log.named("accept.paused")) >= 2, "it was tried twice", within=2)
        await works(Far(waiting), await house.gateway())
        assert len(house.log.named("accept.paused")) < 20


async def test_a_dial_without_a_descriptor_left_ends_that_client_only():
    async with House() as house:
        session = await house.session()
        waiting = socket.socket()
        waiting.setblocking(False)
        house.fars.append(Far(waiting))
        with no_descriptors_left() as taken:
            os.close(taken.pop())  # one is enough to accept, and none is left to dial
            waiting.connect_ex((HOST, house.port))
            record = await house.close_of()
        assert record.cause[:3] == ("relay", "error", Reason.RESOURCE_EXHAUSTED)
        assert (record.cause.error_type, record.phase) == ("EMFILE", EndPhase.CONNECT)
        assert (await Far(waiting).read_to_end())[1] == "rst"
        await works(*session)


# Faults of ours


async def test_a_fault_in_a_handler_costs_its_connection_and_no_other():
    async with House(protocol="raw") as house:
        broken, fine = await house.session(), await house.session()
        connection = house.relay._acceptor.live()[0]

        def fault(data, now):
            raise ZeroDivisionError("a fault of ours")

        connection.up.observe = fault
        await broken[0].send(b"x")
        record = await house.close_of()
        assert record.cause[:3] == ("relay", "error", Reason.INTERNAL_ERROR)
        assert record.cause.detail.startswith("ZeroDivisionError at test_server.py:")
        (message,) = house.log.named("fault")
        assert record.connection_id in message and "a fault of ours" in message
        assert (await broken[0].read_to_end())[1] == "rst"
        await works(*fine)
        await works(*await house.session())


async def test_a_fault_at_the_start_of_a_connection_does_not_make_the_relay_deaf():
    async with House() as house:
        house.log.refuse = ("open",)
        client = await house.client()
        assert (await client.read_to_end())[1] == "rst"
        assert (await house.close_of()).cause.reason is Reason.INTERNAL_ERROR
        house.log.refuse = ()
        await works(*await house.session())
        assert house.live() == 1


async def test_a_fault_at_a_deadline_costs_its_connection_and_no_other(monkeypatch):
    async with House(settings="idle_timeout = 0.1") as house:
        broken = await house.session()
        with monkeypatch.context() as patch:
            patch.setattr(Open, "_idle_expired", lambda phase, now: 1 // 0)
            assert (await house.close_of()).cause.reason is Reason.INTERNAL_ERROR
        assert (await broken[0].read_to_end())[1] == "rst"
        await works(*await house.session())
        assert (await house.close_of(2)).cause.reason is Reason.IDLE_TIMEOUT  # the timer of all the others is alive


async def test_a_fault_in_an_end_still_gives_the_place_back():
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context.get("exception")))
    async with House("max_connections = 1") as house:
        client, _ = await house.session()
        house.log.refuse = ("close",)
        client.reset()
        await until(lambda: house.log.named("fault"), "the fault is in the log")
        house.log.refuse = ()
        await works(*await house.session())
