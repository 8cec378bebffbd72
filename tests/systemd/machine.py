"""A throw-away machine with a real systemd: Debian from the mirror, booted by systemd-nspawn, seen from both sides.

The template of a suite is made once (debootstrap, some 50 s and 300 MB) below .systemd/, which git ignores; every boot
is an overlay on it and starts clean. The machine has a network of its own with nothing but loopback, the pure cgroup v2
tree in a cgroup of its own, and bpf(2), without which systemd silently leaves out its address filters.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.relay.kit.scripted import wait_until

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / ".systemd"
SUITES = {"bookworm": 252, "trixie": 257}  # and the systemd they have
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter")
PACKAGES = "systemd,systemd-sysv,dbus,libpam-systemd,dbus-user-session,python3,python3-venv,iproute2,procps"
# Nothing that needs hardware, a console or the network.
MASKED = [
    "getty@tty1.service",
    "console-getty.service",
    "systemd-resolved.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "dpkg-db-backup.timer",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "dev-hugepages.mount",
    "systemd-networkd-wait-online.service",
]
SETTINGS = {
    "etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n",
    "etc/systemd/system.conf.d/test.conf": "[Manager]\nDefaultTimeoutStopSec=10s\n",
    "etc/machine-id": "",  # a new one at every boot
    "etc/hostname": "relaytest\n",
}
USER, USER_ID = "tester", 1000
BOOT_BOUND = 60.0  # seconds; takes 0.3 to 2
# Without a cgroup of its own a machine shares its caller's, and two that are booted from one shell share that one: the
# end of a service in one would then kill the processes of the service of that name in the other.
JOIN = 'for cgroup in $0; do echo $$ > "$cgroup/cgroup.procs"; done; exec "$@"'
CLONE_NEWNET = 0x40000000  # linux/sched.h


class Trouble(Exception):
    """The harness itself could not do its part."""


def missing_tools() -> str:
    """Why no machine can be booted here, or ""."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"needs {', '.join(absent)} (apt install debootstrap systemd-container)" if absent else ""


def template(suite: str) -> Path:
    """The folder of a suite, made when it is not there yet."""
    folder = TEMPLATES / suite
    ready = folder / ".ready"  # says what it was made of
    if ready.exists() and ready.read_text() == PACKAGES:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    (TEMPLATES / "cache").mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", f"--cache-dir={TEMPLATES / 'cache'}"]
    made = subprocess.run([*command, suite, folder], capture_output=True, text=True)
    if made.returncode:
        raise Trouble(f"debootstrap {suite}: {(made.stdout + made.stderr)[-1500:]}")
    for name, text in SETTINGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for unit in MASKED:
        place = folder / "etc/systemd/system" / unit
        place.unlink(missing_ok=True)
        place.symlink_to("/dev/null")
    default = folder / "etc/systemd/system/default.target"
    default.unlink(missing_ok=True)
    default.symlink_to("/lib/systemd/system/multi-user.target")
    subprocess.run(["chroot", folder, "useradd", "-m", "-u", str(USER_ID), USER], capture_output=True)
    ready.write_text(PACKAGES)
    return folder


class Machine:
    """One booted machine; `with` boots it and turns it off."""

    def __init__(self, suite: str, options: tuple[str, ...] = ()) -> None:
        self.suite = suite
        self.version = SUITES[suite]
        self.boot_seconds = 0.0
        self._options = options
        self._nspawn: subprocess.Popen | None = None
        self.leader = 0  # its process 1, as seen from here

    @classmethod
    def that_runs(cls, suite: str, leader: int) -> Machine:
        """One that somebody else has booted and will turn off."""
        machine = cls(suite)
        machine.leader = leader
        return machine

    def __enter__(self) -> Machine:
        folder = template(self.suite)
        started = time.monotonic()
        TEMPLATES.mkdir(exist_ok=True)
        name = f"relaytest{os.getpid()}x{id(self) % 9999}"
        self._cgroups = _new_cgroups(name)
        self._console = open(TEMPLATES / f"console-{os.getpid()}-{id(self):x}", "w+b")
        command = [
            "sh",
            "-ec",
            JOIN,
            " ".join(map(str, self._cgroups)),
            "systemd-nspawn",
            "--quiet",
            f"--directory={folder}",
            f"--machine={name}",
            "--boot",
            "--volatile=overlay",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=pipe",
            "--system-call-filter=bpf",
            "--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN",
            *self._options,
        ]
        self._nspawn = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
            start_new_session=True,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
        try:
            self._find_leader(started + BOOT_BOUND)
            state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
            if state != "running":
                failed = self.run("systemctl", "--failed", "--plain", "--no-legend", check=False).stdout
                raise Trouble(f"{self.suite} booted to {state!r}: {failed}\n{self.console()}")
            self.run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        self.boot_seconds = time.monotonic() - started
        return self

    def _find_leader(self, until: float) -> None:
        """Find the only child of nspawn, once its systemd listens."""
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        while time.monotonic() < until:
            if self._nspawn.poll() is not None:
                raise Trouble(f"systemd-nspawn ended: {self.console()}")
            with contextlib.suppress(OSError):
                for child in children.read_text().split():
                    name = Path(f"/proc/{child}/comm").read_text().strip()
                    if name == "systemd" and os.path.exists(f"/proc/{child}/root/run/systemd/private"):
                        self.leader = int(child)
                        return
            time.sleep(0.02)
        raise Trouble(f"no process 1 within {BOOT_BOUND:g} s: {self.console()}")

    def __exit__(self, *_: object) -> None:
        if self._nspawn is None:
            return
        if self._nspawn.poll() is None and self.leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGRTMIN + 4)  # poweroff.target, systemd(1)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            for pid in filter(None, (self.leader, self._nspawn.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._nspawn.wait(10)
        self._nspawn = None
        for cgroup in self._cgroups:
            _remove_cgroup(cgroup)
        self._console.close()
        Path(self._console.name).unlink(missing_ok=True)

    def console(self) -> str:
        return Path(self._console.name).read_text(errors="replace")[-3000:]

    # Inside

    def run(
        self, *command: str, check: bool = True, timeout: float = 90.0, user: bool = False
    ) -> subprocess.CompletedProcess:
        """Run to the end as root, or as a plain user with a systemd of its own."""
        ran = subprocess.run(
            self.command(*command, user=user), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
        if check and ran.returncode:
            raise AssertionError(f"{' '.join(command)} -> {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def command(self, *command: str, user: bool = False) -> list[str]:
        """The argument list that runs `command` inside, also for systemd, which knows a process by its cgroup."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        join = ["sh", "-ec", JOIN, str(_cgroups_of(self.leader)[""])]
        nsenter = ["nsenter", f"--target={self.leader}", "--all", "--root", "--wd"]
        enter = [*join, *nsenter, "env", "-i", path, "LANG=C.UTF-8"]
        if not user:
            return [*enter, "HOME=/root", *command]
        runtime = f"/run/user/{USER_ID}"
        drop = ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--init-groups", "--"]
        bus = f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus"
        return [*enter, f"HOME=/home/{USER}", f"USER={USER}", f"XDG_RUNTIME_DIR={runtime}", bus, *drop, *command]

    def start_user_manager(self) -> None:
        """What a login would do."""
        self.run("loginctl", "enable-linger", USER)
        wait_until(lambda: self.path(f"/run/user/{USER_ID}/bus").exists(), "the user's systemd runs", 20)

    def path(self, inside: str) -> Path:
        """The way from here to a path inside."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def put(self, source: Path, inside: str) -> None:
        """Copy a file in."""
        shutil.copy(source, self.path(inside))

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        lines = self.run("systemctl", "show", unit, f"--property={','.join(properties)}").stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def main_pid(self, unit: str = "ib-relay.service") -> int:
        """The service's process, in the machine's own numbers."""
        return int(self.show(unit, "MainPID")["MainPID"])

    def journal(self, unit: str = "ib-relay.service") -> str:
        return self.run("journalctl", "-u", unit, "--no-pager", "-o", "cat").stdout

    # Its network, from outside

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Sockets this thread makes meanwhile are the machine's (a socket stays where it was made)."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{threading.get_native_id()}/ns/net") as ours, open(f"/proc/{self.leader}/ns/net") as theirs:
            _setns(libc, theirs.fileno())
            try:
                yield
            finally:
                _setns(libc, ours.fileno())


def _cgroups_of(process: int | str) -> dict[str, Path]:
    """Where it is in each hierarchy that systemd uses: "" is cgroup v2, "name=systemd" what a host with v1 also has."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = {}
    for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
        _, kind, own = line.split(":", 2)
        for _, where, what, options, *_ in mounts:
            named = kind == "name=systemd" and what == "cgroup" and kind in options.split(",")
            if (kind, what) == ("", "cgroup2") or named:
                found[kind] = Path(where + own)
                break
    return found


def _new_cgroups(name: str) -> list[Path]:
    """Made below our own."""
    made = [cgroup / name for cgroup in _cgroups_of("self").values()]
    for cgroup in made:
        cgroup.mkdir()
    return made


def _remove_cgroup(cgroup: Path) -> None:
    """With what systemd has made in it; it is empty, or just about to be."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):  # the kernel has not done away with the last process yet
            os.rmdir(folder)


def _setns(libc: ctypes.CDLL, fd: int) -> None:
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
