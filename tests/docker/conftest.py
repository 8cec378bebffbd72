"""One engine for all tests, the host's own address, and the single file that goes into the containers."""

import contextlib
import json
import socket
import subprocess
import sys
import threading

import pytest

from tests.diagnostics.peers import accepting
from tests.diagnostics.test_matrix import HELLO, READY, TIME
from tests.docker.engine import HOST_ADDRESS, ROOT, Engine
from tests.relay.kit.scripted import wait_until

INTERFACES = """
ip link set lo up
ip link add host0 type veth peer name wire0
ip link set wire0 up
ip address add HOST/24 dev host0
ip link set host0 up
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The bytes of ib-diagnose.py, built as README says."""
    folder = tmp_path_factory.mktemp("bundle")
    subprocess.run([sys.executable, "-m", "diagnostics", "bundle", "--into", folder], check=True, cwd=ROOT)
    return (folder / "ib-diagnose.py").read_bytes()


@pytest.fixture(scope="session")
def namespace():
    """Loopback and the host's own address, in a network namespace that has nothing yet."""
    names = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "docker0" not in names and len(names.splitlines()) <= 8, (
        "run this by `python -m tests.docker` (or tests.podman), not by pytest"
    )
    subprocess.run(["sh", "-ec", INTERFACES.replace("HOST", HOST_ADDRESS)], check=True)


@pytest.fixture(scope="session")
def engine(namespace):
    with Engine() as engine:
        yield engine


class Run:
    """What ib-diagnose said in a container."""

    def __init__(self, status, stdout, stderr):
        assert status in (0, 2, 3, 4), (status, stdout, stderr)
        self.status, self.said = status, json.loads(stdout)
        self.line = self.said["verdict"]["line"]
        self.codes = [finding["code"] for finding in self.said["findings"]]
        self.candidates = [one["code"] for finding in self.said["findings"][:1] for one in finding["candidates"]]

    def stages(self, route):
        """Outcomes by stage of a route such as 172.17.0.1:4003."""
        return next(
            {stage["stage"]: stage["outcome"] for stage in one["stages"]}
            for one in self.said["routes"]
            if one["route"] == route
        )

    def __repr__(self):
        return f"{self.status} {self.line} {self.codes}"


@pytest.fixture
def diagnose(engine, program):
    """Run it in a new container; options are docker's, words are ib-diagnose's."""

    def run(*words, options=(), environment=()):
        return Run(*engine.diagnose(program, "--format", "json", *words, options=options, environment=environment))

    return run


@pytest.fixture
def host(namespace):
    """Services on the "host": host.gateway("0.0.0.0", 4003, "silent"). Gone after the test, like what `rules` adds."""
    with contextlib.ExitStack() as stack:
        yield Host(stack)


class Host:
    def __init__(self, stack):
        self.stack = stack

    def gateway(self, address, port=4003, behaviour="normal"):
        process = self.stack.enter_context(
            subprocess.Popen(
                [sys.executable, ROOT / "tests/docker/gateway.py", address, str(port), behaviour],
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env={"PYTHONPATH": str(ROOT)},
            )
        )
        self.stack.callback(process.kill)
        assert process.stdout.readline() == b"listening\n"

    def name_server(self):
        """Answers on the host's address that it knows no name (RFC 1035: the question again, QR, RA and RCODE 3)."""
        sock = self.stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind((HOST_ADDRESS, 53))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    asked, client = sock.recvfrom(512)
                    if not asked:
                        return
                    end = asked.index(b"\0", 12) + 5  # behind the name: type and class
                    sock.sendto(asked[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + asked[12:end], client)

        thread = threading.Thread(target=serve)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(sock.sendto, b"", (HOST_ADDRESS, 53))

    def rule(self, *words):
        """An iptables rule, put first."""
        subprocess.run(["iptables", "-w", "-I", *words], check=True)
        self.stack.callback(subprocess.run, ["iptables", "-w", "-D", *words], check=True)


@pytest.fixture
def relay(host, tmp_path):
    """relay(*flags): `ib-relay run` before a healthy gateway on the host's loopback; gives what reads its records."""

    def run(*flags):
        host.gateway("127.0.0.1", 4002)
        log = tmp_path / "log"
        # /sys shows the interfaces of whoever mounted it: this namespace's, as on any host.
        inside = ["unshare", "--mount", "sh", "-ec", 'mount -t sysfs sysfs /sys; exec "$@"', "sh"]
        command = [*inside, sys.executable, "-m", "relay", "run", "--log-format", "json", *flags]
        out = host.stack.enter_context(log.open("wb"))
        process = host.stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT))
        host.stack.callback(process.kill)
        wait_until(lambda: b"ib_relay.listening" in log.read_bytes(), "the relay listens")
        return lambda: [json.loads(line) for line in log.read_text().splitlines()]

    return run


@pytest.fixture
def on_the_host():
    """on_the_host(*words): ib-diagnose there, outside of any container."""

    def run(*words):
        command = [sys.executable, "-m", "diagnostics", "--format", "json", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        return Run(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def trusting_loopback(engine, on_the_host):
    """A gateway that closes on every other peer than 127.0.0.1; gives ib-diagnose as run on the host itself."""

    def serve(sock, address):
        with sock:
            for answer in (HELLO, READY, TIME) if address[0] == "127.0.0.1" else ():
                sock.recv(4096)
                sock.sendall(answer)

    with accepting(serve, "0.0.0.0", 4003):
        yield on_the_host


@pytest.fixture
def containers(engine):
    """containers.start(...) as Engine.start; removed after the test. containers.network(name) likewise."""
    with contextlib.ExitStack() as stack:
        yield Containers(engine, stack)


class Containers:
    def __init__(self, engine, stack):
        self.engine, self.stack = engine, stack

    def gateway(self, address="0.0.0.0", port=4002, behaviour="normal", options=()):
        name = self.start("/src/tests/docker/gateway.py", address, str(port), behaviour, options=options)
        while "listening" not in self.engine("logs", name):
            assert self.engine("inspect", "-f", "{{.State.Running}}", name) == "true", self.engine("logs", name)
        return name

    def start(self, *words, options=()):
        name = self.engine.start(*words, options=options)
        self.stack.callback(self.engine.remove, name)
        return name

    def network(self, name, *options):
        self.engine("network", "create", *options, name)
        self.stack.callback(self.engine, "network", "rm", name)
        found = json.loads(self.engine("network", "inspect", name))[0]
        return found["IPAM"]["Config"][0]["Gateway"]
