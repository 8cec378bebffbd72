"""The recorded sessions of tests/data/wire_vectors.json as values, and the ways a byte stream is cut up in tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from relay.wire.direction import Direction

FILE = Path(__file__).parents[2] / "data" / "wire_vectors.json"


@dataclass(frozen=True, slots=True)
class Frame:
    """One recorded frame, length included; in a legacy run, one read."""

    direction: Direction
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded session: who spoke to the practice peer, at which server version."""

    peer: str
    server_version: int
    frames: tuple[Frame, ...]

    @property
    def legacy(self) -> bool:
        return "legacy" in self.peer

    @property
    def whole(self) -> bool:
        """Does it start with a client hello, as a watched connection does?"""
        return self.frames[0].direction is Direction.CLIENT_TO_GATEWAY

    def __str__(self) -> str:
        return f"{self.peer} at {self.server_version}"


_FROM = {"client": Direction.CLIENT_TO_GATEWAY, "gateway": Direction.GATEWAY_TO_CLIENT}
HELLOS = ("client hello", "server hello")


def load() -> tuple[Run, ...]:
    """Every recorded session."""
    return tuple(
        Run(
            run["peer"],
            run["server_version"],
            tuple(Frame(_FROM[f["from"]], f["name"], bytes.fromhex(f["hex"])) for f in run["frames"]),
        )
        for run in json.loads(FILE.read_text())["runs"]
    )


RUNS = load()
FRAMED = tuple(run for run in RUNS if not run.legacy)


def message_frames() -> list[tuple[Run, Frame]]:
    """Every recorded frame that has a message id."""
    return [(run, frame) for run in FRAMED for frame in run.frames if frame.name not in HELLOS]


def byte_by_byte(data: bytes) -> list[bytes]:
    """The stream in chunks of one byte."""
    return [data[i : i + 1] for i in range(len(data))]
