"""diagnostics/archive.py: modules as text, and imported from it."""

import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics import archive

ROOT = Path(__file__).parents[2]
SOURCES = {
    "odd_house/__init__.py": '"""A package."""\nNAME = "Grüße \\N{EURO SIGN}"\n',
    "odd_house/room.py": "from odd_house import NAME\nfrom odd_house.deep.cellar import DEPTH\n",
    "odd_house/deep/__init__.py": "",
    "odd_house/deep/cellar.py": "import sys\nDEPTH = 3\n\n\ndef fall():\n    raise RuntimeError('a fall')\n",
}


@pytest.fixture
def installed():
    importer = archive.install(archive.pack(SOURCES), "somewhere.py")
    yield importer
    sys.meta_path.remove(importer)
    for name in [name for name in sys.modules if name.partition(".")[0] == "odd_house"]:
        del sys.modules[name]


def test_what_is_packed_is_unpacked_whatever_the_order():
    assert archive.unpack(archive.pack(SOURCES)) == SOURCES
    assert archive.pack(dict(reversed(SOURCES.items()))) == archive.pack(SOURCES)


def test_the_text_is_plain_lines_that_fit_a_string_literal():
    text = archive.pack({"a.py": "".join(map(chr, range(32, 4000)))})
    assert text.isascii() and not set(text) & set("\"'\\\0\r")
    assert max(map(len, text.splitlines())) <= archive.LINE


def test_packages_and_modules_are_imported_from_the_text(installed):
    from odd_house import room
    from odd_house.deep import cellar

    assert (room.NAME, room.DEPTH, cellar.__spec__.origin) == ("Grüße €", 3, "somewhere.py/odd_house/deep/cellar.py")


def test_what_is_not_in_the_text_is_left_to_others(installed):
    assert installed.find_spec("json") is None
    with pytest.raises(ModuleNotFoundError, match=r"odd_house\.attic"):
        import odd_house.attic  # noqa: F401


@pytest.mark.slow
def test_a_traceback_quotes_the_line():
    code = (
        "from diagnostics import archive; from tests.diagnostics.test_archive import SOURCES; import traceback\n"
        "archive.install(archive.pack(SOURCES), 'somewhere.py')\n"
        "try: from odd_house.deep.cellar import fall; fall()\n"
        "except RuntimeError: print(traceback.format_exc())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert 'File "somewhere.py/odd_house/deep/cellar.py", line 6, in fall\n    raise RuntimeError' in done.stdout
