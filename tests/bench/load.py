"""The C load generator seen from Python: compile it, start its gateway, run one piece of its work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCES = sorted(map(str, Path(__file__).parent.glob("*.c")))
COMPILE_TIMEOUT = 60.0
END_TIMEOUT = 30.0  # the client itself gives up after 20 s without progress


# Nice value. At -20 what polls would leave 1 % of its core to all else there, the kernel's own threads among it.
FIRST = -10


class LoadError(Exception):
    """Something could not be measured, or bytes were wrong; the text says what was seen."""


def build(folder: Path) -> Path:
    """Compile it into `folder`; LoadError with the compiler's words if that fails."""
    program = folder / "load"
    command = ["cc", "-O2", "-Wall", "-o", str(program), *SOURCES, "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT)
    except FileNotFoundError:
        raise LoadError("no C compiler: `cc` is not installed (Debian: apt-get install gcc libc6-dev)") from None
    if done.returncode:
        raise LoadError(f"the load generator does not compile: {done.stderr.strip()}")
    return program


class Server:
    """The gateway of load.c on a free port of 127.0.0.1. It ends with this process, even if that is killed."""

    def __init__(self, program: Path, cpus: str) -> None:
        self._process = _start(program, cpus, "server")
        word, _, port = self._process.stdout.readline().partition(" ")
        if word != "port":
            raise LoadError(f"the load server did not start: {self.close()}")
        self.port = int(port)

    def close(self) -> str:
        """End it; returns its complaints about bytes received, empty if it had none."""
        return _finish(self._process)


class Client:
    """One run of load.c's client: the constructor opens the sessions, `work()` does the work, `close()` checks the end.

    As a context manager it closes on success and kills on failure. LoadError from each of the three.
    """

    def __init__(self, program: Path, cpus: str, port: int, what: str, count: int, parameter: int) -> None:
        self._what = what
        self._process = _start(program, cpus, "client", str(port), what, str(count), str(parameter))
        self._line()

    def work(self) -> dict[str, float]:
        """What the client measured: seconds, count, bytes; where single times were taken p50, p99 and p999 (seconds).

        Those of timed ticks are tick_p50, tick_p99 and tick_p999.
        """
        return {name: float(value) for name, _, value in (word.partition("=") for word in self._tell().split())}

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        self._process.stdin.write("end\n")
        complaint = _finish(self._process)
        if self._process.returncode:
            raise LoadError(f"{self._what}: {complaint or 'client killed'}")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._process.kill()
            _finish(self._process)

    def _tell(self) -> str:
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise LoadError(f"{self._what}: {_finish(self._process) or f'client died ({self._process.returncode})'}")
        return line


def on(program: Path, cpus: str, first: bool = True) -> list[str]:
    """What stands before a command that is to run on these CPUS, `first`: before everybody else's work on them.

    Who is told to be nice stays so, and what may run on any CPU is not measured closely enough to need it.
    """
    nice = str(FIRST) if first and cpus != "-" and os.nice(0) <= 0 else "-"
    return [str(program), "exec", cpus, nice]


def _start(program: Path, cpus: str, *arguments: str) -> subprocess.Popen:
    command = [*on(program, cpus), str(program), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _finish(process: subprocess.Popen) -> str:
    """Close its stdin, wait, kill if it must be; returns what it said on stderr."""
    try:
        _, complaint = process.communicate(timeout=END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        _, complaint = process.communicate()
    return complaint.strip()
