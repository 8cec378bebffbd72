"""Nothing on the event loop waits for a name server, a disk, a manager or a child: each is frozen, and bytes pass.

Every call of the running relay that may wait is in ALLOWED, with the reason why it does not hold up a session.
"""

import ast
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from relay import server, upkeep
from relay.config.load import load
from relay.entry.bridges import Survey
from relay.manager import systemd
from relay.server import Relay
from relay.survival import handover
from relay.survival.handover import Handover, SavedSession
from relay.survival.state import state_of
from tests.relay.kit.blackbox import LINUX, RelayProcess
from tests.relay.kit.loopback import HOST, until, unused_port
from tests.relay.kit.managers import NotifySocket, fill
from tests.relay.kit.names import SlowNames
from tests.relay.kit.scripted import Upstream, free_port
from tests.relay.test_server import NEAR, House, works

ROOT = Path(__file__).parents[2]
WAITS = {"getaddrinfo", "gethostbyname", "getfqdn", "sleep", "run", "Popen", "open", "urlopen", "create_connection"}
MODULES = {"socket", "time", "subprocess", "os", "open"}  # whose functions of these names wait
ELSEWHERE = ("relay/cli/", "relay/service/", "relay/practice/", "relay/pyz.py", "relay/client.py", "relay/terminal.py")

# (file, call): why no session stands still for it.
ALLOWED = {
    ("relay/net/resolver.py", "socket.getaddrinfo"): "in a thread of its own",
    ("relay/entry/listen_address.py", "socket.getaddrinfo"): "aside, but for addresses that need no look-up",
    ("relay/config/files.py", "open"): "before the start, or aside at a reload",
    ("relay/config/files.py", "os.open"): "before the start, or aside at a reload",
    ("relay/logs/logfile.py", "os.open"): "in the log's thread; at a reload aside",
    ("relay/logs/logfile.py", "open"): "in the log's thread, or before the start",
    ("relay/logs/log.py", "time.sleep"): "in the log's thread; FLUSH_WAIT before an execve, which is a longer pause",
    ("relay/entry/bridges.py", "open"): "of the kernel's own files, which have no disk behind them",
    ("relay/entry/plugs.py", "open"): "of the kernel's own files, which have no disk behind them",
    ("relay/survival/live_sessions.py", "os.open"): "in the process of `service upgrade`",
    ("relay/survival/handover.py", "subprocess.run"): "aside: the rehearsal",
    ("relay/survival/handover.py", "os.open"): "in the process of the command that asks",
    ("relay/survival/upgrade.py", "time.sleep"): "in the process of the command that asks",
    ("relay/survival/upgrade.py", "subprocess.run"): "in the process of the command that asks",
}


def calls_that_wait(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            module, _, function = name.rpartition(".")
            if function in WAITS and (module or function) in MODULES:
                yield (str(file.relative_to(ROOT)), name)


def test_every_call_that_may_wait_is_known_and_has_its_reason():
    files = (file for file in sorted((ROOT / "relay").rglob("*.py")))
    running = (file for file in files if not str(file.relative_to(ROOT)).startswith(ELSEWHERE))
    assert {call for file in running for call in calls_that_wait(file)} == ALLOWED.keys()


# What is frozen: each begins something that does not come back, and says by which sign that is known.


@contextlib.asynccontextmanager
async def name_server_at_a_reload(house, patch, folder):
    names = SlowNames(patch)
    house.listen = f'["{HOST}:{house.port}", "gw:{unused_port()}"]'
    reloading = house.relay.reload()
    await until(lambda: names.asked, "the name is being looked up")
    yield
    names.release.set()
    await reloading


@contextlib.asynccontextmanager
async def name_server_while_bridges_come(house, patch, folder):
    names = SlowNames(patch)
    names.release.set()
    house.listen = f'["{HOST}:{house.port}", "gw:{unused_port()}"]'
    await house.relay.reload()
    names.release.clear()
    patch.setattr(upkeep, "find_bridges", lambda: Survey((NEAR,)))
    house.relay.upkeep.look_soon()
    await until(lambda: house.relay.upkeep.bridges, "the bridge is seen")
    yield
    assert len(names.asked) == 1, "where it leads is known"
    names.release.set()


@contextlib.asynccontextmanager
async def reload_that_waits(house, patch, where, name, result):
    """A reload for which this function takes as long as the test does."""
    answer, asked = threading.Event(), []

    def slow(*given):
        asked.append(given)
        assert answer.wait(10)
        return result(*given)

    patch.setattr(where, name, slow)
    reloading = house.relay.reload()
    await until(lambda: asked, f"{name} is asked")
    yield
    answer.set()
    await reloading


@contextlib.asynccontextmanager
async def disk_with_the_configuration(house, patch, folder):
    async with reload_that_waits(house, patch, house.relay, "_reload", house.loaded):
        yield


@contextlib.asynccontextmanager
async def disk_with_the_log_file(house, patch, folder):
    house.top = f'log_file = "{folder}/relay.log"'
    house.log.set_file = lambda file: None
    async with reload_that_waits(house, patch, server, "log_file_of", lambda config: None):
        yield


@contextlib.asynccontextmanager
async def child_that_rehearses(house, patch, folder):
    fifo = str(folder / "fifo")
    os.mkfifo(fifo)
    program = f"open({str(folder / 'on')!r}, 'w').close(); open({fifo!r}).read()"
    patch.setattr(handover, "command", lambda: [sys.executable, "-c", program])
    house.log.dropped = 0
    house.relay.upgrade()
    await until((folder / "on").exists, "the child runs")
    yield
    os.close(os.open(fifo, os.O_WRONLY))
    await until(lambda: house.log.named("upgrade"), "it is refused")


@contextlib.asynccontextmanager
async def manager_that_takes_nothing(house, patch, folder):
    for _ in range(20):
        await house.relay.reload()
    yield


FROZEN = (
    name_server_at_a_reload,
    name_server_while_bridges_come,
    disk_with_the_configuration,
    disk_with_the_log_file,
    child_that_rehearses,
    manager_that_takes_nothing,
)


@pytest.mark.parametrize("frozen", FROZEN, ids=[one.__name__ for one in FROZEN])
async def test_bytes_pass_while_frozen_is_the(frozen, monkeypatch, tmp_path):
    with NotifySocket(tmp_path / "notify") as notify:
        if frozen is manager_that_takes_nothing:
            fill(lambda: systemd.notify("STATUS=full", wait=0, environ=notify.environ))
            monkeypatch.setenv("NOTIFY_SOCKET", notify.where)
            monkeypatch.setenv("FDSTORE", "0")
        async with House() as house:
            session = await house.session()
            async with frozen(house, monkeypatch, tmp_path):
                for _ in range(20):
                    await works(*session)
                await works(*await house.session())
            await works(*session)


async def test_a_reload_that_comes_during_another_is_done_after_it(monkeypatch):
    async with House() as house:
        names = SlowNames(monkeypatch)
        before, house.listen = house.listen, f'"gw:{house.port}"'
        reloading = house.relay.reload()
        await until(lambda: names.asked, "the name is being looked up")
        house.listen, house.settings = before, "connect_timeout = 2"
        assert [house.relay.reload(), house.relay.reload()] == [None, None]
        names.release.set()
        await reloading
        await until(lambda: len(house.log.named("reload")) == 2, "the second one")
        assert house.relay.loaded.config.maps[0].connect_timeout == 2


async def test_a_reload_that_nobody_answers_is_given_up_and_the_next_one_works(monkeypatch):
    monkeypatch.setattr(server, "RELOAD_WAIT", 0.05)
    async with House() as house:
        names = SlowNames(monkeypatch)
        before, house.listen = house.listen, f'"gw:{house.port}"'
        await house.relay.reload()
        (message,) = house.log.named("reload")
        assert message == "refused, the old configuration stays: no disk or name server answered in 0.05 s"
        house.listen = before
        monkeypatch.setattr(server, "RELOAD_WAIT", 10)
        await house.relay.reload()
        assert house.log.named("reload")[1].startswith("the new configuration is in force")
        names.release.set()


async def test_a_stop_does_not_wait_for_a_reload(monkeypatch):
    async with House() as house:
        names = SlowNames(monkeypatch)
        house.listen = f'"gw:{house.port}"'
        reloading = house.relay.reload()
        await until(lambda: names.asked, "the name is being looked up")
        house.relay.stop("SIGTERM")
        await asyncio.wait_for(house.serving, 10)
        names.release.set()
        await reloading
        assert (house.log.named("reload"), house.relay.bound()) == ([], [])


async def test_sessions_of_the_program_before_go_on_while_a_name_in_listen_is_looked_up(monkeypatch):
    async with House() as house:
        session = await house.session()
        await works(*session)
        (connection,) = house.relay._acceptor.live()
        saved = SavedSession(
            state_of(connection), os.dup(connection.client.fileno()), os.dup(connection.upstream.fileno())
        )
        connection.leave()
        house.relay._acceptor.forget(connection)
        names = SlowNames(monkeypatch)
        house.listen = f'"gw:{unused_port()}"'
        heir = Relay(load(house.text().encode(), "relay.toml", {}, {}), house.log, handed=Handover((saved,)))
        starting = asyncio.create_task(heir.start())
        await until(lambda: names.asked, "the name is being looked up")
        await works(*session)
        assert (heir.reload(), heir.upgrade(), heir.bound()) == (None, None, [])
        names.release.set()
        await starting
        assert len(heir.bound()) == 1
        heir.stop("the test's end", at_once=True)
        await heir.serve()


async def test_a_fault_in_a_timer_goes_into_the_log_and_not_to_standard_error(capsys):
    async with House() as house:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await until(lambda: house.log.named("fault"), "the fault is told")
        assert house.log.named("fault") == ["ZeroDivisionError: division by zero"]
        await works(*await house.session())
    assert capsys.readouterr().err == ""


# A real name server


@pytest.mark.slow
@pytest.mark.skipif(not LINUX or os.getuid() != 0, reason="needs root, for port 53 and a resolv.conf of its own")
def test_bytes_pass_while_a_real_name_server_says_nothing(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.53.53.53", 53))
        except OSError as error:
            pytest.skip(f"no name server can be here: {error}")
        silent.settimeout(10)
        (tmp_path / "resolv.conf").write_text("nameserver 127.53.53.53\n")
        through = (
            f'exec unshare -m /bin/sh -c \'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"\' sh "$@"'
        )
        with Upstream() as upstream, RelayProcess(upstream.port, through=through, idle_timeout=0) as relay:
            client, gateway = relay.session(upstream)
            relay.listen = f"gw.example:{free_port()}"
            relay.write_configuration()
            relay.signal(signal.SIGHUP)
            silent.recv(512)  # the question, which stays without an answer
            for _ in range(20):
                client.sendall(b"question")
                assert gateway.read_exactly(8) == b"question"
                gateway.sendall(b"answer")
                assert client.read_exactly(6) == b"answer"
            assert not relay.records("ib_relay.reload"), "it is still being looked up"
