"""The release before this one, built from git: what a user has installed, and what must be able to become today's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The newest commit whose relay was laid out otherwise (flat files). Its sessions, its handover document and what it has
# put into a manager's store must be taken up by every later version; move it forward when a release is made.
PREVIOUS = "a4bb89f"


def build(commit: str | None, target: Path) -> Path:
    """Its zipapp, by its own command; of this checkout for None. Needs git's whole history and click."""
    place = ROOT
    if commit is not None:
        place = target.with_suffix(".source")
        place.mkdir()
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", place], input=packed, check=True)
    subprocess.run([sys.executable, "-m", "relay.pyz", target], cwd=place, check=True, capture_output=True)
    return target


def put(program: Path, place: Path) -> None:
    """What an installation does: the new file takes the old one's place in one step."""
    new = place.with_name(place.name + ".new")
    new.write_bytes(program.read_bytes())
    new.chmod(0o755)
    new.replace(place)
