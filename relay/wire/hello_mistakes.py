r"""A hello that somebody tried to say and got wrong: which piece of it is wrong, for people who write a client.

    right    "API\0", u32 big-endian length of what follows, "v<min>..<max>[ <options>]", no NUL at the end

Whoever says it wrong is told by a gateway nothing at all. The bytes themselves are not told: they may be anybody's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from relay.wire.framing import LENGTH_SIZE, Bytes
from relay.wire.hello import API_PREFIX, LARGEST_CLIENT_HELLO, MAX_HELLO, FirstBytes

_HEADER = len(API_PREFIX) + LENGTH_SIZE
_RANGE = rb"v\d{1,9}(?:\.\.\d{1,9})?"
_OPTIONS = rb"(?: [\0-\xff]*)?"
_UTF8_MARK = b"\xef\xbb\xbf"


def mistake(data: Bytes) -> str | None:
    """What is wrong with a hello that can never be one; None if nobody tried to say one, or nothing is known of it."""
    data = bytes(data[:LARGEST_CLIENT_HELLO])
    return next((words for looks_so, words in _MISTAKES if looks_so(data)), None)


def unfinished(data: Bytes) -> str | None:
    """Why a hello that could still become one does not, if its versions are whole."""
    data = bytes(data[:LARGEST_CLIENT_HELLO])
    if not data.startswith(API_PREFIX) or not _is_range(data[_HEADER:]):
        return None
    missing = int.from_bytes(data[len(API_PREFIX) : _HEADER], "big") - len(data[_HEADER:])
    counted = {LENGTH_SIZE: "its own four bytes", _HEADER: "API, NUL and its own four bytes"}
    if missing in counted:
        return f"the length counts {counted[missing]}, too"
    return f"the length announces {missing} more byte{'s' if missing > 1 else ''}" if missing > 0 else None


def told(kind: FirstBytes, data: Bytes) -> str:
    """What somebody said instead of a hello: the name of another protocol, or a hello and what is wrong with it."""
    found = mistake(data) if kind in (FirstBytes.TEXT, FirstBytes.GARBAGE) else None
    return f"a wrong hello: {found}" if found else kind.value


def _after_api(data: bytes) -> bytes:
    return data[len(API_PREFIX) :] if data.startswith(API_PREFIX) else b""


def _versions(data: bytes) -> bytes:
    """What stands where the versions belong, as long as the length says, if that can be."""
    length = int.from_bytes(_after_api(data)[:LENGTH_SIZE], "big")
    return data[_HEADER : _HEADER + length] if 2 <= length <= MAX_HELLO else b""


def _is_range(versions: bytes) -> bool:
    return re.fullmatch(_RANGE + _OPTIONS, versions) is not None


def _has_no_length(data: bytes) -> bool:
    length = _after_api(data)[:LENGTH_SIZE]
    smallest = int.from_bytes(length.ljust(LENGTH_SIZE, b"\0"), "big")
    return smallest > MAX_HELLO or (len(length) == LENGTH_SIZE and smallest < 2)


def _length_at(at: int, size: int, order: str) -> Callable[[bytes], bool]:
    """Is there a length at this place, in this form, that fits the versions behind it?"""

    def fits(data: bytes) -> bool:
        rest = data[at + size :]
        number = int.from_bytes(data[at : at + size], "little" if order == "little" else "big")
        return _is_range(rest) and number == len(rest)

    return fits


def _is_reversed(data: bytes) -> bool:
    found = re.fullmatch(rb"v(\d{1,9})\.\.(\d{1,9})" + _OPTIONS, _versions(data))
    return found is not None and int(found[1]) > int(found[2])


def _is_too_long(start: bytes) -> Callable[[bytes], bool]:
    """Do the versions begin like this? What comes behind the tenth digit may not be here yet."""
    return lambda data: re.match(start, _versions(data)) is not None


_MISTAKES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda data: data.startswith((_UTF8_MARK, b"\xff\xfeA", b"\xfe\xff\0A")), "a byte order mark stands before API"),
    (
        lambda data: data.startswith((b"A\0P\0I\0", b"\0A\0P\0I")),
        "API is written in UTF-16, one byte a letter is right",
    ),
    (lambda data: data[:3] != b"API" and data[:3].upper() == b"API", "API is not in capital letters"),
    (_length_at(3, LENGTH_SIZE, "big"), "there is no NUL between API and the length"),
    (lambda data: data.startswith(b"API") and data[3:4] not in (b"", b"\0"), "there is no NUL after API"),
    (lambda data: _is_range(_after_api(data)), "there is no length between API and the versions"),
    (_length_at(4, LENGTH_SIZE, "little"), "the length is little-endian, big-endian is right"),
    (_length_at(4, 2, "big"), "the length has two bytes, four are right"),
    (_length_at(4, 8, "big"), "the length has eight bytes, four are right"),
    (_length_at(5, LENGTH_SIZE, "big"), "there are two NULs after API"),
    (_length_at(0, LENGTH_SIZE, "big"), "API and a NUL are missing before the length"),
    (
        lambda data: bool(re.match(_RANGE + rb"\s*\Z", data)),
        "API, a NUL and the length are missing before the versions",
    ),
    (_is_reversed, "the versions are in reverse order"),
    (lambda data: _versions(data).startswith(_UTF8_MARK), "a byte order mark stands before the versions"),
    (lambda data: _is_range(b"v" + _versions(data)), "there is no v before the versions"),
    (lambda data: _versions(data)[:1] == b"V", "the v before the versions is a capital letter"),
    (lambda data: bool(re.fullmatch(_RANGE + rb"\0+", _versions(data))), "there is a NUL behind the versions"),
    (lambda data: bool(re.fullmatch(_RANGE + rb"[\r\n]+", _versions(data))), "there is a line end behind the versions"),
    (
        lambda data: b"" != _versions(data) != data[_HEADER:] and _is_range(data[_HEADER:]),
        "the length is shorter than the versions",
    ),
    (_is_too_long(rb"v\d{10}\d*\.\."), "the lowest version, the first number, has more than nine digits"),
    (_is_too_long(rb"v\d{1,9}\.\.\d{10}"), "the highest version, the second number, has more than nine digits"),
    (_is_too_long(rb"v\d{10}\d*(?: |\Z)"), "the version has more than nine digits"),
    (lambda data: _versions(data)[:1] == b"v", "the versions are not written v<min>..<max>"),
    (_has_no_length, "the length cannot be one of a hello"),
    (lambda data: bool(_versions(data)), "what follows the length is no range of versions"),
    (
        lambda data: bool(re.match(rb"\0\0..(?:71|\0\0\0\x47|\0\0\x01\x0f)", data, re.DOTALL)),
        "a message comes before the hello",
    ),
)
