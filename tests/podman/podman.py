"""A Podman of our own: its files in a folder that goes, its containers in the namespaces of these tests.

`lay_out` changes the mount namespace of the tests once: there Podman's locks, its folders below /run and, for an
ordinary user, the list of users are ours.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.docker.engine import IMAGE, ROOT, Commands
from tests.docker.image import build

USER, USER_ID = "trader", 4711
SUBORDINATE = f"{USER}:2000000:65536\n"  # the user ids that its containers may use
CHECKOUT = Path("/run/checkout")
SETTINGS = Path("/run/containers.conf")
# No higher limits than these tests have themselves, which not even root may raise everywhere.
SETTINGS_TEXT = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def lay_out() -> None:
    """What Podman looks for outside of its own folders, made ours."""
    mount("--make-shared", "/")
    for place in ("/run", "/dev/shm"):
        mount("-t", "tmpfs", "tmpfs", place)
    CHECKOUT.mkdir()
    mount("--bind", ROOT, CHECKOUT)  # wherever the checkout is, an ordinary user can read it here
    SETTINGS.write_text(SETTINGS_TEXT)
    users = Path("/etc/passwd").read_text() + f"{USER}:x:{USER_ID}:{USER_ID}::/:/bin/sh\n"
    for file, text in (("/etc/passwd", users), ("/etc/subuid", SUBORDINATE), ("/etc/subgid", SUBORDINATE)):
        ours = Path("/run", Path(file).name)
        ours.write_text(text)
        Path(file).touch()
        mount("--bind", ours, file)
    for device in ("/dev/net/tun", "/dev/fuse"):  # open to everybody, as most systems have them
        ours = Path("/run", Path(device).name)
        os.mknod(ours, 0o020666, os.stat(device).st_rdev)
        ours.chmod(0o666)
        mount("--bind", ours, device)


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


class Podman(Commands):
    """`with Podman() as podman`: it has the image. A rootless one is an ordinary user's."""

    sources = CHECKOUT

    def __init__(self, rootless: bool = False) -> None:
        self.owner = USER_ID if rootless else 0
        self.folder = Path(tempfile.mkdtemp(prefix="ib-podman-", dir="/var/tmp"))
        home, runtime = self.folder / "home", self.folder / "runtime"
        who = f"--reuid={self.owner}", f"--regid={self.owner}", "--clear-groups"
        environment = f"PATH={os.environ['PATH']}", f"HOME={home}", f"XDG_RUNTIME_DIR={runtime}"
        become = ("setpriv", *who, "env", "-i", *environment, f"CONTAINERS_CONF={SETTINGS}")
        places = ("--root", f"{home}/root", "--runroot", f"{runtime}/run", "--network-config-dir", f"{home}/networks")
        self.command = (*become, "podman", *places)
        for folder in (self.folder, home, runtime):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, self.owner, self.owner)

    def __enter__(self) -> "Podman":
        archive = self.folder / "image.tar"
        build(archive)
        self("import", archive, IMAGE)
        archive.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self._run("rm", "--all", "--force", "--time", "0")
        shutil.rmtree(self.folder, ignore_errors=True)
