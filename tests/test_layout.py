"""The map of the house, enforced: who may import whom, what stays pure, how large a room may be, where its test is.

All of it is read from the syntax trees; nothing is imported. To add a file to relay/: put it into its room, with a test
of its own or a row in TESTED_BY. Imports inside a function count like those at the top.
"""

import ast
import configparser
import re
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
    "cli": "client config entry logs manager net practice run server service survival terminal wire",
    "run": "config logs manager net server survival",
    "server": "config connection entry logs manager net survival upkeep",
    "upkeep": "config connection entry logs",
    "survival": "config connection entry logs manager net wire",
    "connection": "config logs net wire",
    "entry": "config logs manager net",
    "logs": "config net",
    "manager": "config",
    "service": "client config entry net wire",
    "pyz": "service terminal",
    "client": "wire",
    "practice": "wire",
    "config": "",
    "net": "",
    "terminal": "",
    "wire": "",
}
DIAGNOSTICS_MAY_IMPORT = {"relay.wire"}

IO = {"asyncio", "concurrent", "logging", "multiprocessing", "os", "pathlib", "select", "selectors", "shutil"}
IO |= {"signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"}
PURE_OF_RELAY = ("config/addresses", "config/keys", "config/load", "entry/admission", "logs/explain", "logs/record")
PURE_OF_RELAY += ("connection/gate", "connection/judge", "connection/verdict")
PURE_OF_RELAY += ("service/render",)
PURE_OF_DIAGNOSTICS = (
    *("candidates", "diagnosis", "evidence", "findings", "gateway_log", "html_report", "log_rules", "maintenance"),
    *("netfiles", "overview", "peer_rules", "place", "plan", "report", "route_rules", "routes", "rulebook", "rules"),
    *("seen", "session_rules", "verdict"),
)
PURE = (
    "relay/wire/",
    *(f"relay/{name}.py" for name in PURE_OF_RELAY),
    *(f"diagnostics/{name}.py" for name in PURE_OF_DIAGNOSTICS),
)
ACTS = {"open", "print", "input", "breakpoint", "exec", "eval"}

OUTSIDE = {
    # third-party module: the files that may import it
    "click": r"relay/cli/\w+\.py",
}

MOST_LINES = 400  # of a file of relay/
ABOUT_400 = 430  # of another; a screenful of slack is better than a seam in the wrong place
LINES_OF_A_FUNCTION = 40  # its docstring excepted

# Files without a test file of their own: who tests them instead.
TESTED_BY = {
    "relay/cli/commands.py": "tests/relay/test_cli.py",
    "relay/cli/service.py": "tests/relay/service/test_install.py",
    "relay/cli/usage.py": "tests/relay/test_cli.py",
    "relay/connection/open_phase.py": "tests/relay/connection/test_connection.py",
    "relay/connection/services.py": "tests/relay/connection/test_connection.py",
    "relay/connection/verdict.py": "tests/relay/connection/test_gate.py",
    "relay/connection/snapshot.py": "tests/relay/conformance/test_log.py",
    "relay/entry/descriptors.py": "tests/relay/conformance/test_resources.py",
    "relay/logs/explain.py": "tests/relay/logs/test_record.py",
    "relay/logs/sink.py": "tests/relay/cli/test_demo.py",
    "relay/run.py": "tests/relay/conformance/test_process.py",
    "relay/service/actions.py": "tests/systemd/test_service.py",
    "relay/service/bytecode.py": "tests/relay/test_pyz.py",
    "relay/service/managers.py": "tests/systemd/test_service.py",
    "relay/service/report.py": "tests/systemd/test_service.py",
    "relay/service/templates.py": "tests/relay/test_pyz.py",
    "relay/survival/kept.py": "tests/relay/survival/test_resume.py",
    "relay/survival/numbers.py": "tests/relay/survival/test_fdstore.py",
    "relay/wire/direction.py": "tests/relay/wire/test_names.py",
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
    """The row of MAY_IMPORT a module of relay belongs to; the bare package (its version number) has none."""
    return module.split(".")[1] if "." in module else ""


def within(modules, package: str) -> set[str]:
    return {module for module in modules if module == package or module.startswith(f"{package}.")}


def rooms() -> set[str]:
    return {unit(module) for module in within(MODULES, "relay")} - {""}


def test_the_map_has_a_row_for_every_room_and_no_other():
    assert set(MAY_IMPORT) == rooms()


@pytest.mark.parametrize("room", sorted(rooms()))
def test_relay_imports_what_its_row_of_the_map_says_and_nothing_else(room):
    """A permission nobody uses is a hole in a wall: the row is what the room imports, no less and no more."""
    files = [name for module, name in MODULES.items() if within([module], "relay") and unit(module) == room]
    used = {unit(module) for name in files for module in within(imports_of(name), "relay")} - {"", room}
    assert used == set(MAY_IMPORT[room].split())


def in_a_circle(uses: dict[str, set[str]]) -> set[str]:
    """What is left when everything that uses nothing, or is used by nobody, has been taken away, again and again."""
    uses = {user: set(used) for user, used in uses.items()}
    while True:
        used = set().union(*uses.values()) if uses else set()
        loose = [user for user, below in uses.items() if user not in used or not below]
        if not loose:
            return set(uses)
        uses = {user: below - set(loose) for user, below in uses.items() if user not in loose}


def test_no_room_is_part_of_a_circle():
    assert in_a_circle({room: set(row.split()) for room, row in MAY_IMPORT.items()}) == set()


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
def test_a_large_room_gives_its_reason(name):
    """Outside relay/, where no room is large."""
    lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
    if name.startswith("relay/"):
        assert lines <= MOST_LINES
    else:
        assert lines <= ABOUT_400 or "lines" in (ast.get_docstring(tree(name)) or ""), f"{lines} lines without a reason"


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Of the whole function, decorators and docstring excepted."""
    doc = function.body[0] if ast.get_docstring(function) is not None else None
    return function.end_lineno - function.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc is not None else 0)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("relay/")])
def test_a_function_fits_on_a_screen(name):
    functions = [node for node in ast.walk(tree(name)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert [node.name for node in functions if lines_of(node) > LINES_OF_A_FUNCTION] == []


@pytest.mark.parametrize("package", ["relay"])
def test_no_two_classes_have_one_name(package):
    """At the top of a file, and whether with an underscore before it or not."""
    homes: dict[str, list[str]] = {}
    for module in sorted(within(MODULES, package)):
        for node in tree(MODULES[module]).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.lstrip("_"), []).append(f"{module}.{node.name}")
    assert {name: classes for name, classes in homes.items() if len(classes) > 1} == {}


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


def texts():
    """(path, text) of everything that belongs to the project and is meant to be read."""
    for entry in sorted(ROOT.iterdir()):
        if entry.name in (".git", "build", "dist") or entry.name.endswith(".egg-info"):
            continue
        if entry.is_dir() and entry.name.startswith(".") and entry.name not in (".ci", ".github"):
            continue
        for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            if path.is_file() and path.suffix in TEXT and not {"node_modules", "__pycache__"} & set(path.parts):
                yield path, path.read_text(encoding="utf-8", errors="replace")


def test_nothing_refers_to_a_place_outside_the_project():
    top = ROOT.parts[1]
    private = [f"{ROOT}/"] + ([f"/{top}/"] if top not in EVERYWHERE else [])
    for path, text in texts():
        assert not [place for place in private if place in text], path
        for match in ELSEWHERE.finditer(text):
            if path != Path(__file__).resolve():
                there = (path.parent / match.group()).resolve()
                assert there.exists() and there.is_relative_to(ROOT), f"{path}: {match.group()}"
