"""One relay running in front of its own gateway: started, found to be listening, put to sleep and woken, ended."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import load, peers, processes
from tests.bench.keeper import Keeper
from tests.bench.peers import Peer, Place

REPOSITORY = Path(__file__).resolve().parents[2]
LISTEN_TIMEOUT = 10.0
DEATH_TIMEOUT = 0.5  # from a failed measurement to the exit of a relay that caused it by dying
PROFILE_TIMEOUT = 20.0  # drain bound of our relay is 10 s; cProfile writes its file after that
STOP_TIMEOUT = 5.0  # for all processes of a relay to be seen stopped
KEEP_TIMEOUT = 5.0  # for the first session to be given to the manager
WAKE = 0.02  # seconds for what came due while it slept: timers, processes whose session is over


@dataclass(frozen=True, slots=True)
class Bench:
    """What all relays of one run share: the load program, a folder for files, and which CPUs do what ("-" = any)."""

    program: Path
    folder: Path
    load_cpus: str
    relay_cpus: str

    def niceness(self) -> str:
        """What the relay runs with; it is `load.FIRST` where that is allowed."""
        command = [*load.on(self.program, self.relay_cpus), "nice"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# In place of `-m relay`; the command itself ends without a profiler's last words.
PROFILED = "import cProfile, sys; from relay.cli import run; cProfile.run('run(sys.argv[2:])', sys.argv[1])"


class Relay:
    """One relay running in front of its own gateway. `pid` is None when there is no relay between them."""

    def __init__(self, bench: Bench, peer: Peer, profile: Path | None = None) -> None:
        self.peer, self._bench, self._process = peer, bench, None
        self._keeper = Keeper() if peer.kept else None
        self.start_seconds: float | None = None
        self._errors = bench.folder / f"{peer.key}.err"
        self._server = load.Server(bench.program, bench.load_cpus)
        self.port = self._server.port
        try:
            if peer.command:
                self._start(profile)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        return self._process and self._process.pid

    def client(self, what: str, count: int, parameter: int) -> load.Client:
        """Work of the load generator through this relay, as `load.Client` has it."""
        return load.Client(self._bench.program, self._bench.load_cpus, self.port, what, count, parameter)

    def obituary(self) -> str:
        """The last words of a relay that has died, or is dying now; empty if it lives."""
        if self._process:
            try:
                return f"{self.peer.title} exited with {self._process.wait(DEATH_TIMEOUT)}: {self._last_words()}"
            except subprocess.TimeoutExpired:
                pass
        return ""

    def cpu_seconds(self) -> float | None:
        return None if self.pid is None else processes.cpu_seconds(self.pid)

    def sleep(self) -> None:
        """Stop every process of it: nobody loses a moment to a relay that is not measured. LoadError if one goes on."""
        if self._process:
            self._signal(signal.SIGSTOP)
            deadline = time.monotonic() + STOP_TIMEOUT
            while set(processes.group(self._process.pid).values()) - {"T", "Z"}:
                if time.monotonic() > deadline:
                    raise load.LoadError(f"{self.peer.title} does not stop: {processes.group(self._process.pid)}")
                time.sleep(0.001)

    def wake(self) -> None:
        if self._process:
            self._signal(signal.SIGCONT)
            time.sleep(WAKE)

    def close(self, gently: bool = False) -> str:
        """End relay and gateway; returns what the gateway had to complain about.

        `gently` lets the relay end by itself.
        """
        if self._process:
            if gently:
                self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(PROFILE_TIMEOUT)
            self._signal(signal.SIGKILL)
            self._process.wait()
        if self._keeper:
            self._keeper.close()
        return self._server.close()

    def _signal(self, number: int) -> None:
        """To the whole process group, which is all that the relay has ever forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _start(self, profile: Path | None) -> None:
        self.port = _free_port()
        folder = self._bench.folder / self.peer.key
        folder.mkdir(exist_ok=True)
        command = self.peer.command(Place(self.port, self._server.port, folder))
        if profile:
            command[1:3] = ["-c", PROFILED, str(profile)]
        kept = self._keeper.environ if self._keeper else {}
        pinned = [*load.on(self._bench.program, self._bench.relay_cpus, not self.peer.polls), *command]
        with open(self._errors, "wb") as errors:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=REPOSITORY,
                env=peers.clean_environment() | self.peer.environment | kept,
                start_new_session=True,
            )
        self._wait_until_it_listens(begun)
        self.start_seconds = time.perf_counter() - begun
        if self._keeper:
            self._prove_that_it_keeps(self._keeper)

    def _prove_that_it_keeps(self, keeper: Keeper) -> None:
        """A session's checkpoint in the manager's hands: from the start on, the relay moves all bytes that way."""
        with self.client("idle", 1, 0) as client:
            client.work()
            if not keeper.wait_for_session(KEEP_TIMEOUT):
                raise load.LoadError(f"{self.peer.title} gave no session to its manager: {self._last_words()}")

    def _wait_until_it_listens(self, begun: float) -> None:
        """Polls by connecting, as a client would find out; each relay sees at most one such empty connection."""
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except ConnectionRefusedError:
                pass
            if self._process.poll() is not None:
                raise load.LoadError(
                    f"{self.peer.title} did not start ({self._process.returncode}): {self._last_words()}"
                )
            if time.perf_counter() - begun > LISTEN_TIMEOUT:
                raise load.LoadError(
                    f"{self.peer.title} does not listen after {LISTEN_TIMEOUT:.0f} s: {self._last_words()}"
                )
            time.sleep(0.001)

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._errors.read_text(errors="replace").splitlines()]
        return " / ".join([line for line in lines if line.strip("^ ")][-2:]) or "it said nothing"


def _free_port() -> int:
    """A free port below Linux' ephemeral range: polling a port inside it can end in a socket connected to itself."""
    while True:
        port = random.randrange(10240, 32768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
