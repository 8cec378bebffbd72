"""What a tree of processes uses, read from Linux' /proc: CPU time and memory, children included, dead ones too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """KiB over all processes of a tree. PSS shares a common page among its users, RSS counts it in each."""

    rss: int
    pss: int


def tree(root: int) -> list[int]:
    """The living process `root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for pid, fields in _stats():
        children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def group(leader: int) -> dict[int, str]:
    """The processes of a process group, each with its state: T is stopped, Z is dead and not waited for."""
    return {pid: fields[0] for pid, fields in _stats() if int(fields[2]) == leader}


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far, with that of children already dead and waited for.

    Living threads are read in nanoseconds where the kernel keeps schedstat; the 10 ms clock ticks are the fallback.
    """
    members, total = set(tree(root)), 0.0
    for pid, fields in _stats():
        if pid in members:
            own = _thread_nanoseconds(pid)
            total += int(fields[11]) + int(fields[12]) if own is None else own * 1e-9 * TICKS_PER_SECOND
            total += int(fields[13]) + int(fields[14])
    return total / TICKS_PER_SECOND


def memory(root: int) -> Memory:
    """RSS and PSS of the tree now; a process that ends meanwhile counts as nothing."""
    rss = pss = 0
    for pid in tree(root):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {name: value for name, _, value in (line.partition(":") for line in rollup.splitlines()[1:])}
        rss += _kib(sizes.get("Rss"))
        pss += _kib(sizes.get("Pss"))
    return Memory(rss, pss)


def _stats() -> Iterator[tuple[int, list[str]]]:
    """(pid, fields of /proc/PID/stat from the state on) of every process; the name before them may hold anything."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text(errors="replace")
            except OSError:
                continue
            yield int(entry), text[text.rindex(")") + 2 :].split()


def _thread_nanoseconds(pid: int) -> int | None:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        return sum(int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]) for thread in threads)
    except (OSError, IndexError):
        return None


def _kib(value: str | None) -> int:
    return int(value.split()[0]) if value else 0
