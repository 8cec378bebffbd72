"""Modules as one text, and imported from it without a file: what the single file carries.

`pack` makes the text, `install` makes `import` find what is in it. `bundle` copies this whole file into the single
file, below the version check and above the text; so every Python from 2.7 on must be able to parse it. Nothing is
written to disk: the image may be read-only, and a container that is being diagnosed should stay as it was found.
"""

import binascii
import sys
import zlib

TYPE_CHECKING = False  # typing's, without typing: Python 2 has none
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec  # noqa: F401 (in type comments)
    from types import ModuleType  # noqa: F401 (in a type comment)

LINE = 120  # characters of base64 on a line; only for editors and mail programs


def pack(sources):
    # type: (dict[str, str]) -> str
    """`sources` (path to text, "package/module.py") as lines of base64; the same for the same sources."""
    joined = "\0".join(path + "\n" + sources[path] for path in sorted(sources))  # a source cannot hold a NUL
    packed = zlib.compress(joined.encode("utf-8"), 9)
    text = binascii.b2a_base64(packed, newline=False).decode("ascii")
    return "\n".join(text[at : at + LINE] for at in range(0, len(text), LINE)) + "\n"


def unpack(text):
    # type: (str) -> dict[str, str]
    """What `pack` was given."""
    joined = zlib.decompress(binascii.a2b_base64(text)).decode("utf-8")
    return dict(entry.split("\n", 1) for entry in joined.split("\0"))


def install(text, place):
    # type: (str, str) -> Importer
    """Import from `text` first from now on; `place` stands before the paths in tracebacks."""
    importer = Importer(unpack(text), place)
    sys.meta_path.insert(0, importer)
    return importer


class Importer:
    """Finder and loader (PEP 451) in one; tracebacks can quote the lines, see `get_source`."""

    def __init__(self, sources, place):
        # type: (dict[str, str], str) -> None
        import importlib.machinery  # Python 2 has none; now, since `find_spec` is asked for every import

        self.sources, self.place, self.new_spec = sources, place, importlib.machinery.ModuleSpec
        self.packages = {path.partition("/")[0] for path in sources}

    def find_spec(self, name, path=None, target=None):
        # type: (str, object, object) -> ModuleSpec | None
        """The spec of a module of ours; None for others'. ModuleNotFoundError for what our packages do not have."""
        found = self._path(name)
        if found is None:
            if name.partition(".")[0] in self.packages:  # an installation beside us must not fill our gaps
                raise ModuleNotFoundError("No module named %r in %s" % (name, self.place), name=name)  # noqa: UP031 (read by an old Python, too)
            return None
        package = found.endswith("/__init__.py")
        origin = self.place + "/" + found
        # PEP 451 asks a loader for its methods, not for its class.
        return self.new_spec(name, self, origin=origin, is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec):
        # type: (ModuleSpec) -> None
        """None: the ordinary kind of module."""

    def exec_module(self, module):
        # type: (ModuleType) -> None
        """Run the module's source in it."""
        spec = module.__spec__
        source = self.get_source(spec.name) if spec else None
        assert spec and spec.origin and source is not None, "not made by find_spec"
        exec(compile(source, spec.origin, "exec", dont_inherit=True), module.__dict__)

    def get_source(self, name):
        # type: (str) -> str | None
        """For tracebacks: the source of a module; None if it is not ours."""
        found = self._path(name)
        return None if found is None else self.sources[found]

    def _path(self, name):
        # type: (str) -> str | None
        base = name.replace(".", "/")
        return next((path for path in (base + "/__init__.py", base + ".py") if path in self.sources), None)
