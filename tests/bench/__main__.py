"""`python -m tests.bench`: our relay against the relays people use instead, measured side by side on this machine.

Theory.

What is compared. ib-relay with and without IB observation, socat as it is found in every IB Gateway image, socat tuned,
HAProxy, nginx stream, systemd-socket-proxyd, and no relay at all; peers.py holds each configuration. Everything talks
over 127.0.0.1, so the network is free and what remains is the relay and the kernel.

What is sent. load.c, compiled on the spot, is client and gateway. It speaks the real API: hello, server hello 176,
START_API, accounts, next valid id, then framed messages with text ids. So our observer really works, and every relay
carries the same bytes. Each message is numbered and each byte is compared at the far end: a relay that loses, repeats,
reorders or changes anything fails its row instead of being fast.

How noise is kept out. All relays run during a whole repetition, and each measurement goes round all of them before the
next begins, starting with another relay each time: a machine that slows down for ten seconds slows them alike. Figures
are medians over the repetitions; a ratio is the median of the ratios within each repetition. With two cores or more the
relay has one core to itself and the load generator the others (`--pin no` lets the scheduler choose): a relay then
cannot gain by running on the core of its peers, and what it needs of its own core becomes its throughput. The price is
that each hop of a round trip wakes another core.

How to read it. `start` is exec to first successful connect (systemd's activator listens before it starts the relay).
Memory is that of the whole process tree after the first sessions have come and gone; per idle session it is the growth
in PSS over many READY sessions; kernel buffers are not in it. Bulk moves 64 KiB frames. Ticks and orders are 30 to 42
byte messages, sent as fast as the far end takes them, one per write (the relay decides how many it gathers in a read)
or 20 per write (the load generator is cheap then, and what is measured is the relay's work per message). CPU figures
are the tree's user and system time for that fixed work, read while the session stands. A connection counts when
connect, hello, server hello and both FINs are through, 4 at a time. Goals of speed are reported, never asserted.

Exit code 0: every row was measured and every byte was right. 1: not so, reasons above. 2: usage, or a relay is missing.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import pstats
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench import load, peers, report, rows
from tests.bench.peers import PEERS, Bench, Peer, Relay
from tests.bench.report import Results
from tests.bench.rows import ROWS, Probe, Row

MAX_FAILURES = 3  # of one relay, after which it is left alone: each can cost the load generator's 20 s of patience


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and 2 repetitions: is it measurable and correct?"
    )
    parser.add_argument("--repeat", type=_count, metavar="N", help="repetitions (5, with --quick 2)")
    parser.add_argument(
        "--rows", type=_keys([row.key for row in ROWS]), metavar="KEYS", help="only these, comma-separated"
    )
    parser.add_argument("--relays", type=_keys(PEERS), metavar="KEYS", help="only these, comma-separated")
    parser.add_argument(
        "--pin", choices=("auto", "no"), default="auto", help="the last core for the relay, the others for the load"
    )
    parser.add_argument(
        "--install", action="store_true", help="apt-get missing peers (root, on a machine you can spare)"
    )
    parser.add_argument("--allow-missing", action="store_true", help="leave missing peers out")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="PYZ",
        help="our relay against another build of it: python -m relay.pyz PYZ there",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--markdown", action="store_true", help="print the tables as README has them")
    parser.add_argument("--list", action="store_true", help="print the keys of rows and relays")
    parser.add_argument(
        "--profile", action="store_true", help="one pass over ib-relay alone under cProfile, and where it went"
    )
    return parser.parse_args()


def _keys(known: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        wanted = text.split(",")
        unknown = [key for key in wanted if key not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return [key for key in known if key in wanted]

    return parse


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text}: not a number from 1 to 100")
    return int(text)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that what was started is ended
    if options.list:
        print("rows:", *(f"  {row.key:<12} {row.title}, {row.unit}" for row in ROWS), sep="\n")
        print("relays:", *(f"  {peer.key:<12} {peer.note}" for peer in PEERS.values()), sep="\n")
        return 0
    chosen_rows = [row for row in ROWS if not options.rows or row.key in options.rows]
    relays = [PEERS[key] for key in options.relays or PEERS]
    sizes = rows.QUICK if options.quick else rows.FULL
    with tempfile.TemporaryDirectory(prefix="ib-relay-bench-") as folder:
        try:
            bench = _bench(Path(folder), options.pin == "auto")
            if options.profile:
                return _profile(bench, chosen_rows, sizes)
            if options.before is not None:
                relays = peers.versions_of_ours(options.before, Path(folder))
            relays = _present(relays, options)
        except load.LoadError as error:
            print(f"tests.bench: {error}", file=sys.stderr)
            print(f"0 passed, {len(chosen_rows)} failed")
            return 2
        print(_circumstances(bench, relays), file=sys.stderr)
        results = Results(relays, chosen_rows)
        repetitions = options.repeat or (2 if options.quick else 5)
        for repetition in range(repetitions):
            _repeat(bench, results, sizes, repetition, repetitions)
    return _conclude(results, bench, options, repetitions)


def _bench(folder: Path, pin: bool) -> Bench:
    """Compile the load generator and share out the cores."""
    os.chmod(folder, 0o755)  # nginx's worker runs as nobody and has to look into its folder
    cpus = sorted(os.sched_getaffinity(0))
    if not pin or len(cpus) < 2:
        return Bench(load.build(folder), folder, "-", "-")
    return Bench(load.build(folder), folder, ",".join(map(str, cpus[:-1])), str(cpus[-1]))


def _present(relays: list[Peer], options: argparse.Namespace) -> list[Peer]:
    """The relays that can be started here; LoadError naming what is missing, unless that was allowed."""
    if options.install:
        try:
            peers.install(relays)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            raise load.LoadError(f"--install: {error}") from None
    absent = {peer.key: peer for peer in relays if peer.missing()}
    for peer in absent.values():
        words = (
            f"{peer.title} is missing ({', '.join(peer.missing())}; Debian: apt-get install {' '.join(peer.packages)})"
        )
        if not options.allow_missing:
            raise load.LoadError(f"{words}; --install installs it, --allow-missing leaves it out")
        print(f"left out: {words}", file=sys.stderr)
    return [peer for peer in relays if peer.key not in absent]


def _circumstances(bench: Bench, relays: list[Peer]) -> str:
    pinned = (
        f"load on core {bench.load_cpus}, relay on core {bench.relay_cpus}" if bench.relay_cpus != "-" else "not pinned"
    )
    lines = [f"{report.machine()}; {pinned}"]
    for peer in relays:
        version = peers.version_of(peer)
        lines.append(f"{peer.title}: {peer.note}{f' ({version})' if version else ''}")
    return "\n".join(lines)


def _repeat(bench: Bench, results: Results, sizes: rows.Sizes, repetition: int, repetitions: int) -> None:
    """Start every relay afresh, take each measurement from all of them in turn, end them."""
    begun = time.monotonic()
    shift = repetition % len(results.relays)
    order = results.relays[shift:] + results.relays[:shift]
    lanes = [_Lane(bench, peer, results) for peer in order]
    try:
        for lane in lanes:
            lane.start()
        for probe in rows.probes_of(results.rows):
            for lane in lanes:
                lane.measure(probe, sizes)
    finally:
        for lane in lanes:
            lane.close()
    print(f"repetition {repetition + 1} of {repetitions}: {time.monotonic() - begun:.0f} s", file=sys.stderr)


class _Lane:
    """One relay during one repetition: keeps its failures, and starts it anew after one."""

    def __init__(self, bench: Bench, peer: Peer, results: Results) -> None:
        self._bench, self._peer, self._results = bench, peer, results
        self._relay: Relay | None = None
        self._failures = 0

    def start(self) -> None:
        try:
            self._relay = Relay(self._bench, self._peer)
        except load.LoadError as error:
            self._failed("start", str(error))

    def measure(self, probe: Probe, sizes: rows.Sizes) -> None:
        if self._relay is None and self._failures < MAX_FAILURES:
            self.start()
        values = {}
        if self._relay is not None:
            try:
                values = probe(self._relay, sizes)
            except load.LoadError as error:
                self._failed(probe.__name__, f"{error} {self._relay.obituary()}".strip())
        for row in self._results.rows:
            if row.probe is probe and self._results.expected(row, self._peer):
                self._results.add(row, self._peer, values.get(row.key))

    def close(self) -> None:
        relay, self._relay = self._relay, None
        complaint = relay.close() if relay else ""
        if complaint:
            self._results.failures.append(f"{self._peer.title}: {complaint}")

    def _failed(self, where: str, why: str) -> None:
        self._failures += 1
        self._results.failures.append(f"{self._peer.title}, {where}: {why}")
        print(self._results.failures[-1], file=sys.stderr)
        self.close()


def _conclude(results: Results, bench: Bench, options: argparse.Namespace, repetitions: int) -> int:
    draw = report.as_markdown if options.markdown else report.as_text
    if options.markdown:
        print(_circumstances(bench, results.relays).replace("\n", "  \n"), end="\n\n")
    print(draw(report.figures(results)), end="\n\n")
    if options.before is not None:
        print(draw(report.beside_before(results)), end="\n\n")
    elif compared := report.ratios(results):
        reached, judged = report.goals_reached(results)
        print(draw(compared), end="\n\n")
        print(f"Medians of {repetitions}. Ratios: more is better. Goals reached: {reached} of {judged}.", end=" ")
    print(f"Between repetitions a figure typically moved by {report.spread(results):.0%}.")
    if options.json:
        options.json.write_text(json.dumps(_as_json(results, bench), indent=1) + "\n")
    for failure, times in collections.Counter(results.failures).items():
        print(f"FAILED {failure}{f' ({times} times)' if times > 1 else ''}")
    passed = sum(map(results.measured, results.rows))
    failed = len(results.rows) - passed
    if not failed and results.failures:
        failed, passed = 1, passed - 1  # bytes were wrong or a relay died where no row noticed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _as_json(results: Results, bench: Bench) -> dict:
    table = itertools.product(results.rows, results.relays)
    return {
        "circumstances": _circumstances(bench, results.relays).splitlines(),
        "rows": [
            {
                "row": row.key,
                "unit": row.unit,
                "relay": relay.key,
                "median": results.median(row, relay.key),
                "ratio": results.ratio(row, relay.key),
                "samples": results.samples.get((row.key, relay.key), []),
            }
            for row, relay in table
        ],
        "failures": results.failures,
    }


def _profile(bench: Bench, chosen: list[Row], sizes: rows.Sizes) -> int:
    """Our relay under cProfile through the chosen rows; figures are not comparable with those of a plain run."""
    profile = bench.folder / "relay.prof"
    relay = Relay(bench, PEERS[peers.OURS], profile)
    try:
        for probe in rows.probes_of(chosen):
            for name, value in probe(relay, sizes).items():
                print(f"{name} = {value:.3f} (under the profiler)")
    finally:
        relay.close(gently=True)
    if not profile.exists():
        raise load.LoadError("the relay left no profile: it did not end on SIGTERM")
    pstats.Stats(str(profile)).sort_stats("tottime").print_stats(25)
    print("What the kernel does below it: perf record -g -p PID of the relay; perf report --no-children")
    return 0


if __name__ == "__main__":
    sys.exit(main())
