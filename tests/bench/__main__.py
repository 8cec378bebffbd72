"""`python -m tests.bench`: our relay against the relays people use instead, measured side by side on this machine.

Theory.

What is compared. ib-relay as installed; without IB observation (raw); with latency off; and with a manager that keeps
its sessions (survive: a process of the bench really receives the descriptors, and the relay is not measured unless it
has given away a session). socat as it is found in every IB Gateway image, socat tuned, HAProxy, HAProxy that polls and
so takes a whole core at all times, nginx stream, systemd-socket-proxyd, and no relay at all; peers.py holds each
configuration. Everything talks over 127.0.0.1, so the network is free and what remains is the relay and the kernel.

What is sent. load.c, compiled on the spot, is client and gateway. It speaks the real API: hello, server hello 176,
START_API, accounts, next valid id, then framed messages with text ids. So our observer really works, and every relay
carries the same bytes. Each message is numbered and each byte is compared at the far end: a relay that loses, repeats,
reorders or changes anything fails its row instead of being fast.

How noise is kept out. A machine is disturbed for milliseconds and for minutes. So each measurement is many short
bursts, 0.1 to 0.3 s of work, and the relays take turns: one burst of each, then the next measurement, then the next
round, begun by another relay. Interruptions only ever take away, so the figure is that of the best quarter of the
bursts (their median), and a ratio is that of two best quarters. What they were picked from is in the second table: the
median of all, and how far the middle half of them is apart. What happens now and then (a stall in every tenth burst) is
not in a best quarter: look there. Measurements that take seconds (CPU at rest), and those that a process can give once
(start, memory), are taken once a start; relays are started several times.

Who is awake. All processes of every other relay are stopped (SIGSTOP) while one is measured. Two relays that share a
core do not only share its time: one that polls has its slice of 4 ms to the end, and that was everybody's p99. With two
cores or more the relay has one core to itself and the load generator the others (`--pin no` lets the scheduler choose):
a relay then cannot gain by running on the core of its peers, and what it needs of its own core becomes its throughput.
The price is that each hop of a round trip wakes another core. Both run before everybody else's work on their cores
(nice -10, where that is allowed, and unless the bench itself was told to be nice). Only what never sleeps does not.

The day. In a round trip test every message comes right behind another, which is not how a day is. So 8 sessions of one
client get 200 ticks a second each and make 5 requests a second each, all at irregular times (exponential gaps, the same
for every relay); timers wake both ends, nothing spins. A tick's time is one way: it carries when it was sent, on the
clock both ends have. An answer's is a round trip. Both are shown as what a relay adds: its best quarter less that of no
relay. Percentiles are of one slice of 1.7 s, 2720 ticks and 72 answers: p99 of these is the slowest one. There are 20 s
of a day in all. CPU is the share of a core that the relay's processes took.

How to read it. `start` is exec to first successful connect (systemd's activator listens before it starts the relay).
Memory is that of the whole process tree after the first sessions have come and gone; per idle session it is the growth
in PSS over many READY sessions; kernel buffers are not in it. Bulk moves 64 KiB frames. Ticks and orders are 30 to 42
byte messages, sent as fast as the far end takes them, one per write (the relay decides how many it gathers in a read)
or 20 per write (the load generator is cheap then, and what is measured is the relay's work per message). CPU figures
are the tree's user and system time for that fixed work, read while the session stands. A connection counts when
connect, hello, server hello and both FINs are through, 4 at a time. Goals of speed are reported, never asserted.

How long. The full run, 4 starts with 3 rounds each, takes about 20 minutes; --quick, one start with 4 rounds of smaller
bursts and slices of 0.5 s, about 3: it says whether all is measurable and correct, and its figures are rough.

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
from dataclasses import replace
from pathlib import Path

from tests.bench import load, peers, probes, report
from tests.bench.lanes import Lanes
from tests.bench.peers import PEERS, Peer
from tests.bench.probes import Sizes
from tests.bench.results import Results, spread
from tests.bench.rows import ROWS, Row, probes_of
from tests.bench.running import Bench, Relay


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small bursts and one start: is it measurable and correct?"
    )
    parser.add_argument("--repeat", type=_count, metavar="N", help="starts of each relay (4, with --quick 1)")
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
        print("rows:", *(f"  {row.key:<16} {row.title}, {row.unit}" for row in ROWS), sep="\n")
        print("relays:", *(f"  {peer.key:<16} {peer.note}" for peer in PEERS.values()), sep="\n")
        return 0
    chosen_rows = [row for row in ROWS if not options.rows or row.key in options.rows]
    relays = [PEERS[key] for key in options.relays or PEERS]
    sizes = probes.QUICK if options.quick else probes.FULL
    sizes = replace(sizes, starts=options.repeat or sizes.starts)
    with tempfile.TemporaryDirectory(prefix="ib-relay-bench-") as folder:
        try:
            bench = _bench(Path(folder), options.pin == "auto")
            if options.profile:
                return _profile(bench, chosen_rows, sizes)
            if options.before is not None:
                relays = peers.versions_of_ours(options.before, Path(folder))
            relays = _present(_with_no_relay(relays, chosen_rows), options)
        except load.LoadError as error:
            print(f"tests.bench: {error}", file=sys.stderr)
            print(f"0 passed, {len(chosen_rows)} failed")
            return 2
        circumstances = _circumstances(bench, relays)
        print(circumstances, file=sys.stderr)
        results = Results(relays, chosen_rows)
        for number in range(sizes.starts):
            _measure(bench, results, sizes, number)
    return _conclude(results, circumstances, options)


def _bench(folder: Path, pin: bool) -> Bench:
    """Compile the load generator and share out the cores."""
    os.chmod(folder, 0o755)  # nginx's worker runs as nobody and has to look into its folder
    cpus = sorted(os.sched_getaffinity(0))
    if not pin or len(cpus) < 2:
        return Bench(load.build(folder), folder, "-", "-")
    os.sched_setaffinity(0, cpus[:-1])  # not behind a relay that polls
    return Bench(load.build(folder), folder, ",".join(map(str, cpus[:-1])), str(cpus[-1]))


def _with_no_relay(relays: list[Peer], chosen: list[Row]) -> list[Peer]:
    """What a relay adds is known beside no relay only."""
    direct = PEERS[peers.DIRECT]
    return [*relays, direct] if direct not in relays and any(row.added for row in chosen) else relays


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
    where = f"load on core {bench.load_cpus}, relay on core {bench.relay_cpus}, nice {bench.niceness()}"
    if bench.relay_cpus == "-":
        where = f"{len(os.sched_getaffinity(0))} cores, not pinned"
    lines = [f"{report.machine()}; {where}"]
    for peer in relays:
        version = peers.version_of(peer)
        lines.append(f"{peer.title}: {peer.note}{f' ({version})' if version else ''}")
    return "\n".join(lines)


def _measure(bench: Bench, results: Results, sizes: Sizes, number: int) -> None:
    """Start every relay afresh, take what is measured once, then a burst of all else in each round; end them."""
    begun = time.monotonic()
    wanted = probes_of(results.rows)
    with Lanes(bench, results) as lanes:
        for probe in wanted:
            if probe in probes.ONCE:
                lanes.measure(probe, sizes, number)
        for turn in range(sizes.rounds):
            for probe in wanted:
                if probe not in probes.ONCE:
                    lanes.measure(probe, sizes, number * sizes.rounds + turn)
    print(f"start {number + 1} of {sizes.starts}: {time.monotonic() - begun:.0f} s", file=sys.stderr)


def _conclude(results: Results, circumstances: str, options: argparse.Namespace) -> int:
    draw = report.as_markdown if options.markdown else report.as_text
    if options.markdown:
        print(circumstances.replace("\n", "  \n"), end="\n\n")
    print("The best quarter of the bursts.", end="\n\n")
    print(draw(report.figures(results)), end="\n\n")
    print("All bursts: median (middle half apart).", end="\n\n")
    print(draw(report.noise(results)), end="\n\n")
    if options.before is not None:
        print(draw(report.beside_before(results)), end="\n\n")
    elif compared := report.ratios(results):
        reached, judged = report.goals_reached(results)
        print(draw(compared), end="\n\n")
        print(f"Ratios of best quarters: more is better. Goals reached: {reached} of {judged}.")
        if price := report.price_of_latency(results):
            print(price)
    print(f"The middle half of a figure's bursts was typically {results.noise():.0%} apart.")
    if options.json:
        options.json.write_text(json.dumps(_as_json(results, circumstances), indent=1) + "\n")
    for failure, times in collections.Counter(results.failures).items():
        print(f"FAILED {failure}{f' ({times} times)' if times > 1 else ''}")
    passed = sum(map(results.measured, results.rows))
    failed = len(results.rows) - passed
    if not failed and results.failures:
        failed, passed = 1, passed - 1  # bytes were wrong or a relay died where no row noticed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _as_json(results: Results, circumstances: str) -> dict:
    table = itertools.product(results.rows, results.relays)
    return {
        "circumstances": circumstances.splitlines(),
        "rows": [
            {
                "row": row.key,
                "unit": row.unit,
                "relay": relay.key,
                "best_quarter": results.figure(row, relay.key),
                "median": results.median(row, relay.key),
                "spread": spread(results.taken(row, relay.key)),
                "ratio": results.ratio(row, relay.key),
                "samples": results.samples.get((row.key, relay.key), []),
            }
            for row, relay in table
        ],
        "failures": results.failures,
    }


def _profile(bench: Bench, chosen: list[Row], sizes: Sizes) -> int:
    """Our relay under cProfile through the chosen rows; figures are not comparable with those of a plain run."""
    profile = bench.folder / "relay.prof"
    relay = Relay(bench, PEERS[peers.OURS], profile)
    try:
        for probe in probes_of(chosen):
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
