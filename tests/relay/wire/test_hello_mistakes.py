"""relay/wire/hello_mistakes.py: every mistake of a hello by the name of the piece that is wrong."""

import pytest

from relay.printable import printable
from relay.wire.framing import encode_frame
from relay.wire.hello import FirstBytes, classify_first_bytes
from relay.wire.hello_mistakes import _MISTAKES, mistake, told, unfinished

VERSIONS = b"v100..157"
LENGTH = b"\0\0\0\x09"
RIGHT = b"API\0" + LENGTH + VERSIONS

WRONG = [
    (b"\xef\xbb\xbf" + RIGHT, "a byte order mark stands before API"),
    (b"\xff\xfe" + "API\0".encode("utf-16-le"), "a byte order mark stands before API"),
    ("API\0v100..157".encode("utf-16-le"), "API is written in UTF-16, one byte a letter is right"),
    ("API\0v100..157".encode("utf-16-be"), "API is written in UTF-16, one byte a letter is right"),
    (b"api\0" + LENGTH + VERSIONS, "API is not in capital letters"),
    (b"API" + LENGTH + VERSIONS, "there is no NUL between API and the length"),
    (b"API\n" + LENGTH + VERSIONS, "there is no NUL after API"),
    (b"API 9.81", "there is no NUL after API"),
    (b"API\0" + VERSIONS, "there is no length between API and the versions"),
    (b"API\0\x09\0\0\0" + VERSIONS, "the length is little-endian, big-endian is right"),
    (b"API\0\0\x09" + VERSIONS, "the length has two bytes, four are right"),
    (b"API\0\0\0\0\0" + LENGTH + VERSIONS, "the length has eight bytes, four are right"),
    (b"API\0\0" + LENGTH + VERSIONS, "there are two NULs after API"),
    (LENGTH + VERSIONS, "API and a NUL are missing before the length"),
    (VERSIONS, "API, a NUL and the length are missing before the versions"),
    (VERSIONS + b"\r\n", "API, a NUL and the length are missing before the versions"),
    (b"API\0" + encode_frame(b"v200..100"), "the versions are in reverse order"),
    (b"API\0" + encode_frame(b"v200..100 +PACEAPI"), "the versions are in reverse order"),
    (b"API\0" + encode_frame(b"\xef\xbb\xbfv100..157"), "a byte order mark stands before the versions"),
    (b"API\0" + encode_frame(b"100..157"), "there is no v before the versions"),
    (b"API\0" + encode_frame(b"176"), "there is no v before the versions"),
    (b"API\0" + encode_frame(b"V100..157"), "the v before the versions is a capital letter"),
    (b"API\0" + encode_frame(b"v100..157\0"), "there is a NUL behind the versions"),
    (b"API\0" + encode_frame(b"v100..157\n"), "there is a line end behind the versions"),
    (b"API\0\0\0\0\x05" + VERSIONS, "the length is shorter than the versions"),
    (
        b"API\0" + encode_frame(b"v1000000000..157"),
        "the lowest version, the first number, has more than nine digits",
    ),
    (
        b"API\0" + encode_frame(b"v100..99999999999999"),
        "the highest version, the second number, has more than nine digits",
    ),
    (
        b"API\0" + encode_frame(b"v100..99999999999999")[:-4],
        "the highest version, the second number, has more than nine digits",
    ),
    (
        b"API\0" + encode_frame(b"v100..1000000000 +PACEAPI"),
        "the highest version, the second number, has more than nine digits",
    ),
    (b"API\0" + encode_frame(b"v1000000000"), "the version has more than nine digits"),
    (b"API\0" + encode_frame(b"v1000000000 +PACEAPI"), "the version has more than nine digits"),
    (b"API\0" + encode_frame(b"v100-157"), "the versions are not written v<min>..<max>"),
    (b"API\0" + encode_frame(b"v100.157"), "the versions are not written v<min>..<max>"),
    (b"API\0" + encode_frame(b"v 100..157"), "the versions are not written v<min>..<max>"),
    (b"API\0\0\0\0\0" + VERSIONS, "the length cannot be one of a hello"),
    (b"API\0\xff\xff\xff\xff" + VERSIONS, "the length cannot be one of a hello"),
    (b"API\0" + encode_frame(b"hello"), "what follows the length is no range of versions"),
    (encode_frame(b"71\x002\x007\0\0"), "a message comes before the hello"),
    (encode_frame(b"\0\0\0\x472\x007\0\0"), "a message comes before the hello"),
    (encode_frame(b"\0\0\x01\x0f\x08\x07"), "a message comes before the hello"),
]


@pytest.mark.parametrize("data, words", WRONG, ids=[f"{words} {number}" for number, (_, words) in enumerate(WRONG)])
def test_the_piece_that_is_wrong_is_named(data, words):
    kind = classify_first_bytes(data)
    assert kind in (FirstBytes.TEXT, FirstBytes.GARBAGE)
    assert (mistake(data), told(kind, memoryview(data))) == (words, f"a wrong hello: {words}")


def test_every_mistake_of_the_table_is_tried():
    assert {words for _, words in WRONG} == {words for _, words in _MISTAKES}


@pytest.mark.parametrize(
    "data, name",
    [
        (b"\xff\xfd\xfc\xfb", "garbage"),
        (b"\xff\xfe\xfd\xfc", "garbage"),
        (b"API\0", "more"),
        (b"\0007\0", "garbage"),
        (b"hello?\r\n", "text"),
        (b"\r\n", "text"),
        (b"\r\n\r\n", "text"),
        (b"G", "text"),
        (b"GET", "http"),
        (b"PROXY", "proxy"),
        (b"\r\n\r\n\0", "proxy"),
        (b"\x16", "tls"),
    ],
)
def test_what_is_no_hello_at_all_keeps_its_name(data, name):
    assert told(classify_first_bytes(data), data) == name


@pytest.mark.parametrize(
    "data, words",
    [
        (b"API\0\0\0\0\x0d" + VERSIONS, "the length counts its own four bytes, too"),
        (b"API\0\0\0\0\x11" + VERSIONS, "the length counts API, NUL and its own four bytes, too"),
        (b"API\0\0\0\0\x0a" + VERSIONS, "the length announces 1 more byte"),
        (b"API\0\0\0\0\x0f" + VERSIONS, "the length announces 6 more bytes"),
        (b"API\0\0\0\0\x09", None),
        (b"API\0\0\0\0\x09v100..", None),
        (b"API\0", None),
        (b"", None),
        (RIGHT, None),
    ],
)
def test_a_hello_that_stays_unfinished_says_what_its_length_waits_for(data, words):
    assert unfinished(data) == words


def test_nothing_of_the_bytes_is_told_():
    secret = b"U7418529\x1b[2J\n"
    for data, _ in WRONG:
        for at in range(len(data) + 1):
            found = mistake(data[:at] + secret + data[at:])
            assert found is None or ("74" not in found and printable(found) == found)
