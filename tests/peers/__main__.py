"""Real client libraries against the practice gateway, without and through the relay: `python -m tests.peers`.

Each case runs twice, straight at the practice gateway and through `ib-relay run`. It passes when the client got
the same both times (or better through the relay, where it repairs), when what it got is what the behaviour is there
for, and when the relay's close record names the stage, the side, the way and the reason that were played.

With --installed the relay is one that runs already, for instance as a service; the journal has its records
(installed.py).
"""

import argparse
import asyncio
import contextlib
import json
import pathlib
import sys
import time

from tests.peers import cases, installed, runs
from tests.peers.clients import CLIENTS, PEERS, install_all

# Cases. A heavily loaded 2-core machine had about a dozen of 539; each takes about 5 s for both routes.
MOST_RETRIED = 25


def main():
    options = _options()
    sys.exit(asyncio.run(_run(options)))


def _options():
    parser = argparse.ArgumentParser(
        prog="python -m tests.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [client.name for client in CLIENTS]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="CLIENT", help=f"one of {', '.join(names)}; may be repeated"
    )
    plays = [play.name for play in cases.PLAYS]
    parser.add_argument(
        "--play", action="append", choices=plays, metavar="NAME", help="only this behaviour; may be repeated"
    )
    parser.add_argument("--versions", action="store_true", help="only `normal` at every server version")
    parser.add_argument("--behaviours", action="store_true", help="only the behaviours")
    parser.add_argument(
        "--sample",
        action="store_true",
        help="of these, as few as have every behaviour, and `normal` at every version, once",
    )
    parser.add_argument(
        "--installed",
        action="append",
        type=installed.ports,
        default=[],
        metavar="PORT=UPSTREAM_PORT",
        help="through this port of a running relay, whose upstream is ours to play; may be repeated",
    )
    parser.add_argument(
        "--journal",
        default=installed.JOURNAL,
        metavar="COMMAND",
        help="prints the running relay's log, last line first (default: %(default)s)",
    )
    parser.add_argument("--jobs", type=int, default=8, help="cases at the same time (default %(default)s)")
    parser.add_argument(
        "--install",
        type=pathlib.Path,
        default=PEERS,
        metavar="DIR",
        help="where the libraries are kept (default .peers/)",
    )
    parser.add_argument("--allow-missing", action="store_true", help="go on without libraries that cannot be installed")
    parser.add_argument("--keep", action="store_true", help="print what every client got, not only the failures")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write everything that was seen")
    return parser.parse_args()


async def _run(options):
    started = time.monotonic()
    clients = [client for client in CLIENTS if not options.only or client.name in options.only]
    missing = await install_all(clients, options.install)
    for client, problem in missing.items():
        print(f"cannot install {client.requirement}: {problem}", file=sys.stderr)
    if missing and not options.allow_missing:
        print(
            f"missing: {', '.join(client.name for client in missing)} (--allow-missing goes on without)",
            file=sys.stderr,
        )
        return 1
    clients = [client for client in clients if client not in missing]
    todo = cases.matrix(clients, versions=not options.behaviours, behaviours=not options.versions)
    todo = [case for case in todo if not options.play or case.play.name in options.play]
    todo = cases.sample(todo) if options.sample else todo
    print(
        f"{len(todo)} cases of {len(clients)} clients, each without and with the relay; {options.jobs} at a time",
        flush=True,
    )
    running = installed.Installed(options.installed, options.journal) if options.installed else contextlib.nullcontext()
    async with running as relay:
        results = await _play_all(todo, options, relay)
    failed = _report(results, options)
    if options.json:
        options.json.write_text(json.dumps([_details(result) for result in results], indent=1))
    print(f"took {time.monotonic() - started:.0f} s")
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


class Result:
    """One case, both of its routes, and the verdict."""

    def __init__(self, case):
        self.case = case
        self.direct = self.relayed = None
        self.problems = []
        self.again = False  # the verdict is of a second try, alone

    async def play(self, peers, relay):
        self.problems = []
        try:
            self.direct = await runs.play(self.case, peers, through_relay=False)
            self.relayed = await runs.play(self.case, peers, through_relay=True, installed=relay)
            self.problems = cases.judge(self.case, self.direct, self.relayed)
        except runs.Trouble as trouble:
            self.problems = [f"not played: {trouble}"]


async def _play_all(todo, options, relay):
    """All cases, a few at a time; what fails is tried once more alone, because short time-outs and a busy machine lie.

    Not where many fail: that is no busy machine, and trying them all again one by one would take an hour to say so.
    """
    results = [Result(case) for case in todo]
    gate = asyncio.Semaphore(options.jobs)

    async def one(result):
        async with gate:
            await result.play(options.install, relay)

    async with asyncio.TaskGroup() as group:
        for result in results:
            group.create_task(one(result), name=result.case.name)
    failed = [result for result in results if result.problems]
    if len(failed) <= MOST_RETRIED:
        for result in failed:
            print(f"once more, alone: {result.case.name}: {result.problems[0]}", flush=True)
            result.again = True
            await result.play(options.install, relay)
    return results


def _report(results, options):
    """Print the table and every failure; return how many failed."""
    columns = sorted({result.case.client.name for result in results}, key=[client.name for client in CLIENTS].index)
    rows = {}
    for result in results:
        case = result.case
        row = rows.setdefault((case.play.name, case.version, case.typed), {})
        row[case.client.name] = "FAIL" if result.problems else _word(result)
    width = max((len(_row_name(row)) for row in rows), default=0)
    print("\n" + " " * width + "  " + " ".join(f"{name:>11}" for name in columns))
    order = {play.name: at for at, play in enumerate(cases.PLAYS)}
    for row in sorted(rows, key=lambda row: (order[row[0]], row[1], row[2])):
        print(f"{_row_name(row):<{width}}  " + " ".join(f"{rows[row].get(name, '-'):>11}" for name in columns))
    print(
        "\nok: all of it; else the stage at which the client failed, as it must; "
        "+: healthy only through the relay; *: second try\n"
    )
    failed = [result for result in results if result.problems]
    for result in failed:
        print(f"FAIL {result.case.name}")
        for problem in result.problems:
            print(f"     {problem}")
    answers = cases.different_bars(
        [(result.case, played) for result in results for played in (result.direct, result.relayed) if played]
    )
    if len(answers) > 1:
        print(f"FAIL healthy clients got {len(answers)} different sets of historical bars:")
        for bars, names in answers:
            print(f"     {bars} ({len(names)} cases, {min(names)})")
    if options.keep:
        for result in results:
            print(json.dumps(_details(result)))
    return len(failed) + (len(answers) > 1)


def _row_name(row):
    name, version, typed = row
    return f"{name} {version}{' (typed)' if typed else ''}"


def _word(result):
    direct, relayed = result.direct.gots[0], result.relayed.gots[0]
    word = direct["failed_at"] or "ok"
    if direct["failed_at"] and not relayed["failed_at"]:
        word = f"{word} +ok"
    return word + ("*" if result.again else "")


def _details(result):
    def route(played):
        return played and {"got": played.gots, "records": played.records, "noise": played.noise}

    return {
        "case": result.case.name,
        "problems": result.problems,
        "second_try": result.again,
        "direct": route(result.direct),
        "relayed": route(result.relayed),
    }


if __name__ == "__main__":
    main()
