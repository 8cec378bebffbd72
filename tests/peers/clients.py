"""The real client libraries we are measured with: what each is, where it is installed, and how its driver is started.

Each lives in a folder of its own under .peers/, because four distributions all import as `ibapi`. A folder is only
given its final name when its installation is complete, so a broken download is tried again by the next run.
"""

import asyncio
import dataclasses
import enum
import json
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PEERS = CHECKOUT / ".peers"  # git-ignored
PYTHON_TAG = f"py{sys.version_info.major}{sys.version_info.minor}"  # compiled dependencies fit one Python only
INSTALL_TIMEOUT = 300.0  # seconds for one client; a cold registry answers in about 10


class Kind(enum.Enum):
    """Families that fail in the same way (same networking code inside)."""

    IB_ASYNC = "driver_ib_async.py"
    IBAPI = "driver_ibapi.py"
    STOQEY = "driver_stoqey.cjs"


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """One released client library. `newest` is the highest server version it offers in its hello."""

    name: str
    requirement: str
    kind: Kind
    newest: int

    @property
    def driver(self):
        return HERE / self.kind.value

    def folder(self, peers):
        release = self.requirement.replace("/", "-").lstrip("@").replace("==", "-")
        return peers / (release if self.kind is Kind.STOQEY else f"{release}-{PYTHON_TAG}")

    def command(self, task):
        """The argument vector that runs one Task."""
        interpreter = ["node"] if self.kind is Kind.STOQEY else [sys.executable, "-u"]
        return [*interpreter, str(self.driver), json.dumps(task)]

    def environment(self, peers):
        """The driver's environment: this library and no other."""
        here = self.folder(peers)
        own = {"NODE_PATH": str(here / "node_modules")} if self.kind is Kind.STOQEY else {"PYTHONPATH": str(here)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NODE_", "IB_"))}
        return kept | own


CLIENTS = (
    Client("ib_insync", "ib_insync==0.9.86", Kind.IB_ASYNC, 176),
    Client("ib_async", "ib_async==2.1.0", Kind.IB_ASYNC, 178),
    Client("ibapi-9.81", "ibapi==9.81.1.post1", Kind.IBAPI, 157),
    Client("ibapi-10.30", "python-ibapi-stable==10.30.1", Kind.IBAPI, 187),
    Client("ibapi-10.50", "ibapi-stable==10.50.2", Kind.IBAPI, 226),
    Client("ibapi-10.51", "ibapi-latest==10.51.1", Kind.IBAPI, 226),
    Client("stoqey", "@stoqey/ib@1.6.10", Kind.STOQEY, 193),
)


async def install_all(clients, peers):
    """Install what is missing, all at once; return the problems as {client: text}."""
    peers.mkdir(parents=True, exist_ok=True)
    results = await asyncio.gather(*(_install(client, peers) for client in clients))
    return {client: problem for client, problem in zip(clients, results, strict=True) if problem}


async def _install(client, peers):
    """Install one client unless it is there; return None or the problem."""
    target = client.folder(peers)
    if target.is_dir():
        return None
    if client.kind is Kind.STOQEY and not (shutil.which("npm") and shutil.which("node")):
        return "needs node and npm (Debian: apt-get install nodejs npm)"
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if client.kind is Kind.STOQEY:
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(unfinished), client.requirement]
    else:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--target", str(unfinished), client.requirement]
    code, output = await _run(command)
    if code != 0:
        return f"{' '.join(command[:4])} ... exit {code}: {output.strip()[-400:]}"
    unfinished.rename(target)
    return None


async def _run(command):
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), INSTALL_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, f"no end after {INSTALL_TIMEOUT:.0f} s"
    return process.returncode, output.decode(errors="replace")
