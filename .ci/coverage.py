"""Line coverage per package: combines what the runs of `coverage run` left, and holds README's table to it.

    python .ci/coverage.py FOLDER [--write]

FOLDER has the data files (`COVERAGE_FILE=FOLDER/data`). Exit code 0: no package is below its figure in README. 1: one
is, or the table and the packages differ. With `--write` the table becomes what was measured, in whole per cents.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TABLE = re.compile(r"(<!-- coverage -->\n\| package .*\n\| ---.*\n)((?:\|.*\n)*)")
SLACK = 1  # per cent: which thread gives up first differs from run to run


def measured(folder: Path) -> dict[str, int]:
    """Whole per cents of the lines that ran, by package ("relay/wire"); what lies in no package counts as "relay"."""
    with tempfile.TemporaryDirectory() as scratch:
        data, report = f"--data-file={scratch}/combined", Path(scratch, "report.json")
        coverage("combine", "--keep", "--quiet", data, *map(str, folder.iterdir()))
        coverage("json", "--quiet", data, "-o", str(report))
        files = json.loads(report.read_text())["files"]
    lines, covered = Counter[str](), Counter[str]()
    for name, found in files.items():
        package = str(Path(name).parent)
        lines[package] += found["summary"]["num_statements"]
        covered[package] += found["summary"]["covered_lines"]
    return {package: 100 * covered[package] // count for package, count in sorted(lines.items()) if count}


def coverage(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=True)


def stated(readme: str) -> dict[str, int]:
    """What README's table says."""
    rows = TABLE.search(readme)[2].splitlines()
    cells = [[cell.strip(" `%") for cell in row.strip("|").split("|")] for row in rows]
    return {package: int(figure) for package, figure in cells}


def main(folder: str, *options: str) -> int:
    """Print the figures; return the exit code."""
    found, readme = measured(Path(folder)), README.read_text()
    if options == ("--write",):
        rows = "".join(f"| `{package}` | {figure} % |\n" for package, figure in found.items())
        README.write_text(TABLE.sub(lambda match: match[1] + rows, readme))
        return 0
    allowed = stated(readme)
    for package, figure in found.items():
        print(f"{package:24} {figure:3} %   README: {allowed.get(package, 'nothing')}")
    if found.keys() != allowed.keys():
        print(f"README's table and the packages differ: {sorted(found.keys() ^ allowed.keys())}")
        return 1
    fallen = [package for package, figure in found.items() if figure + SLACK < allowed[package]]
    if fallen:
        print(f"the tests run less of {', '.join(fallen)} than README says")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
