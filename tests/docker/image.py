"""A container image with a python3 and nothing else: no shell, no pip, no packages; made from this machine's files.

What people's images have beside it does not matter to the diagnosis; what is missing here is missing on purpose.
"""

import io
import os
import re
import subprocess
import sysconfig
import tarfile
from pathlib import Path

PYTHON = Path("/usr/bin/python3").resolve()  # Debian's: its files are in known places
LEFT_OUT = re.compile(r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|__pycache__|config-[^/]*)(/|$)|\.a$")
HOSTS_FILES = {"etc/passwd": "root:x:0:0:root:/:/\nuser:x:1000:1000::/:/\n", "etc/nsswitch.conf": "hosts: files dns\n"}


def build(path: Path) -> None:
    """Write the root file system as a tar for `docker import`."""
    ask = [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    library = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    modules = [name for name in library.rglob("*") if name.is_file() and not LEFT_OUT.search(str(name))]
    machine_code = [PYTHON, *(name for name in modules if ".so" in name.name)]
    resolvers = [
        name for name in _libraries_of_libc() if name.name.startswith(("libnss_dns", "libnss_files", "libresolv"))
    ]
    with tarfile.open(path, "w") as tar:
        for folder in ("tmp", "proc", "sys", "dev", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for name in sorted({*modules, *_needed_by([*machine_code, *resolvers]), *resolvers}):
            tar.add(name.resolve(), str(name).lstrip("/"))
        tar.add(PYTHON, "usr/bin/python3")
        for name, text in HOSTS_FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))


def _needed_by(programs: list[Path]) -> set[Path]:
    """Shared libraries, and the loader itself under the name that is in the programs."""
    said = subprocess.run(
        ["ldd", *programs], check=True, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}
    )
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", said.stdout)}


def _libraries_of_libc() -> list[Path]:
    return list((Path("/lib") / (sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu")).glob("*.so*"))
