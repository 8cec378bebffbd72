"""The results as tables: best figures, the noise they were picked from, ratios in which more is better, and goals."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.bench import peers
from tests.bench.goals import Against, Goal, Verdict, judge
from tests.bench.peers import Peer
from tests.bench.results import Results, spread
from tests.bench.rows import Row


def figures(results: Results) -> list[list[str]]:
    """Those of the best quarters, one line per row and one column per relay."""
    return _by_relay(results, lambda row, relay: _best(results, row, relay))


def noise(results: Results) -> list[list[str]]:
    """The same for what the best quarters were picked from: `median +-half of the spread`."""
    return _by_relay(results, lambda row, relay: _typical(results, row, relay))


def _by_relay(results: Results, cell: Callable[[Row, Peer], str]) -> list[list[str]]:
    head = ["", "unit", *(relay.title for relay in results.relays)]
    lines = [[row.title, row.unit, *(cell(row, relay) for relay in results.relays)] for row in results.rows]
    return [head, *lines]


def _best(results: Results, row: Row, relay: Peer) -> str:
    if not results.expected(row, relay):
        return "-"
    text = _number(row, relay, results.figure(row, relay.key))
    failed = None in results.samples.get((row.key, relay.key), ())
    return f"{text} (failed)" if failed and text != "failed" else text


def _typical(results: Results, row: Row, relay: Peer) -> str:
    if not results.expected(row, relay):
        return "-"
    apart = spread(results.taken(row, relay.key))
    text = _number(row, relay, results.median(row, relay.key))
    return text if apart is None else f"{text} ({apart:.0%})"


def _number(row: Row, relay: Peer, value: float | None) -> str:
    if value is None:
        return "failed"
    return f"{value:{'+' if row.added and relay.command else ''}.{row.digits}f}"


COLUMNS = (
    Against.SOCAT,
    Against.HAPROXY,
    Against.BEST,
    Against.BUSY,
    Against.RAW,
    Against.OFF,
    Against.SURVIVE,
)


def ratios(results: Results) -> list[list[str]]:
    """Ours against the others, more is better, and the goals. Empty without our relay in the run."""
    present = {relay.key for relay in results.relays}
    if peers.OURS not in present:
        return []
    columns = [column for column in COLUMNS if present.issuperset(column.relays)]
    head = ["ib-relay is", *(f"x {column.title}" for column in columns), "goals"]
    lines = [
        [
            row.title,
            *(_times(results.against(row, column)) for column in columns),
            "; ".join(_verdict(results, row, goal) for goal in row.goals),
        ]
        for row in results.rows
    ]
    return [head, *lines]


def beside_before(results: Results) -> list[list[str]]:
    """Today's build against another one, more is better."""
    pairs = ((peers.OURS, peers.BEFORE), (peers.RAW, peers.BEFORE_RAW))
    lines = [[row.title, *(_times(results.ratio(row, before, now)) for now, before in pairs)] for row in results.rows]
    return [["now is", "x before", "x before, raw"], *lines]


def price_of_latency(results: Results) -> str:
    """What adaptive latency takes of a core where ticks are few; empty unless both were measured."""
    shares = {
        row.title: [results.figure(row, key) for key in (peers.OURS, peers.OFF)]
        for row in results.rows
        if row.key in ("one_cpu", "some_cpu")
    }
    return "; ".join(
        f"{title}: {ours:.2f} %, latency off {off:.2f} %, difference {ours - off:.2f} %"
        for title, (ours, off) in shares.items()
        if ours is not None and off is not None
    )


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio < 100 else "> 100"


def _verdict(results: Results, row: Row, goal: Goal) -> str:
    return f"{judge(goal, results.against(row, goal.against)).value} ({goal.wish(row.unit)})"


def goals_reached(results: Results) -> tuple[int, int]:
    """(goals reached, goals that could be judged)."""
    verdicts = [judge(goal, results.against(row, goal.against)) for row in results.rows for goal in row.goals]
    return verdicts.count(Verdict.PASS), len(verdicts) - verdicts.count(Verdict.UNKNOWN)


def as_text(table: Sequence[Sequence[str]]) -> str:
    """Columns aligned for a terminal: words (the first column, units, goals) to the left, figures to the right."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))] if table else []
    words = {0, *(i for i in range(len(widths)) if table[0][i] in ("unit", "goals"))}

    def aligned(line: Sequence[str]) -> str:
        cells = enumerate(zip(line, widths, strict=True))
        return "  ".join(text.ljust(width) if i in words else text.rjust(width) for i, (text, width) in cells)

    return "\n".join(aligned(line).rstrip() for line in table)


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    if not table:
        return ""
    words = [i == 0 or title in ("unit", "goals") for i, title in enumerate(table[0])]
    rule = ["---" if word else "---:" for word in words]
    return "\n".join(f"| {' | '.join(line)} |" for line in (table[0], rule, *table[1:]))


def machine() -> str:
    """CPU model, kernel and Python, in one line."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{_cpu_model()}, {platform.system()} {platform.release()}, {python}"


def _cpu_model() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return ()
