"""The map of the house, enforced: who may import whom, what stays pure, how large a room may be, where its test is.

All of it is read from the syntax trees; nothing is imported. To add a file to relay/: put it into its room, with a test
of its own or a row in TESTED_BY. Imports inside a function count like those at the top.
"""

import ast
import configparser
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("relay", "diagnostics") for path in (ROOT / folder).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]

# The rooms of relay/ (a package, or a file at its top), and which others each one uses: exactly these, all below it.
# What a room is for, its own first line says. Inside a package everything may see everything, but in no circle.
MAY_IMPORT = {
    "__main__": "cli",
    "cli": "client config entry logs manager net practice printable run server service survival terminal wire",
    "run": "config logs manager net server survival",
    "server": "acceptor config connection entry latency logs manager net survival upkeep",
    "latency": "config logs net",
    "acceptor": "config connection entry logs net",
    "upkeep": "config connection entry logs net",
    "survival": "command_line config connection entry logs manager net wire",
    "connection": "config logs net wire",
    "entry": "config logs manager net",
    "logs": "config net printable wire",
    "manager": "config printable",
    "service": "client config entry net survival wire",
    "pyz": "service terminal",
    "client": "wire",
    "practice": "wire",
    "config": "printable repair",
    "net": "",
    "terminal": "printable",
    "wire": "printable",
    "printable": "",
    "repair": "",
    "command_line": "",
}

# The same for diagnostics.
DIAGNOSTICS_ROOMS = {
    "__main__": "cli",
    "cli": "bundle evidence findings host looks place probing report rules saved_evidence",
    "looks": "evidence findings place probing rules",
    "report": "evidence findings place rules saved_evidence",
    "rules": "evidence findings place",
    "probing": "evidence host place",
    "place": "evidence",
    "host": "evidence place",
    "bundle": "archive",
    "findings": "place",
    "saved_evidence": "evidence",
    "evidence": "",
    "archive": "",
}
DIAGNOSTICS_MAY_IMPORT = {"relay.command_line", "relay.printable", "relay.repair", "relay.wire", "relay.terminal"}

IO = {"asyncio", "concurrent", "logging", "multiprocessing", "os", "pathlib", "select", "selectors", "shutil"}
IO |= {"signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"}
PURE_OF_RELAY = ("config/addresses", "config/keys", "config/limits", "config/load", "entry/admission")
PURE_OF_RELAY += ("connection/gate", "connection/judge", "connection/verdict", "logs/backlog", "logs/ends")
PURE_OF_RELAY += ("logs/events", "logs/explain", "logs/record", "logs/units", "net/busy_polling", "net/dial_errors")
PURE_OF_RELAY += ("service/failures", "service/render")
PURE_OF_DIAGNOSTICS = ("evidence.py", "saved_evidence.py", "findings/", "probing/plan.py", "report/", "rules/")
PURE_OF_DIAGNOSTICS += ("host/gateway_log.py", "host/log_lines.py", "host/log_words.py")
PURE_OF_DIAGNOSTICS += ("place/addresses.py", "place/host_names.py", "place/netfiles.py", "place/network_mode.py")
PURE_OF_DIAGNOSTICS += ("place/reading.py", "place/recognise.py", "place/routes.py")
PURE_OF_DIAGNOSTICS += ("place/setting.py", "place/surroundings.py", "place/targets.py")
PURE = (
    "relay/printable.py",
    "relay/command_line.py",
    "relay/repair.py",
    "relay/wire/",
    *(f"relay/{name}.py" for name in PURE_OF_RELAY),
    *(f"diagnostics/{name}" for name in PURE_OF_DIAGNOSTICS),
)
ACTS = {"open", "print", "input", "breakpoint", "exec", "eval"}

OUTSIDE = {
    # third-party module: the files that may import it
    "click": r"relay/cli/\w+\.py",
    "psutil": r"relay/cli/holder\.py",
}

MOST_LINES = 400  # of a file
LINES_OF_A_FUNCTION = 40  # its docstring excepted

# Files without a test file of their own: who tests them instead.
TESTED_BY = {
    **{
        f"diagnostics/cli/{name}.py": "tests/diagnostics/cli/test_cli.py"
        for name in ("commands", "diagnosing", "looking")
    },
    "diagnostics/evidence.py": "tests/diagnostics/test_saved_evidence.py",
    **{
        f"diagnostics/findings/{name}.py": "tests/diagnostics/findings/test_catalogue.py"
        for name in (
            "account",
            "broker",
            "entry",
            "exposure",
            "first_bytes",
            "gateway_logs",
            "logins",
            "names",
            "peers",
            "sessions",
            "ways",
        )
    },
    **{
        f"diagnostics/place/{name}.py": "tests/diagnostics/place/test_facts.py"
        for name in ("file_tree", "network", "network_mode", "reading")
    },
    "diagnostics/findings/elsewhere.py": "tests/diagnostics/findings/test_wording.py",
    "diagnostics/findings/elsewhere_ways.py": "tests/diagnostics/findings/test_wording.py",
    "diagnostics/place/host_names.py": "tests/diagnostics/place/test_routes.py",
    "diagnostics/place/surroundings.py": "tests/diagnostics/place/test_recognise.py",
    "diagnostics/rules/advice.py": "tests/diagnostics/findings/test_commands.py",
    "diagnostics/rules/places.py": "tests/diagnostics/rules/test_diagnose.py",
    "diagnostics/probing/strangers.py": "tests/diagnostics/probing/test_talk.py",
    "diagnostics/report/details.py": "tests/diagnostics/report/test_text.py",
    "relay/cli/commands.py": "tests/relay/test_cli.py",
    "relay/cli/service.py": "tests/relay/service/test_install.py",
    "relay/cli/usage.py": "tests/relay/test_cli.py",
    "relay/connection/first_end.py": "tests/relay/connection/test_ends.py",
    "relay/connection/open_phase.py": "tests/relay/connection/test_connection.py",
    "relay/connection/services.py": "tests/relay/connection/test_connection.py",
    "relay/connection/verdict.py": "tests/relay/connection/test_gate.py",
    "relay/connection/snapshot.py": "tests/relay/conformance/test_log.py",
    "relay/logs/explain.py": "tests/relay/logs/test_record.py",
    "relay/logs/sink.py": "tests/relay/cli/test_demo.py",
    "relay/run.py": "tests/relay/conformance/test_process.py",
    "relay/service/actions.py": "tests/systemd/test_service.py",
    "relay/service/bytecode.py": "tests/relay/test_pyz.py",
    "relay/service/managers.py": "tests/systemd/test_service.py",
    "relay/service/templates.py": "tests/relay/test_pyz.py",
    "relay/service/trial.py": "tests/relay/service/test_rehearsal.py",
    "relay/service/upgrade.py": "tests/systemd/test_upgrade.py",
    "relay/service/wanted.py": "tests/relay/service/test_install.py",
    "relay/survival/kept.py": "tests/relay/survival/test_resume.py",
    "relay/survival/numbers.py": "tests/relay/survival/test_fdstore.py",
    "relay/wire/direction.py": "tests/relay/wire/test_names.py",
    "relay/wire/knowledge.py": "tests/relay/wire/test_observer.py",
    "relay/wire/message_values.py": "tests/relay/wire/test_messages.py",
    "relay/wire/protobuf_form.py": "tests/relay/wire/test_messages.py",
    "relay/wire/stage.py": "tests/relay/wire/test_observer.py",
    "relay/wire/text_form.py": "tests/relay/wire/test_messages.py",
}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def module_of(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_of(name): name for name in NAMES}


@cache
def imports_of(name: str, for_types_too: bool = True) -> frozenset[str]:
    """Every module a file names in an import; `from a import b` is a.b where that is a module of ours."""
    found, skipped = set(), set()
    for node in ast.walk(tree(name)):  # breadth first: an `if` comes before what is in it
        if node in skipped:
            skipped |= set(ast.iter_child_nodes(node))
        elif not for_types_too and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= set(node.body)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import; write the full name"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return frozenset(found)


def unit(module: str) -> str:
    """The row of its map that a module belongs to; the bare package (relay: its version number) has none."""
    return module.split(".")[1] if "." in module else ""


def within(modules, package: str) -> set[str]:
    return {module for module in modules if module == package or module.startswith(f"{package}.")}


MAPS = {"relay": MAY_IMPORT, "diagnostics": DIAGNOSTICS_ROOMS}


def rooms(package: str) -> set[str]:
    return {unit(module) for module in within(MODULES, package)} - {""}


@pytest.mark.parametrize("package", MAPS)
def test_the_map_has_a_row_for_every_room_and_no_other(package):
    assert set(MAPS[package]) == rooms(package)


@pytest.mark.parametrize("package, room", [(package, room) for package in MAPS for room in sorted(rooms(package))])
def test_a_room_imports_what_its_row_of_the_map_says_and_nothing_else(package, room):
    """A permission nobody uses is a hole in a wall: the row is what the room imports, no less and no more."""
    files = [name for module, name in MODULES.items() if within([module], package) and unit(module) == room]
    used = {unit(module) for name in files for module in within(imports_of(name), package)} - {"", room}
    assert used == set(MAPS[package][room].split())


def in_a_circle(uses: dict[str, set[str]]) -> set[str]:
    """What is left when everything that uses nothing, or is used by nobody, has been taken away, again and again."""
    uses = {user: set(used) for user, used in uses.items()}
    while True:
        used = set().union(*uses.values()) if uses else set()
        loose = [user for user, below in uses.items() if user not in used or not below]
        if not loose:
            return set(uses)
        uses = {user: below - set(loose) for user, below in uses.items() if user not in loose}


@pytest.mark.parametrize("package", MAPS)
def test_no_room_is_part_of_a_circle(package):
    assert in_a_circle({room: set(row.split()) for room, row in MAPS[package].items()}) == set()


def test_no_module_is_part_of_a_circle_at_run_time():
    ours = set(MODULES)
    uses = {module: (imports_of(name, for_types_too=False) & ours) - {module} for module, name in MODULES.items()}
    assert in_a_circle(uses) == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_two_packages_meet_at_the_agreed_doors_only(name):
    used = imports_of(name)
    if name.startswith("relay/"):
        assert not within(used, "diagnostics")
    else:
        allowed = {module for door in DIAGNOSTICS_MAY_IMPORT for module in within(used, door)}
        assert within(used, "relay") - {"relay"} <= allowed  # the bare package is the version number


def test_every_agreed_door_is_used():
    used = {module for name in NAMES if name.startswith("diagnostics/") for module in imports_of(name)}
    assert {door for door in DIAGNOSTICS_MAY_IMPORT if within(used, door)} == DIAGNOSTICS_MAY_IMPORT


@pytest.mark.parametrize("name", NAMES)
def test_other_peoples_packages_stay_in_their_places(name):
    roots = {module.partition(".")[0] for module in imports_of(name)} - {"relay", "diagnostics"}
    outside = {root for root in roots if root not in sys.stdlib_module_names}
    assert outside == {root for root in outside if re.fullmatch(OUTSIDE.get(root, "(?!)"), name)}


def test_every_package_of_other_people_is_used():
    assert set(OUTSIDE) <= {module.partition(".")[0] for name in NAMES for module in imports_of(name)}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(PURE)])
def test_pure_files_take_values_and_give_values(name):
    assert not {module.partition(".")[0] for module in imports_of(name)} & IO
    calls = {
        node.func.id for node in ast.walk(tree(name)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & ACTS


@pytest.mark.parametrize("name", NAMES)
def test_every_file_says_in_its_first_line_what_it_is_for(name):
    source = (ROOT / name).read_text(encoding="utf-8")
    first = (ast.get_docstring(tree(name)) or "").partition("\n")[0]
    assert len(first) >= 20 and first[-1] in ".:;,", f"{name}: {first!r}"
    assert source.startswith(('"""', 'r"""'))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_can_be_read_in_one_sitting(name):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Of the whole function, decorators and docstring excepted."""
    doc = function.body[0] if ast.get_docstring(function) is not None else None
    return function.end_lineno - function.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc is not None else 0)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("relay/")])
def test_a_function_fits_on_a_screen(name):
    functions = [node for node in ast.walk(tree(name)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert [node.name for node in functions if lines_of(node) > LINES_OF_A_FUNCTION] == []


def test_no_two_classes_have_one_name():
    """At the top of a file, and whether with an underscore before it or not: a stack trace says only the name."""
    homes: dict[str, list[str]] = {}
    for module, name in sorted(MODULES.items()):
        for node in tree(name).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.lstrip("_"), []).append(f"{module}.{node.name}")
    assert {name: classes for name, classes in homes.items() if len(classes) > 1} == {}


def test_readme_maps_every_room():
    """By its folder with a slash, or by its file; the doors that Python asks for (`__main__`) go without saying."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    houses = readme[readme.index("## Map of the house") :].split("```")[1]
    shown = set(re.findall(r"(?:relay|diagnostics)/\w+(?:/|\.py)", houses))
    found = {re.match(r"\w+/\w+(?:/|\.py)", name)[0] for name in NAMES}
    assert shown == {room for room in found if "/__" not in room}


def own_test(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"tests/{folder}/test_{file}"


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(("/__init__.py", "/__main__.py"))])
def test_every_file_has_a_test_of_its_own_or_a_reason(name):
    test = TESTED_BY.get(name, own_test(name))
    assert (ROOT / test).exists(), f"write {test}, or say in TESTED_BY who tests {name}"


def test_tested_by_names_files_that_have_no_test_of_their_own():
    assert set(TESTED_BY) <= {name for name in NAMES if not (ROOT / own_test(name)).exists()}


def test_setup_cfg_installs_every_package_there_is():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = [module for module, name in MODULES.items() if name.endswith("/__init__.py")]
    data = {"relay._launchd", "relay._systemd"}  # the folders beside the package, installed into it
    assert sorted(set(setup["options"]["packages"].split()) - data) == sorted(packages)
    assert {str(path.parent.relative_to(ROOT)) for path in SOURCES} == {one.replace(".", "/") for one in packages}


TEXT = {"", ".c", ".cfg", ".cjs", ".in", ".js", ".json", ".md", ".mjs"}
TEXT |= {".plist", ".py", ".service", ".sh", ".socket", ".toml", ".txt"}
ELSEWHERE = re.compile(r"(?:\.\./)+(?:[\w-][\w.-]*)?")
# On every machine.
EVERYWHERE = {"bin", "dev", "etc", "home", "opt", "private", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var"}


def tracked(root=ROOT):
    """The files of the project: what git knows of; None where there is no git, or this is no checkout."""
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return {root / name for name in names.split("\0") if name}


def texts():
    """(path, text) of everything that belongs to the project and is meant to be read. Others' files may lie about."""
    ours = tracked()
    for entry in sorted(ROOT.iterdir()):
        if entry.name in (".git", "build", "dist") or entry.name.endswith(".egg-info"):
            continue
        if entry.is_dir() and entry.name.startswith(".") and entry.name not in (".ci", ".github"):
            continue
        for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            if ours is not None and path not in ours:
                continue
            if path.is_file() and path.suffix in TEXT and not {"node_modules", "__pycache__"} & set(path.parts):
                yield path, path.read_text(encoding="utf-8", errors="replace")


def test_a_stray_file_is_none_of_the_project(tmp_path):
    git = ["git", "-C", str(tmp_path)]
    try:
        subprocess.run([*git, "init", "-q"], check=True)
    except OSError:
        pytest.skip("no git here")
    (tmp_path / "ours.py").write_text("")
    (tmp_path / ".coverage").write_text("a place outside")
    subprocess.run([*git, "add", "ours.py"], check=True)
    assert tracked(tmp_path) == {tmp_path / "ours.py"}


def test_nothing_refers_to_a_place_outside_the_project():
    top = ROOT.parts[1]
    private = [f"{ROOT}/"] + ([f"/{top}/"] if top not in EVERYWHERE else [])
    for path, text in texts():
        assert not [place for place in private if place in text], path
        for match in ELSEWHERE.finditer(text):
            if path != Path(__file__).resolve():
                there = (path.parent / match.group()).resolve()
                assert there.exists() and there.is_relative_to(ROOT), f"{path}: {match.group()}"
