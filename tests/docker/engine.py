"""A Docker engine of our own, in a network namespace of its own: the "host" of these tests, gone without a trace."""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.docker.image import build

HOST_ADDRESS = "10.77.0.1"  # of the namespace's own interface: what a user calls the host's IP
DOCKER0 = "172.17.0.1"
IMAGE = "bare-python3"
ROOT = Path(__file__).resolve().parents[2]


class Commands:
    """What tests ask of an engine: `command` calls it, `sources` is the checkout as its containers may have it."""

    command: tuple = ()
    sources = ROOT

    def __call__(self, *arguments, **options):
        """A command of the engine that must succeed; its standard output."""
        done = self._run(*arguments, **options)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, done.args))}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _run(self, *arguments, **options):
        words = [*self.command, *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, **options)

    def start(self, *arguments, options=()):
        """A container that runs python3 with these arguments; its name. The checkout is at /src, read-only."""
        return self("run", "-d", *self._with_sources(), *options, IMAGE, "/usr/bin/python3", "-u", *arguments)

    def run(self, *arguments, options=()):
        """The same, to its end; what it printed."""
        return self("run", "--rm", *self._with_sources(), *options, IMAGE, "/usr/bin/python3", "-u", *arguments)

    def _with_sources(self):
        return "-v", f"{self.sources}:/src:ro", "-e", "PYTHONPATH=/src"

    def address(self, name, network="bridge"):
        return json.loads(self("inspect", name))[0]["NetworkSettings"]["Networks"][network]["IPAddress"]

    def remove(self, *names):
        self("rm", "-f", *names)

    def diagnose(self, program, *arguments, options=(), environment=()):
        """The single file inside a container as strict as they come; (exit status, stdout, stderr)."""
        variables = [part for item in environment for part in ("-e", item)]
        command = [*self.command, "run", "--rm", "-i"]
        command += ["--read-only", "--cap-drop", "ALL", "--user", "1000:1000", *variables, *options]
        command += [IMAGE, "/usr/bin/python3", "-", *arguments]
        done = subprocess.run(command, input=program, capture_output=True, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()


class Engine(Commands):
    """`with Engine() as engine`: dockerd is up and has the image; `through` is put before its command."""

    def __init__(self, through=(), pool=None):
        self.through = through
        self.settings = {"default-address-pools": [{"base": pool, "size": 24}]} if pool else {}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ib-docker-", dir="/var/tmp"))
        self.command = ("docker", "--host", f"unix://{self.folder}/socket")
        self.log = open(self.folder / "log", "wb")
        (self.folder / "none.json").write_text(json.dumps(self.settings))  # whatever this machine's own engine is told
        places = ["--data-root", self.folder / "data", "--exec-root", self.folder / "exec"]
        places += ["--pidfile", self.folder / "pid", "--host", f"unix://{self.folder}/socket"]
        options = ["--config-file", self.folder / "none.json", "--userland-proxy=true"]
        self.process = subprocess.Popen([*self.through, "dockerd", *places, *options], stdout=self.log, stderr=self.log)
        try:
            self._wait()
            archive = self.folder / "image.tar"
            build(archive)
            self("import", str(archive), IMAGE)
            archive.unlink()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        names = self._run("ps", "-aq").stdout.split()
        if names:
            self._run("rm", "-f", *names)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        # What an engine leaves mounted keeps its folder.
        subprocess.run(["umount", self.folder / "exec/netns/default"], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self):
        deadline = time.monotonic() + 30
        while self._run("info").returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not come up:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.1)
